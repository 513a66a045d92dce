"""Image encoder of CLIP (Radford et al. 2021), ViT-B/32 to ViT-L/14.

The output are the patch tokens after the last block but one: the last block gathers what the class
token needs to be compared with a text, and its patch tokens no longer describe the face at their
positions. So the last block is neither loaded nor run.

It differs from an ordinary vision Transformer in two ways: the tokens are normalised once more
before the first block, and OpenAI's weights were trained with QuickGELU, x sigmoid(1.702 x), where
OpenCLIP's have the exact GELU unless their name says otherwise.
"""

from collections.abc import Sequence

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

ACTIVATIONS = {
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "gelu": lambda x: nn.gelu(x, approximate=False),
}
# Mean and standard deviation of pixels in [0, 1] that OpenAI's weights, and nearly all of
# OpenCLIP's, were trained with.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

EPSILON = 1e-5  # of the layer norms


def prepare_images(
    images: Float[Array, "B H W 3"],
    size: int,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> Float[Array, "B size size 3"]:
    """Preprocesses square crops as the original does.

    The crops are resized by antialiased bicubic interpolation, first along rows, then along
    columns, and clipped after each; then they are normalised.

    Args:
      images: float32 in [-1, 1], of any side.
      size: `image_size` of the encoder.
      mean: mean of pixels in [0, 1].
      std: standard deviation of pixels in [0, 1].
    """
    batch, height, _, channels = images.shape
    resized = images.astype(jnp.float32)
    for shape in ((batch, height, size, channels), (batch, size, size, channels)):
        resized = jax.image.resize(resized, shape, "cubic", antialias=True)
        resized = jnp.clip(resized, -1.0, 1.0)
    pixels = (resized + 1.0) / 2.0
    return (pixels - jnp.array(mean)) / jnp.array(std)


class Attention(nn.Module, kw_only=True):
    """Multi-head self-attention with one fused projection."""

    num_heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        width = x.shape[-1]
        qkv = nn.Dense(3 * width, dtype=self.dtype, name="qkv")(x)
        q, k, v = einops.rearrange(qkv, "b n (s h c) -> s b n h c", s=3, h=self.num_heads)
        y = jax.nn.dot_product_attention(q, k, v)  # [B, N, heads, D / heads]
        return nn.Dense(width, dtype=self.dtype, name="out")(
            einops.rearrange(y, "b n h c -> b n (h c)")
        )


class Block(nn.Module, kw_only=True):
    """Transformer block: pre-norm self-attention and feed-forward layer, each with a residual."""

    num_heads: int
    hidden: int
    activation: str
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        h = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name="attention_norm")(x)
        x = x + Attention(num_heads=self.num_heads, dtype=self.dtype, name="attention")(h)
        h = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name="feed_forward_norm")(x)
        h = ACTIVATIONS[self.activation](nn.Dense(self.hidden, dtype=self.dtype, name="hidden")(h))
        return x + nn.Dense(x.shape[-1], dtype=self.dtype, name="out")(h)


class CLIPVision(nn.Module, kw_only=True):
    """CLIP encoder: images -> one vector a patch; `SIZES` holds the published models' fields.

    Attributes:
      image_size: side of its images in pixels.
      patch_size: side of a patch in pixels; it divides `image_size`.
      width: width D of the tokens.
      hidden: width of the feed-forward layers.
      num_layers: blocks of the published network; the last one is left out here.
      num_heads: attention heads.
      activation: "quick_gelu" (OpenAI) or "gelu" (OpenCLIP).
      mean: mean of the pixels in [0, 1] that it was trained with.
      std: standard deviation of these pixels.
      dtype: of the computation; parameters, softmax, norms and the output are float32.
    """

    image_size: int
    patch_size: int
    width: int
    hidden: int
    num_layers: int
    num_heads: int
    activation: str
    mean: Sequence[float] = MEAN
    std: Sequence[float] = STD
    dtype: jnp.dtype = jnp.float32

    @nn.nowrap
    def prepare(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B S S 3"]:
        """Preprocesses square crops in [-1, 1] by `prepare_images` at the encoder's size."""
        return prepare_images(images, self.image_size, self.mean, self.std)

    @nn.compact
    def __call__(self, x: Float[Array, "B S S 3"]) -> Float[Array, "B N D"]:
        """Encodes a batch of images.

        Args:
          x: float32, what `prepare` returns.

        Returns:
          Tokens of the residual stream (no norm follows), float32; N = (image_size / patch_size)²
          patches in raster order.

        Raises:
          ValueError: the images have another size, or a field is unset, which is legal only until
            it is known from a configuration.
        """
        self._check(x.shape[1:3])
        x = nn.Conv(
            self.width,
            (self.patch_size, self.patch_size),
            strides=self.patch_size,
            padding="VALID",
            use_bias=False,
            dtype=self.dtype,
            name="patches",
        )(x)
        x = einops.rearrange(x, "b h w d -> b (h w) d")
        of_class = self.param("class_token", nn.initializers.normal(0.02), (self.width,))
        of_class = jnp.broadcast_to(of_class.astype(self.dtype), (x.shape[0], 1, self.width))
        x = jnp.concatenate([of_class, x], axis=1)
        position = self.param("position", nn.initializers.normal(0.02), x.shape[1:])
        x = x + position.astype(self.dtype)
        x = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name="first_norm")(x)
        for layer in range(self.num_layers - 1):
            x = Block(
                num_heads=self.num_heads,
                hidden=self.hidden,
                activation=self.activation,
                dtype=self.dtype,
                name=f"block_{layer}",
            )(x)
        return x[:, 1:].astype(jnp.float32)

    def _check(self, size: tuple[int, ...]) -> None:
        """Raises a ValueError unless size and fields are legal."""
        if size != (self.image_size, self.image_size):
            raise ValueError(
                f"images are {size[0]} x {size[1]} px, expected {self.image_size} a side: "
                "`prepare` resizes them"
            )
        faults = []
        if self.activation not in ACTIVATIONS:
            faults.append(
                f"activation is {self.activation!r}, expected 'quick_gelu' (OpenAI's weights) or "
                "'gelu' (OpenCLIP's, unless their name ends in quickgelu)"
            )
        if not self.num_heads or self.width % self.num_heads:
            faults.append(
                f"num_heads is {self.num_heads!r}, expected a divisor of the width {self.width}"
            )
        if faults:
            raise ValueError(
                f"{'; '.join(faults)}. The weights do not contain these: convert the folder with "
                "its configuration, or give --field NAME=VALUE"
            )


def _size(patch_size, width, num_layers, num_heads, image_size=224):
    """Returns the fields of a published model, except for the activation."""
    return {
        "image_size": image_size,
        "patch_size": patch_size,
        "width": width,
        "hidden": 4 * width,
        "num_layers": num_layers,
        "num_heads": num_heads,
    }


# The fields of `CLIPVision` for each published model, except for the activation.
SIZES: dict[str, dict[str, int]] = {
    "ViT-B/32": _size(32, 768, 12, 12),
    "ViT-B/16": _size(16, 768, 12, 12),
    "ViT-L/14": _size(14, 1024, 24, 16),
    "ViT-L/14@336px": _size(14, 1024, 24, 16, image_size=336),
}
