"""Gradient norm of each of Stage I's losses at the decoder's last convolution.

    python -m benchmarks.stage1_gradients --run runs/stage1-quickstart \
        --perceptual runs/au_image_loss-quickstart --anatomical runs/au_image_loss-quickstart

For a finished run, on images of people that it was not trained on, the program prints a line of
JSON for each loss: its value, its gradient norm at weight 1, and the weight at which that norm
equals the norm of L_recon at weight 1. The adversarial loss is left out: its weight adapts to the
norms at every step.
"""

import argparse
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import optax

from auface_jax.data import tokenizer
from auface_jax.data.loading import pipeline
from auface_jax.generation.stage1 import load_vqgan
from auface_jax.images import pixels
from auface_jax.models import quantizer
from auface_jax.runs import checkpoints
from auface_jax.training.losses.networks import load_anatomical, load_lpips_loss, load_perceptual
from auface_jax.training.tasks.vqgan_gradients import (
    PIXEL_LOSSES,
    feature_losses,
    pixel_losses,
)


def norms(vqgan, networks, weights, frozen, image):
    """Computes value and gradient norm of every loss between image and reconstruction, by name."""
    decoder, image = weights["params"]["decoder"], pixels.to_float(image)
    z = vqgan.encoder.apply({"params": weights["params"]["encoder"]}, image)
    z_q = quantizer.quantize_batch(weights["codebooks"], z, **vqgan.quantizing).vectors
    decode = functools.partial(vqgan.decoder.apply, {"params": decoder})
    features = decode(z_q, method="features")

    def reconstruct(conv_out):
        variables = {"params": {**decoder, "conv_out": conv_out}}
        head = vqgan.decoder.apply(variables, features, method="head")
        return head + decode(z_q, method="linear_image")

    reconstruction, to_conv_out = jax.vjp(reconstruct, decoder["conv_out"])
    found = {}
    every = dict.fromkeys(PIXEL_LOSSES, 1.0)
    of_pixels = functools.partial(pixel_losses, weights=every)
    for losses_of in (of_pixels, functools.partial(feature_losses, networks, frozen)):
        for name in jax.eval_shape(losses_of, image, reconstruction):
            loss = lambda r, name=name, of=losses_of: of(image, r)[name]  # noqa: E731
            value, at_image = jax.value_and_grad(loss)(reconstruction)
            found[name] = value, optax.tree.norm(to_conv_out(at_image))
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stage1_gradients", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--run", required=True, help="a finished run of Stage I")
    parser.add_argument("--perceptual", metavar="FOLDER", help="VGG16, or a run for losses")
    parser.add_argument("--anatomical", metavar="RUN", help="a recogniser for losses")
    parser.add_argument("--lpips", nargs=2, metavar=("BACKBONE", "HEADS"))
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--data", help="a built set (default: the run's)")
    options = parser.parse_args(arguments)
    vqgan, weights = load_vqgan(pathlib.Path(options.run))
    data = options.data or checkpoints.load_config(pathlib.Path(options.run)).data.dir
    networks = {}
    if options.perceptual:
        networks["perceptual"] = load_perceptual(options.perceptual)
    if options.lpips:
        networks["lpips"] = load_lpips_loss(*options.lpips)
    if options.anatomical:
        networks["anatomical"] = load_anatomical(options.anatomical)
    records = pipeline.load_split(
        pathlib.Path(data),
        "test",
        limit=options.images,
        tokenizer=tokenizer.load_tokenizer(),
        buckets=(128, 256, 512, 1024),
    )
    frozen = {name: network.variables for name, network in networks.items()}
    measured = jax.jit(functools.partial(norms, vqgan, networks))
    found = jax.tree.map(float, measured(weights, frozen, jnp.asarray(records["image"])))
    for name, (value, norm) in found.items():
        line = {"value": value, "gradient_norm": norm}
        line["as_strong_as_recon"] = found["recon"][1] / max(norm, 1e-12)
        line = {key: float(f"{number:.3g}") for key, number in line.items()}
        print(json.dumps({"loss": name} | line))


if __name__ == "__main__":
    main()
