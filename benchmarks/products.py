"""Products of matrices with rows of a large power of two, compared with other forms of them.

    python -m benchmarks.products

These measurements are the reason for `auface_jax/ops/row_padding.py` and for the order of logits
in `MaskGIT._logits`. The program prints a line of JSON for each product, at the shape of a step of
Stage II, in its plain form and in the form that the package uses.
"""

import argparse
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from benchmarks import side_by_side

WIDTH, CODES, PLACES, OF_HEAD = 512, 8_192, 2_048, 64
MASKED = 1_304  # places that get logits
PADDED = PLACES + 16

# Name -> einsum, and the shapes of its two factors.
PRODUCTS = {
    "logits": ("nd,kd->nk", (MASKED, WIDTH), (CODES, WIDTH)),
    "logits, codes first": ("kd,nd->kn", (CODES, WIDTH), (MASKED, WIDTH)),
    "gradient of codes": ("nk,nd->kd", (MASKED, CODES), (MASKED, WIDTH)),
    "gradient of codes, codes first": ("kn,nd->kd", (CODES, MASKED), (MASKED, WIDTH)),
    "scores": ("td,sd->ts", (PLACES, OF_HEAD), (PLACES, OF_HEAD)),
    "scores, padded": ("td,sd->ts", (PLACES, OF_HEAD), (PADDED, OF_HEAD)),
    "gradient of values": ("ts,td->sd", (PLACES, PLACES), (PLACES, OF_HEAD)),
    "gradient of values, padded": ("ts,td->sd", (PLACES, PADDED), (PLACES, OF_HEAD)),
}


@dataclasses.dataclass
class Entry(side_by_side.Entry):
    """Product of two matrices.

    Attributes:
      gflop: arithmetic of one product.
    """

    gflop: float

    def result(self) -> dict:
        rates = {"gflop_per_second": round(self.gflop / self.seconds, 1)}
        return super().result() | rates | {"best": round(self.gflop / min(self.rounds), 1)}


def entry(name: str) -> Entry:
    equation, *shapes = PRODUCTS[name]
    keys = jax.random.split(jax.random.key(0))
    factors = [jax.random.normal(*pair) for pair in zip(keys, shapes, strict=True)]
    product = jax.jit(functools.partial(jnp.einsum, equation))
    sizes = dict(zip(equation.split("->")[0].replace(",", ""), sum(shapes, ()), strict=True))
    return Entry(name, lambda _: product(*factors), None, 2e-9 * math.prod(sizes.values()))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.products", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    side_by_side.measure(
        lambda: [entry(name) for name in PRODUCTS], lambda *_: [], rounds=options.rounds
    )


if __name__ == "__main__":
    main()
