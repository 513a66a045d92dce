"""Speed of the operations of `auface_jax/ops`, compared with their plain forms.

    taskset -c 1 python -m benchmarks.workarounds
    taskset -c 1 python -m benchmarks.workarounds --only nearest_code

Prints a Markdown table: for each operation, at a shape of the quickstart and at a large one, the
milliseconds of both forms in rounds that alternate between them, and the ratios of their medians
and of their fastest rounds. Where these ratios differ, other work on the machine disturbed them.
Operations that are trained are measured with their gradient.
"""

import argparse
import functools
from collections.abc import Callable
from unittest import mock

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from auface_jax.models import quantizer
from auface_jax.ops import attention as attention_module
from auface_jax.ops.attention import attention
from auface_jax.ops.cross_entropy import cross_entropy
from auface_jax.ops.fused_linear import Dense
from auface_jax.ops.group_norm import GroupNorm
from auface_jax.ops.nearest_code import nearest_code
from auface_jax.ops.sampling import argmax, inverse_cdf_sample, top_k_top_p_filter
from benchmarks.side_by_side import Entry

KEY = jax.random.key(0)
Pair = tuple[Callable, Callable, tuple]  # the package's form, the plain form, their arguments


def normal(*shape: int, seed: int = 0) -> jax.Array:
    """Returns standard normal numbers."""
    return jax.random.normal(jax.random.key(seed), shape)


def group_norm(batch: int, side: int, channels: int) -> Pair:
    """Makes `GroupNorm` and `nn.GroupNorm`, which reshapes to groups, with gradients."""
    x = normal(batch, side, side, channels)
    ours, plain = GroupNorm(), nn.GroupNorm(num_groups=min(32, channels // 4), epsilon=1e-6)
    params = ours.init(KEY, x)

    def step(layer):
        return jax.grad(lambda params, x: jnp.sin(layer.apply(params, x)).sum(), (0, 1))

    return step(ours), step(plain), (params, x)


def label_cross_entropy(count: int, codes: int) -> Pair:
    """Makes `cross_entropy` and optax's, of a linear layer's logits, with gradients.

    Each reads the logits in the layout that suits it: `MaskGIT` computes them with codes first.
    """
    x, head = normal(count, 128), normal(codes, 128, seed=1)
    labels = jax.random.randint(KEY, (count,), 0, codes)

    def ours(head, x):
        return cross_entropy((head @ x.T).T, labels, 0.1).sum()

    def plain(head, x):
        targets = optax.smooth_labels(jax.nn.one_hot(labels, codes), 0.1)
        return optax.softmax_cross_entropy(x @ head.T, targets).sum()

    return jax.grad(ours, (0, 1)), jax.grad(plain, (0, 1)), (head, x)


def code_search(count: int, codes: int, width: int) -> Pair:
    """Makes `nearest_code` and argmin of the matrix of all distances."""

    def plain(vectors, codebook):
        score = jnp.matmul(vectors, codebook.T, precision="highest")
        return jnp.argmin(0.5 * jnp.square(codebook).sum(-1) - score, axis=-1)

    return nearest_code, plain, (normal(count, width), normal(codes, width, seed=1))


def attention_rows(batch: int, length: int) -> Pair:
    """Makes attention by head groups with and without padded rows of scores, with gradients."""
    qkv = tuple(normal(batch, length, 4, 32, seed=seed) for seed in range(3))

    def step(q, k, v):
        return jax.grad(lambda *x: jnp.sin(attention(*x, heads_per_step=1)).sum(), (0, 1, 2))(
            q, k, v
        )

    def plain(q, k, v):
        with mock.patch.object(attention_module, "row_padding", lambda length: 0):
            return step(q, k, v)

    return step, plain, qkv


def attention_groups(batch: int, length: int) -> Pair:
    """Makes attention by head groups and by `jax.nn.dot_product_attention`, with gradients."""
    qkv = tuple(normal(batch, length, 4, 32, seed=seed) for seed in range(3))

    def step(heads_per_step):
        return jax.grad(
            lambda *x: jnp.sin(attention(*x, heads_per_step=heads_per_step)).sum(), (0, 1, 2)
        )

    return step(1), step(0), qkv


def linear(batch: int, length: int, width: int) -> Pair:
    """Makes `Dense`, which flattens leading dimensions, and `nn.Dense`, with gradients."""
    x = normal(batch, length, width)
    ours, plain = Dense(3 * width), nn.Dense(3 * width)
    params = plain.init(KEY, x)

    def step(layer):
        return jax.grad(lambda params, x: jnp.sin(layer.apply(params, x)).sum(), (0, 1))

    return step(ours), step(plain), (params, x)


def quantization(batch: int, side: int, codes: int, width: int) -> Pair:
    """Makes residual quantisation with and without the barrier behind each level's lookup."""
    books = normal(4, codes, width, seed=1)
    codebooks = quantizer.Codebooks(books, jnp.ones(books.shape[:2]), books)

    def plain(codebooks, z):
        with mock.patch.object(jax.lax, "optimization_barrier", lambda x: x):
            return quantizer.quantize(codebooks, z)

    return quantizer.quantize, plain, (codebooks, normal(batch, side, side, width))


def sample(count: int, codes: int) -> Pair:
    """Makes `inverse_cdf_sample` and `jax.random.categorical`."""

    def ours(logits):
        return inverse_cdf_sample(logits, jax.random.uniform(KEY, logits.shape[:-1]))

    return ours, functools.partial(jax.random.categorical, KEY), (normal(count, codes),)


def largest(count: int, codes: int) -> Pair:
    """Makes `argmax` and `jnp.argmax`."""
    return argmax, functools.partial(jnp.argmax, axis=-1), (normal(count, codes),)


def top_k(count: int, codes: int) -> Pair:
    """Makes `top_k_top_p_filter` of 50 tokens and the same by `jax.lax.top_k`."""

    def plain(logits):
        return jnp.where(logits >= jax.lax.top_k(logits, 50)[0][..., -1:], logits, -jnp.inf)

    return lambda logits: top_k_top_p_filter(logits, 50, 1.0), plain, (normal(count, codes),)


# Operation -> its maker, and its arguments: at a shape of the quickstart, and at a large one.
CASES: dict[str, tuple] = {
    "GroupNorm": (group_norm, (16, 16, 64), (4, 64, 128)),
    "cross_entropy": (label_cross_entropy, (1_024, 256), (1_304, 8_192)),
    "nearest_code": (code_search, (1_024, 256, 32), (7_680, 8_192, 256)),
    "row_padding": (attention_rows, (1, 2_048)),
    "attention by head groups": (attention_groups, (16, 64), (1, 2_048)),
    "matrix_product": (linear, (16, 64, 128), (2, 1_024, 512)),
    "optimization_barrier in quantize": (quantization, (16, 8, 256, 32), (8, 16, 8_192, 256)),
    "inverse_cdf_sample": (sample, (1_024, 256), (1_024, 8_192)),
    "argmax": (largest, (1_024, 256), (1_024, 8_192)),
    "top_k_top_p_filter": (top_k, (1_024, 256), (1_024, 8_192)),
}


def measure(pair: Pair, rounds: int) -> tuple[Entry, Entry]:
    """Measures the package's form and the plain form in rounds that alternate between them."""
    *forms, arguments = pair
    entries = []
    for number, form in enumerate(forms):
        # A function of its own: `jit` would share one trace between equal functions.
        compiled = jax.jit(lambda *x, form=form: form(*x)).lower(*arguments).compile()
        entries.append(Entry(str(number), lambda _, f=compiled: f(*arguments), None))
    for number in range(rounds):
        for entry in entries if number % 2 else entries[::-1]:
            entry.measure()
    return tuple(entries)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workarounds", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", help="measure the operations whose names contain this alone")
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.default_backend()}\n")
    print("| operation | shape | ms | ms, plain | plain / ours | of the fastest rounds |")
    print("|---|---|---:|---:|---:|---:|")
    for name, (make, *shapes) in CASES.items():
        if options.only and options.only not in name:
            continue
        for shape in shapes:
            ours, plain = measure(make(*shape), options.rounds)
            print(
                f"| {name} | {' x '.join(map(str, shape))} | {1e3 * ours.seconds:.2f} "
                f"| {1e3 * plain.seconds:.2f} | {plain.seconds / ours.seconds:.2f} "
                f"| {min(plain.rounds) / min(ours.rounds):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
