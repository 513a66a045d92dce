"""InceptionV3 (Szegedy et al. 2016) as FID, KID and IS use it: Google's graph of 2015.

Its weights are those of pytorch-fid and torch-fidelity. It differs from today's InceptionV3 in its
weights, in 1,008 classes, in average poolings that leave padding out of the mean, and in a maximum
instead of a mean in its last block. Figures of any other network are not FID. Modules and blocks
have the names of torchvision's.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from auface_jax.pretrained.tables import (
    BATCH_COUNTERS,
    Network,
    Rule,
    batch_norm_rules,
    conv_rules,
    linear,
)

IMAGE_SIZE = 299
CLASSES = 1008
# Ways to resize images to 299 x 299:
#   clean        bicubic with antialiasing, as Parmar et al. (2022) argue and Pillow does it, and
#                clipped, as their package clean-fid does since February 2022
#   pytorch-fid  bilinear without antialiasing, half-pixel centres
#   tensorflow1  bilinear without antialiasing, corners of pixels: the first FID, and torch-fidelity
# Figures are comparable only if the images were resized in the same way.
RESIZINGS = ("clean", "pytorch-fid", "tensorflow1")


def resize(image: Num[Array, "B H W C"], how: str = "clean") -> Float[Array, "B 299 299 C"]:
    """Resizes images to the network's input size, without rounding.

    Args:
      image: uint8, or float in [0, 255].
      how: one of `RESIZINGS`.

    Returns:
      float32 in [0, 255].

    Raises:
      ValueError: `how` is unknown.
    """
    _check_resizing(how)
    rows, columns = (_weights(length, how) for length in image.shape[1:3])
    resized = jnp.einsum(
        "ih,bhwc,jw->bijc",
        rows,
        image.astype(jnp.float32),
        columns,
        precision=jax.lax.Precision.HIGHEST,
    )
    # Cubic interpolation overshoots at edges; linear interpolation stays in the range.
    return jnp.clip(resized, 0.0, 255.0) if how == "clean" else resized


def normalize(image: Float[Array, "B H W 3"], how: str = "clean") -> Float[Array, "B H W 3"]:
    """Normalises pixels to about [-1, 1]: x / 127.5 - 1 in pytorch-fid, else (x - 128) / 128."""
    _check_resizing(how)
    return image / 127.5 - 1.0 if how == "pytorch-fid" else (image - 128.0) / 128.0


def _check_resizing(how: str) -> None:
    """Raises a ValueError unless `how` is one of `RESIZINGS`."""
    if how not in RESIZINGS:
        raise ValueError(f"resizing {how!r} is unknown; known are {', '.join(RESIZINGS)}")


def _weights(length: int, how: str) -> Float[np.ndarray, "299 length"]:
    """Returns the weights of `length` input pixels in each of 299 output pixels of a line."""
    scale, centres, pixels = length / IMAGE_SIZE, np.arange(IMAGE_SIZE), np.arange(length)
    centres = centres * scale if how == "tensorflow1" else (centres + 0.5) * scale - 0.5
    if how == "clean":
        # Keys' cubic with a = -1/2, as wide as an output pixel where that is wider than an input
        # pixel, and cut off at the border.
        d = np.abs(pixels - centres[:, None]) / max(scale, 1.0)
        near, far = 1.5 * d**3 - 2.5 * d**2 + 1.0, -0.5 * d**3 + 2.5 * d**2 - 4.0 * d + 2.0
        weights = np.where(d < 1.0, near, np.where(d < 2.0, far, 0.0))
    else:
        centres = np.clip(centres, 0, length - 1)
        weights = np.maximum(1.0 - np.abs(pixels - centres[:, None]), 0.0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


class ConvUnit(nn.Module):
    """Convolution without bias, batch normalisation by stored statistics, ReLU."""

    width: int
    size: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        strides = (self.stride, self.stride)
        x = nn.Conv(
            self.width,
            self.size,
            strides,
            self.padding,
            use_bias=False,
            dtype=self.dtype,
            name="conv",
        )(x)
        norm = nn.BatchNorm(use_running_average=True, epsilon=1e-3, dtype=self.dtype, name="bn")
        return nn.relu(norm(x))


class Mixed(nn.Module):
    """Inception block: parallel branches of `ConvUnit`, whose outputs are concatenated.

    Attributes:
      branches: units of each branch in order, (name, width, kernel). A list in place of a unit is a
        fork, whose units all read the output before it. "avg" and "max" are 3 x 3 poolings.
      reduces: whether the resolution is halved: the last unit of each branch, and the pooling, then
        have stride 2 and no padding.
      dtype: of the computation.
    """

    branches: Sequence
    reduces: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        outputs = []
        for branch in self.branches:
            heads = [x]
            for step, unit in enumerate(branch):
                last = self.reduces and step == len(branch) - 1
                how = {"stride": 2, "padding": "VALID"} if last else {}
                if unit == "avg":
                    pool = partial(nn.avg_pool, count_include_pad=False)
                    heads = [pool(heads[0], (3, 3), padding="SAME")]
                elif unit == "max":
                    strides, padding = ((2, 2), "VALID") if last else ((1, 1), "SAME")
                    heads = [nn.max_pool(heads[0], (3, 3), strides, padding)]
                else:
                    fork = unit if isinstance(unit[0], tuple) else (unit,)
                    heads = [
                        ConvUnit(width, size, **how, dtype=self.dtype, name=name)(heads[0])
                        for name, width, size in fork
                    ]
            outputs += heads
        return jnp.concatenate(outputs, axis=-1)


_1x1, _3x3, _5x5, _1x7, _7x1, _1x3, _3x1 = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1), (1, 3), (3, 1)


def _block_a(pool_width: int):
    return (
        (("branch1x1", 64, _1x1),),
        (("branch5x5_1", 48, _1x1), ("branch5x5_2", 64, _5x5)),
        (
            ("branch3x3dbl_1", 64, _1x1),
            ("branch3x3dbl_2", 96, _3x3),
            ("branch3x3dbl_3", 96, _3x3),
        ),
        ("avg", ("branch_pool", pool_width, _1x1)),
    )


def _block_b():
    return (
        (("branch3x3", 384, _3x3),),
        (
            ("branch3x3dbl_1", 64, _1x1),
            ("branch3x3dbl_2", 96, _3x3),
            ("branch3x3dbl_3", 96, _3x3),
        ),
        ("max",),
    )


def _block_c(width: int):
    return (
        (("branch1x1", 192, _1x1),),
        (("branch7x7_1", width, _1x1), ("branch7x7_2", width, _1x7), ("branch7x7_3", 192, _7x1)),
        (
            ("branch7x7dbl_1", width, _1x1),
            ("branch7x7dbl_2", width, _7x1),
            ("branch7x7dbl_3", width, _1x7),
            ("branch7x7dbl_4", width, _7x1),
            ("branch7x7dbl_5", 192, _1x7),
        ),
        ("avg", ("branch_pool", 192, _1x1)),
    )


def _block_d():
    return (
        (("branch3x3_1", 192, _1x1), ("branch3x3_2", 320, _3x3)),
        (
            ("branch7x7x3_1", 192, _1x1),
            ("branch7x7x3_2", 192, _1x7),
            ("branch7x7x3_3", 192, _7x1),
            ("branch7x7x3_4", 192, _3x3),
        ),
        ("max",),
    )


def _block_e(pool: str):
    return (
        (("branch1x1", 320, _1x1),),
        (
            ("branch3x3_1", 384, _1x1),
            (("branch3x3_2a", 384, _1x3), ("branch3x3_2b", 384, _3x1)),
        ),
        (
            ("branch3x3dbl_1", 448, _1x1),
            ("branch3x3dbl_2", 384, _3x3),
            (("branch3x3dbl_3a", 384, _1x3), ("branch3x3dbl_3b", 384, _3x1)),
        ),
        (pool, ("branch_pool", 192, _1x1)),
    )


# (name, branches, whether the resolution is halved), in order.
BLOCKS = (
    ("Mixed_5b", _block_a(32), False),
    ("Mixed_5c", _block_a(64), False),
    ("Mixed_5d", _block_a(64), False),
    ("Mixed_6a", _block_b(), True),
    ("Mixed_6b", _block_c(128), False),
    ("Mixed_6c", _block_c(160), False),
    ("Mixed_6d", _block_c(160), False),
    ("Mixed_6e", _block_c(192), False),
    ("Mixed_7a", _block_d(), True),
    ("Mixed_7b", _block_e("avg"), False),
    ("Mixed_7c", _block_e("max"), False),
)


class FIDInceptionV3(nn.Module, kw_only=True):
    """InceptionV3: normalised images -> features by name.

    Attributes:
      dtype: of the computation; parameters and outputs are float32.
    """

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"]) -> dict[str, Float[Array, "B ..."]]:
        """Computes features, in the order of the network.

        Args:
          x: images from `normalize`; 299 x 299 for the metrics, at least 75 pixels a side.

        Returns:
          "pool1" [B, h, w, 64], "pool2" [B, h, w, 192], "mixed_6e" [B, h, w, 768]: maps.
          "pool3" [B, 2048]: means over the last map, the features of FID and KID.
          "logits" [B, 1008]: without bias, as the Inception score is defined.
        """
        unit = partial(ConvUnit, dtype=self.dtype)
        features = {}
        x = unit(32, _3x3, 2, "VALID", name="Conv2d_1a_3x3")(x)
        x = unit(32, _3x3, 1, "VALID", name="Conv2d_2a_3x3")(x)
        x = unit(64, _3x3, name="Conv2d_2b_3x3")(x)
        x = features["pool1"] = nn.max_pool(x, (3, 3), (2, 2))
        x = unit(80, name="Conv2d_3b_1x1")(x)
        x = unit(192, _3x3, 1, "VALID", name="Conv2d_4a_3x3")(x)
        x = features["pool2"] = nn.max_pool(x, (3, 3), (2, 2))
        for name, branches, reduces in BLOCKS:
            x = Mixed(branches, reduces, dtype=self.dtype, name=name)(x)
            if name == "Mixed_6e":
                features["mixed_6e"] = x
        x = features["pool3"] = x.astype(jnp.float32).mean((1, 2))
        features["logits"] = nn.Dense(CLASSES, use_bias=False, name="fc")(x)
        return jax.tree.map(lambda feature: feature.astype(jnp.float32), features)


# Keys of pt_inception-2015-12-05, the file that both torch packages load. The bias of the classes
# is left out on purpose, see `FIDInceptionV3.__call__`.
NETWORK = Network(
    module=FIDInceptionV3,
    inputs=(jax.ShapeDtypeStruct((1, 75, 75, 3), jnp.float32),),
    fields=lambda source: {},
    rules=(
        *conv_rules(r"(\w+)\.conv", r"\1/conv"),
        *batch_norm_rules(r"(\w+)\.bn", r"\1/bn"),
        *conv_rules(r"(\w+)\.(\w+)\.conv", r"\1/\2/conv"),
        *batch_norm_rules(r"(\w+)\.(\w+)\.bn", r"\1/\2/bn"),
        Rule(r"fc\.weight", "params/fc/kernel", linear),
    ),
    ignored=(BATCH_COUNTERS, r"fc\.bias"),
)
