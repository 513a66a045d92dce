"""Residual VQGAN: encoder, decoder, and both with a quantiser (Stage I).

(Esser et al. 2021, Lee et al. 2022.) The encoder maps an image to a grid of vectors, `quantizer.py`
turns each into Q tokens, and the decoder maps the sum of their codes to the image. The fields
select one of two forms: the paper's, with convolutions from full resolution and attention at the
lowest, and a small one that starts from patches and has a linear path, the `patch_skip`, beside the
convolutions. That path starts at the principal components of the patches of the data
(`principal_components`), so that the network gives the best linear reconstruction at step 0.
"""

import dataclasses
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from auface_jax.models import quantizer
from auface_jax.models.layers import (
    ResidualBlock,
    SpatialAttention,
    depth_to_space,
    space_to_depth,
)
from auface_jax.ops.group_norm import GroupNorm

PyTree = Any


class MeanPatches(nn.Module):
    """Learned mean patch at each position, which the linear path subtracts before it encodes."""

    @nn.compact
    def __call__(self, patches: Float[Array, "B h w P"]) -> Float[Array, "h w P"]:
        """Returns the mean patches."""
        return self.param("mean", nn.initializers.zeros, patches.shape[1:])


class Encoder(nn.Module):
    """VQGAN encoder: image in [-1, 1] -> vectors; h = H / downsampling.

    Attributes:
      channels: width at each resolution, from the finest to the coarsest; each step halves the
        resolution.
      patch: space-to-depth factor before the first convolution.
      num_res_blocks: number of residual blocks at each resolution.
      latent_dim: width C of the vectors to quantise.
      attention: whether there is a self-attention layer at the coarsest resolution.
      patch_skip: whether there is a linear path from patches.
      dtype: of the computation; the vectors are float32.
      remat: whether activations inside residual blocks are recomputed for the gradient rather than
        stored.
    """

    channels: tuple[int, ...]
    patch: int
    num_res_blocks: int
    latent_dim: int
    attention: bool
    patch_skip: bool
    dtype: jnp.dtype = jnp.float32
    remat: bool = False

    @property
    def downsampling(self) -> int:
        """Pixels along one side of a position."""
        return self.patch * 2 ** (len(self.channels) - 1)

    @nn.compact
    def __call__(self, image: Float[Array, "B H W 3"]) -> Float[Array, "B h w C"]:
        """Encodes images.

        Raises:
          ValueError: `downsampling` does not divide the image size.
        """
        height, width = image.shape[1:3]
        if height % self.downsampling or width % self.downsampling:
            raise ValueError(
                f"image size {height} x {width} is not divisible by the downsampling "
                f"{self.downsampling} (patch {self.patch}, {len(self.channels)} resolutions)"
            )
        x = space_to_depth(image.astype(self.dtype), self.patch)
        x = nn.Conv(self.channels[0], (3, 3), dtype=self.dtype, name="conv_in")(x)
        block = nn.remat(ResidualBlock) if self.remat else ResidualBlock
        for level, channels in enumerate(self.channels):
            if level > 0:
                x = nn.Conv(channels, (3, 3), strides=(2, 2), dtype=self.dtype)(x)
            for number in range(level * self.num_res_blocks, (level + 1) * self.num_res_blocks):
                x = block(channels, dtype=self.dtype, name=f"ResidualBlock_{number}")(x)
        if self.attention:
            x = SpatialAttention(dtype=self.dtype)(x)
        x = nn.silu(GroupNorm(dtype=self.dtype)(x))
        # Beside a linear path the convolutions start at 0 and learn its residual.
        out_init = nn.initializers.zeros if self.patch_skip else nn.initializers.lecun_normal()
        z = nn.Conv(
            self.latent_dim, (3, 3), kernel_init=out_init, dtype=self.dtype, name="conv_out"
        )(x)
        if self.patch_skip:
            patches = space_to_depth(image, self.downsampling)  # [B, h, w, P]
            mean = MeanPatches(name="mean_patches")(patches)
            z = z + nn.Dense(self.latent_dim, use_bias=False, dtype=self.dtype, name="skip")(
                (patches - mean).astype(self.dtype)
            )
        return z.astype(jnp.float32)


class Decoder(nn.Module):
    """VQGAN decoder: quantised vectors -> image; the mirror of `Encoder`, with the same fields.

    `features` and `head` are separate because the adaptive adversarial weight compares gradients at
    the last convolution, `head`, and the layers below must not be computed twice for it.
    """

    channels: tuple[int, ...]
    patch: int
    num_res_blocks: int
    attention: bool
    patch_skip: bool
    dtype: jnp.dtype = jnp.float32
    remat: bool = False

    @property
    def downsampling(self) -> int:
        """Pixels along one side of a position."""
        return self.patch * 2 ** (len(self.channels) - 1)

    def setup(self):
        coarse_to_fine = self.channels[::-1]
        self.conv_in = nn.Conv(coarse_to_fine[0], (3, 3), dtype=self.dtype)
        if self.attention:
            self.attend = SpatialAttention(dtype=self.dtype)
        block = nn.remat(ResidualBlock) if self.remat else ResidualBlock
        self.blocks = [
            [block(c, dtype=self.dtype) for _ in range(self.num_res_blocks)] for c in coarse_to_fine
        ]
        self.upsample = [nn.Conv(c, (3, 3), dtype=self.dtype) for c in coarse_to_fine[1:]]
        self.norm_out = GroupNorm(dtype=self.dtype)
        out_init = nn.initializers.zeros if self.patch_skip else nn.initializers.lecun_normal()
        self.conv_out = nn.Conv(3 * self.patch**2, (3, 3), kernel_init=out_init, dtype=self.dtype)
        if self.patch_skip:
            self.mean_patches = MeanPatches()
            self.skip = nn.Dense(3 * self.downsampling**2, use_bias=False, dtype=self.dtype)

    def features(self, z: Float[Array, "B h w C"]) -> Float[Array, "B Hp Wp D"]:
        """Computes the input of the last convolution; Hp = H / patch."""
        x = self.conv_in(z.astype(self.dtype))
        if self.attention:
            x = self.attend(x)
        for level, blocks in enumerate(self.blocks):
            if level > 0:
                batch, height, width, channels = x.shape
                x = jax.image.resize(x, (batch, 2 * height, 2 * width, channels), "nearest")
                x = self.upsample[level - 1](x)
            for block in blocks:
                x = block(x)
        return nn.silu(self.norm_out(x))

    def linear_image(self, z: Float[Array, "B h w C"]) -> Float[Array, "B H W 3"]:
        """Computes the linear path's part of the image; zero without `patch_skip`."""
        factor = self.downsampling
        if not self.patch_skip:
            return jnp.zeros((z.shape[0], z.shape[1] * factor, z.shape[2] * factor, 3))
        patches = self.skip(z.astype(self.dtype)).astype(jnp.float32)
        return depth_to_space(patches + self.mean_patches(patches), factor)

    def head(self, features: Float[Array, "B Hp Wp D"]) -> Float[Array, "B H W 3"]:
        """Applies the last convolution, to pixels."""
        return depth_to_space(self.conv_out(features).astype(jnp.float32), self.patch)

    def __call__(self, z: Float[Array, "B h w C"]) -> Float[Array, "B H W 3"]:
        """Decodes vectors to images, nominally in [-1, 1]."""
        return self.linear_image(z) + self.head(self.features(z))


@dataclasses.dataclass(frozen=True, kw_only=True)
class VQGAN:
    """Images <-> tokens, as pure functions of `weights`.

    `weights` is {"params": {"encoder", "decoder"}, "codebooks": quantizer.Codebooks}. It is an
    argument of every jitted program that uses it, never a constant inside one.

    Attributes:
      image_size: pixels along one side of an image.
      num_quantizers: number Q of quantizer levels.
      codebook_size: number K of codes in each level's codebook.
      latent_dim: see `Encoder`.
      channels: see `Encoder`.
      patch: see `Encoder`.
      num_res_blocks: see `Encoder`.
      attention: see `Encoder`.
      patch_skip: see `Encoder`.
      dtype: name of the `Encoder`'s dtype.
      shared_codebook: whether all levels share one codebook.
      scales: for each level, the side of the map that it quantises, see `quantizer.quantize`; if
        empty, `grid` for all levels.
      remat: see `Encoder`.

    Raises:
      ValueError: `scales` have not one side a level, or a side does not divide `grid`.
    """

    image_size: int
    num_quantizers: int
    codebook_size: int
    latent_dim: int
    channels: tuple[int, ...]
    patch: int
    num_res_blocks: int
    attention: bool
    patch_skip: bool
    dtype: str = "float32"
    shared_codebook: bool = False
    scales: tuple[int, ...] = ()
    remat: bool = False

    def __post_init__(self):
        for name in ("channels", "scales"):  # lists, when read from JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))
        wrong = [side for side in self.scales if side < 1 or self.grid % side]
        if wrong or len(self.scales) not in (0, self.num_quantizers):
            raise ValueError(
                f"model.scales={self.scales} must be empty or have {self.num_quantizers} sides, "
                f"one for each level, that divide the grid of {self.grid}"
            )

    @property
    def encoder(self) -> Encoder:
        """The encoder as a Linen module."""
        return Encoder(latent_dim=self.latent_dim, **self._shared_fields())

    @property
    def decoder(self) -> Decoder:
        """The decoder as a Linen module."""
        return Decoder(**self._shared_fields())

    def _shared_fields(self) -> dict[str, Any]:
        names = ("patch", "num_res_blocks", "attention", "patch_skip", "remat")
        fields = {name: getattr(self, name) for name in names}
        return fields | {"channels": self.channels, "dtype": jnp.dtype(self.dtype)}

    @property
    def grid(self) -> int:
        """Positions along one side of the token map."""
        return self.image_size // self.encoder.downsampling

    @property
    def bits_by_level(self) -> list[float]:
        """Bits of the tokens of one image, summed up to each level."""
        sides = self.scales or (self.grid,) * self.num_quantizers
        return [
            bits * math.log2(self.codebook_size)
            for bits in itertools.accumulate(s**2 for s in sides)
        ]

    @property
    def bits_per_image(self) -> float:
        """Bits of the tokens of one image."""
        return self.bits_by_level[-1]

    @property
    def quantizing(self) -> dict[str, Any]:
        """Keyword arguments of `quantizer.quantize`."""
        return {"num_quantizers": self.num_quantizers, "scales": self.scales}

    def encode(self, weights: PyTree, image: Float[Array, "B H W 3"]) -> Int[Array, "B h w Q"]:
        """Encodes images in [-1, 1] to tokens in [0, K) at every level."""
        z = self.encoder.apply({"params": weights["params"]["encoder"]}, image)
        return quantizer.quantize(weights["codebooks"], z, **self.quantizing)[0]

    def latents(
        self, weights: PyTree, codes: Int[Array, "B h w Q"], num_quantizers: int | None = None
    ) -> Float[Array, "B h w C"]:
        """Sums the codes of the first `num_quantizers` levels, by default all."""
        return quantizer.lookup(weights["codebooks"], codes, num_quantizers)

    def decode(
        self, weights: PyTree, codes: Int[Array, "B h w Q"], num_quantizers: int | None = None
    ) -> Float[Array, "B H W 3"]:
        """Decodes tokens to images, nominally in [-1, 1]; fewer levels give a coarser preview."""
        z = self.latents(weights, codes, num_quantizers)
        return self.decoder.apply({"params": weights["params"]["decoder"]}, z)


def principal_components(
    images: Float[Array, "B H W 3"], *, factor: int, components: int
) -> tuple[Float[Array, "h w P"], Float[Array, "P C"]]:
    """Computes the mean patch at each position, and principal components of the patches around it.

    Args:
      images: images in [-1, 1].
      factor: side of a patch in pixels.
      components: number C of components; those beyond P = 3 * factor**2 are zero columns.

    Returns:
      Mean patches, and the leading components as columns.
    """
    patches = space_to_depth(images.astype(jnp.float32), factor)
    mean = patches.mean(0)
    flat = (patches - mean).reshape(-1, patches.shape[-1])
    covariance = jnp.matmul(flat.T, flat, precision="highest") / flat.shape[0]
    _, vectors = jnp.linalg.eigh(covariance)  # ascending
    basis = vectors[:, ::-1][:, :components]
    return mean, jnp.pad(basis, ((0, 0), (0, components - basis.shape[1])))
