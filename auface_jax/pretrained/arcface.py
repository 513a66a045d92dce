"""IR-ResNet of insightface, trained with ArcFace (Deng et al. 2019): face -> identity embedding.

The cosine of the embeddings of two faces is the similarity of their identities.

    python -m auface_jax.pretrained.convert arcface backbone.pth weights/arcface

Its residual block normalises before the first convolution and after the last, has a PReLU between
them and nothing after the sum. It reads faces of 112 px that are aligned to a template by five
points: the centres of the eyes, the tip of the nose, the corners of the mouth. `prepare_images`
aligns this package's crops.
"""

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from auface_jax.pretrained.tables import (
    BATCH_COUNTERS,
    Network,
    Rule,
    batch_norm_rules,
    conv_rules,
    linear_over,
)
from auface_jax.pretrained.weight_files import Source

IMAGE_SIZE = 112
WIDTHS = (64, 128, 256, 512)
EMBEDDING = 512
_LAST = IMAGE_SIZE // 16  # height and width of the map that the last layer reads

# The five points in the network's image, with pixel centres at whole numbers: left and right eye as
# seen in the image, tip of the nose, left and right corner of the mouth.
FIVE_POINTS = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
     (70.7299, 92.2041)]
)  # fmt: skip
FIVE_POINTS.setflags(write=False)

# The same points in an aligned crop of side 1, whose upper left corner is (0, 0), from the mean
# head of ICT-FaceKit, seen from the front.
IN_CROP = np.array([(0.305, 0.271), (0.695, 0.271), (0.5, 0.452), (0.347, 0.69), (0.653, 0.69)])
IN_CROP.setflags(write=False)

# Number of landmarks -> indices of the five points; those of an eye are averaged.
_POINTS_OF = {
    68: (range(36, 42), range(42, 48), (30,), (48,), (54,)),
    66: (range(36, 42), range(42, 48), (30,), (48,), (54,)),
    51: (range(19, 25), range(25, 31), (13,), (31,), (37,)),
    49: (range(19, 25), range(25, 31), (13,), (31,), (37,)),
}


def five_points(landmarks: Float[np.ndarray, "... M 2"]) -> Float[np.ndarray, "... 5 2"]:
    """Returns the five points of `FIVE_POINTS`, in the units of `landmarks`.

    Raises:
      ValueError: the number of landmarks is none of 68, 66, 51 and 49.
    """
    landmarks = np.asarray(landmarks)
    if landmarks.ndim < 2 or landmarks.shape[-1] != 2 or landmarks.shape[-2] not in _POINTS_OF:
        raise ValueError(
            f"landmarks are an array {landmarks.shape}, expected [..., M, 2] with "
            f"{', '.join(map(str, _POINTS_OF))} points"
        )
    parts = _POINTS_OF[landmarks.shape[-2]]
    return np.stack([landmarks[..., list(part), :].mean(-2) for part in parts], axis=-2)


def prepare_images(
    images: Float[Array, "B H W 3"], points: Float[Array, "B 5 2"] | None = None
) -> Float[Array, "B 112 112 3"]:
    """Aligns crops to the network's template, as the original's `norm_crop` does.

    The crops are warped by the similarity that fits `FIVE_POINTS` in the least squares, with linear
    interpolation, black beyond the crop. (An aligned crop is tighter than the network's image,
    above all at the forehead, unless it has a margin.)

    Args:
      images: float32 in [-1, 1].
      points: x and y of the five points in pixels of `images`, whose upper left corner is (0, 0).
        None takes their average positions in aligned crops without margin.

    Returns:
      float32 in [-1, 1].
    """
    height, width = images.shape[1:3]
    if points is None:
        points = jnp.broadcast_to(IN_CROP * np.array([width, height]), (len(images), 5, 2))
    # Here whole numbers are pixel centres, and complex numbers are points x + iy.
    found = jax.lax.complex(*jnp.moveaxis(jnp.asarray(points, jnp.float32) - 0.5, -1, 0))
    wanted = jnp.asarray(FIVE_POINTS @ (1, 1j), jnp.complex64)
    centred = found - found.mean(-1, keepdims=True)
    scale = (centred.conj() * (wanted - wanted.mean())).sum(-1) / (jnp.abs(centred) ** 2).sum(-1)
    side = jnp.arange(IMAGE_SIZE)
    pixels = (side[None, :] + 1j * side[:, None]).astype(jnp.complex64)
    # The inverse of wanted = scale * found + shift.
    coordinates = (pixels - wanted.mean()) / scale[:, None, None] + found.mean(-1)[:, None, None]

    def warp(image: Float[Array, "H W"], coordinates) -> Float[Array, "112 112"]:
        return map_coordinates(image, [coordinates.imag, coordinates.real], order=1, cval=-1.0)

    warp_channels = jax.vmap(warp, in_axes=(-1, None), out_axes=-1)
    return jax.vmap(warp_channels)(images.astype(jnp.float32), coordinates)


class PReLU(nn.Module):
    """PReLU: max(x, 0) + slope min(x, 0), with a slope for each channel."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        slope = self.param("slope", nn.initializers.constant(0.25), (x.shape[-1],))
        return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


# The network is frozen: its batch norms use their stored statistics.
_BatchNorm = functools.partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5)
_Conv = functools.partial(nn.Conv, use_bias=False)


class Block(nn.Module, kw_only=True):
    """Residual block: norm, convolution, norm, PReLU, convolution, norm, beside a skip."""

    width: int
    stride: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        conv = functools.partial(_Conv, self.width, (3, 3), padding=1, dtype=self.dtype)
        h = _BatchNorm(dtype=self.dtype, name="bn1")(x)
        h = conv(name="conv1")(h)
        h = _BatchNorm(dtype=self.dtype, name="bn2")(h)
        h = conv(strides=self.stride, name="conv2")(PReLU(name="prelu")(h))
        h = _BatchNorm(dtype=self.dtype, name="bn3")(h)
        if self.stride > 1:
            x = _Conv(self.width, (1, 1), strides=self.stride, dtype=self.dtype, name="skip_conv")(
                x
            )
            x = _BatchNorm(dtype=self.dtype, name="skip_bn")(x)
        return x + h


class ArcFace(nn.Module, kw_only=True):
    """ArcFace network: faces -> embeddings; `SIZES` holds the depths of the published networks.

    Attributes:
      depths: number of blocks at each of the four resolutions.
      dtype: of the convolutions; parameters and the last layer are float32.
    """

    depths: tuple[int, int, int, int]
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B 112 112 3"]) -> Float[Array, "B 512"]:
        """Computes embeddings, which are not normalised.

        Args:
          x: RGB images from `prepare_images`, float32 in [-1, 1].

        Raises:
          ValueError: the images have another size than 112 px.
        """
        if x.shape[1:3] != (IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"images are {x.shape[1]} x {x.shape[2]} px, expected {IMAGE_SIZE} a side: "
                "`prepare_images` resizes aligned crops"
            )
        x = _Conv(WIDTHS[0], (3, 3), padding=1, dtype=self.dtype, name="conv1")(x)
        x = PReLU(name="prelu")(_BatchNorm(dtype=self.dtype, name="bn1")(x))
        for level, (depth, width) in enumerate(zip(self.depths, WIDTHS, strict=True), start=1):
            for index in range(depth):
                stride = 2 if index == 0 else 1
                x = Block(
                    width=width, stride=stride, dtype=self.dtype, name=f"layer{level}_{index}"
                )(x)
        x = _BatchNorm(dtype=jnp.float32, name="bn2")(x)
        x = nn.Dense(EMBEDDING, name="fc")(x.reshape(len(x), -1))
        return _BatchNorm(name="features")(x)


# The fields of `ArcFace` for each published network.
SIZES: dict[str, dict[str, tuple[int, ...]]] = {
    "r18": {"depths": (2, 2, 2, 2)},
    "r34": {"depths": (3, 4, 6, 3)},
    "r50": {"depths": (3, 4, 14, 3)},
    "r100": {"depths": (3, 13, 30, 3)},
}


def _fields(source: Source) -> dict[str, tuple[int, ...]]:
    """Reads the depths off a checkpoint.

    Raises:
      WeightFileError: the checkpoint has other layers.
    """
    source.shape("layer1.0.prelu.weight")
    blocks = {m[0] for key in source.shapes if (m := re.match(r"layer\d\.\d+\.", key))}
    return {
        "depths": tuple(
            sum(block.startswith(f"layer{level}.") for block in blocks)
            for level in range(1, len(WIDTHS) + 1)
        )
    }


_BLOCK = r"layer(\d)\.(\d+)"

# Keys of insightface's arcface_torch.
NETWORK = Network(
    module=ArcFace,
    inputs=(jax.ShapeDtypeStruct((1, IMAGE_SIZE, IMAGE_SIZE, 3), jnp.float32),),
    fields=_fields,
    rules=(
        *conv_rules("conv1", "conv1"),
        *batch_norm_rules("bn1", "bn1"),
        Rule(r"prelu\.weight", "params/prelu/slope"),
        *conv_rules(rf"{_BLOCK}\.conv(\d)", r"layer\1_\2/conv\3"),
        *batch_norm_rules(rf"{_BLOCK}\.bn(\d)", r"layer\1_\2/bn\3"),
        Rule(rf"{_BLOCK}\.prelu\.weight", r"params/layer\1_\2/prelu/slope"),
        *conv_rules(rf"{_BLOCK}\.downsample\.0", r"layer\1_\2/skip_conv"),
        *batch_norm_rules(rf"{_BLOCK}\.downsample\.1", r"layer\1_\2/skip_bn"),
        *batch_norm_rules("bn2", "bn2"),
        Rule(r"fc\.weight", "params/fc/kernel", linear_over(_LAST, _LAST)),
        Rule(r"fc\.bias", "params/fc/bias"),
        *batch_norm_rules("features", "features"),
    ),
    ignored=(BATCH_COUNTERS,),
)
