"""Swin Transformer (Liu et al. 2021) as a backbone: image -> map of features, without classifier.

Attention stays within square windows. Every second block shifts the windows by half their side, so
that information passes between them. Between resolutions 2 x 2 neighbours are merged.
"""

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

# Fields of `Swin` by published name.
SIZES = {
    "swin_tiny": {"width": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24)},
    "swin_small": {"width": 96, "depths": (2, 2, 18, 2), "heads": (3, 6, 12, 24)},
    "swin_base": {"width": 128, "depths": (2, 2, 18, 2), "heads": (4, 8, 16, 32)},
}

_init = nn.initializers.truncated_normal(0.02)


def window_offsets(window: int) -> Int[np.ndarray, "M M"]:
    """Returns the row of the bias table for each pair (query, key) of a window's M positions.

    The table has (2 window - 1)² rows, one for each offset of query against key: down, then right.
    """
    place = np.indices((window, window)).reshape(2, -1)
    down, right = place[:, :, None] - place[:, None, :] + window - 1
    return down * (2 * window - 1) + right


def window_mask(height: int, width: int, window: int, shift: int) -> Bool[np.ndarray, "V M M"]:
    """Returns True for the pairs in each of V windows that were in one region before the shift."""
    sides = [np.arange(size) for size in (height, width)]
    parts = [
        (side >= len(side) - window).astype(int) + (side >= len(side) - shift) for side in sides
    ]
    region = parts[0][:, None] * 3 + parts[1][None, :]
    region = einops.rearrange(region, "(h i) (w j) -> (h w) (i j)", i=window, j=window)
    return region[:, :, None] == region[:, None, :]


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias for each offset.

    Attributes:
      heads: attention heads.
      window: side of a window in positions.
      dtype: of the computation.
    """

    heads: int
    window: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B V M D"], mask: Bool[np.ndarray, "V M M"] | None
    ) -> Float[Array, "B V M D"]:
        width = x.shape[-1]
        qkv = nn.Dense(3 * width, dtype=self.dtype, kernel_init=_init, name="qkv")(x)
        q, k, v = einops.rearrange(qkv, "b v m (s h c) -> s (b v) m h c", s=3, h=self.heads)
        table = self.param("bias_table", _init, ((2 * self.window - 1) ** 2, self.heads))
        bias = einops.rearrange(table[window_offsets(self.window)], "q k h -> 1 h q k")
        if mask is not None:
            # -100 rather than -inf, as in the original.
            hidden = einops.repeat(np.where(mask, 0.0, -100.0), "v q k -> (b v) 1 q k", b=len(x))
            bias = bias + hidden
        y = jax.nn.dot_product_attention(q, k, v, bias=bias.astype(jnp.float32))
        y = einops.rearrange(y, "(b v) m h c -> b v m (h c)", b=len(x))
        return nn.Dense(width, dtype=self.dtype, kernel_init=_init, name="out")(y)


class SwinBlock(nn.Module):
    """Swin block: pre-norm window attention and two-layer perceptron, each with a residual.

    Attributes:
      heads: attention heads.
      window: side of a window in positions.
      shift: shift of the windows in positions.
      drop: probability that an example skips a branch in training; the random key is "drop_path".
      dtype: of the computation.
    """

    heads: int
    window: int
    shift: int
    drop: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W D"], *, train: bool) -> Float[Array, "B H W D"]:
        _, height, width, channels = x.shape
        window, shift = self.window, self.shift
        if min(height, width) <= window:  # one window sees everything: nothing to shift
            window, shift = min(height, width), 0
        norm = lambda name: nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name=name)  # noqa: E731
        h = jnp.roll(norm("norm1")(x), (-shift, -shift), axis=(1, 2))
        h = einops.rearrange(h, "b (h i) (w j) c -> b (h w) (i j) c", i=window, j=window)
        mask = window_mask(height, width, window, shift) if shift else None
        h = WindowAttention(self.heads, window, dtype=self.dtype, name="attention")(h, mask)
        h = einops.rearrange(
            h, "b (h w) (i j) c -> b (h i) (w j) c", h=height // window, i=window, j=window
        )
        x = x + self._drop_path(jnp.roll(h, (shift, shift), axis=(1, 2)), train)
        h = norm("norm2")(x)
        h = nn.Dense(4 * channels, dtype=self.dtype, kernel_init=_init, name="hidden")(h)
        h = nn.gelu(h, approximate=False)
        h = nn.Dense(channels, dtype=self.dtype, kernel_init=_init, name="out")(h)
        return x + self._drop_path(h, train)

    def _drop_path(self, branch: Float[Array, "B H W D"], train: bool) -> Float[Array, "B H W D"]:
        """Drops the branch of random examples (stochastic depth, Huang et al. 2016)."""
        if not train or self.drop == 0.0:
            return branch
        kept = jax.random.bernoulli(
            self.make_rng("drop_path"), 1.0 - self.drop, (len(branch), 1, 1, 1)
        )
        return branch * kept / (1.0 - self.drop)


class Swin(nn.Module):
    """Swin Transformer: images -> features [B, H / 32, W / 32, 8 width] for four resolutions.

    Attributes:
      width: channels at the first resolution; they double at each next one.
      depths: number of blocks at each resolution.
      heads: attention heads at each resolution.
      window: side of a window in positions; each resolution must be a multiple of it, or at most as
        large: 7 for 224 px, 4 for 64 and 128 px.
      drop_path: probability that the last block skips a branch in training; it rises linearly from
        0 at the first block.
      dtype: of the computation.
    """

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int = 7
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @property
    def features(self) -> int:
        """Number of output channels."""
        return self.width * 2 ** (len(self.depths) - 1)

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"], *, train: bool) -> Float[Array, "B h w D"]:
        """Computes the features; with `train`, branches are dropped at random.

        Raises:
          ValueError: windows do not fill every resolution.
        """
        self._check_size(*x.shape[1:3])
        norm = lambda name: nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name=name)  # noqa: E731
        x = nn.Conv(self.width, (4, 4), strides=4, dtype=self.dtype, name="patches")(x)
        x = norm("patches_norm")(x)
        drops = np.linspace(0, self.drop_path, sum(self.depths)).tolist()
        for level, (depth, heads) in enumerate(zip(self.depths, self.heads, strict=True)):
            if level:
                # The four neighbours in the original's order: down before right.
                x = einops.rearrange(x, "b (h i) (w j) c -> b h w (j i c)", i=2, j=2)
                x = norm(f"merge{level}_norm")(x)
                x = nn.Dense(
                    self.width * 2**level,
                    use_bias=False,
                    dtype=self.dtype,
                    kernel_init=_init,
                    name=f"merge{level}",
                )(x)
            for index in range(depth):
                x = SwinBlock(
                    heads,
                    self.window,
                    shift=self.window // 2 if index % 2 else 0,
                    drop=drops.pop(0),
                    dtype=self.dtype,
                    name=f"layer{level + 1}_{index}",
                )(x, train=train)
        return norm("norm")(x)

    def _check_size(self, *size: int) -> None:
        """Raises a ValueError unless windows fill every resolution."""
        for side in size:
            sides = [side / (4 * 2**level) for level in range(len(self.depths))]
            if any(s % 1 or (s > self.window and s % self.window) for s in sides):
                raise ValueError(
                    f"images of {size[0]} x {size[1]} px: windows of {self.window} positions do "
                    f"not fill maps of {', '.join(f'{s:g}' for s in sides)}; a window of 7 fits "
                    "multiples of 224 px, one of 4 fits 64, 128 and 256 px"
                )
