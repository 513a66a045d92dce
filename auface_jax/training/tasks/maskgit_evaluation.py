"""Held-out figures of Stage II: the effect of each input, and the units in generated faces."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from auface_jax.data.loading.example_selection import different_partners
from auface_jax.facs import AU_NUMBERS
from auface_jax.generation import masking
from auface_jax.generation.stages import Networks, tokenize_batch
from auface_jax.metrics.units import f1_scores
from auface_jax.models.vqgan import VQGAN
from auface_jax.parallel.map_batches import map_batches
from auface_jax.recognition.probe import load_probe, predict
from auface_jax.runs.console import say

Batch = dict[str, Array]
PyTree = Any

# Inputs that state the action units.
TEXT_INPUTS = ("text_tokens", "text_mask", "labels")
MASK_RATIOS = (0.25, 0.5, 0.75, 1.0)


def cross_entropies(
    networks: Networks, weights: PyTree, test: Batch, *, layout: str, batch_size: int
) -> dict[str, float]:
    """Computes masked cross-entropies in nats per token, averaged over `MASK_RATIOS`.

    Label smoothing is off, and every variant has the same masks. `ce_shuffled_text` gives each
    example the text of an example with another label vector, and `ce_shuffled_reference` the
    reference of another person; these figures are missing if all examples have one label vector or
    one person.

    Args:
      networks: both stages and their encoders.
      weights: the weights {"params", "stage1", "encoders"}.
      test: held-out examples as arrays, with the list `subjects`.
      layout: the token layout, `transformer.layout`.
      batch_size: number of examples in a batch.
    """
    masks = _masks(networks.vqgan, len(test["labels"]), layout)
    token_losses = jax.jit(functools.partial(_token_losses, networks))
    figures, variants = {}, _variants(test)
    for name, (text, reference, drop_text, drop_reference) in variants.items():
        out = map_batches(
            token_losses,
            weights,
            test["image"],
            text,
            reference,
            drop_text,
            drop_reference,
            masks,
            batch_size=batch_size,
        )
        sums, counts = out["sums"].sum(0), out["counts"].sum(0)  # [ratios, Q]
        figures[name] = float((sums.sum(-1) / counts.sum(-1)).mean())
        figures[f"{name}_level0"] = float((sums[:, 0] / counts[:, 0]).mean())
    for name in list(variants)[1:]:
        for level in ("", "_level0"):
            cost = figures[f"{name}{level}"] / figures[f"ce{level}"] - 1
            figures[f"{name.removeprefix('ce_')}_costs_percent{level}"] = 100 * cost
    return figures


def _variants(test: Batch) -> dict[str, tuple]:
    """Returns figure name -> text, reference, and the masks of dropped texts and references."""
    total = len(test["labels"])
    other_text = different_partners(np.unique(test["labels"], axis=0, return_inverse=True)[1])
    other_person = different_partners(np.unique(test["subjects"], return_inverse=True)[1])
    no, yes = np.zeros(total, bool), np.ones(total, bool)
    text, reference = {name: test[name] for name in TEXT_INPUTS}, test["reference"]
    variants = {"ce": (text, reference, no, no)}
    if other_text is None:
        say("all held-out examples have one label vector: ce_shuffled_text is not measured")
    else:
        shuffled_text = {name: value[other_text] for name, value in text.items()}
        variants["ce_shuffled_text"] = (shuffled_text, reference, no, no)
    variants["ce_no_text"] = (text, reference, yes, no)
    variants["ce_no_reference"] = (text, reference, no, yes)
    if other_person is None:
        say("all held-out examples show one person: ce_shuffled_reference is not measured")
    else:
        variants["ce_shuffled_reference"] = (text, reference[other_person], no, no)
    return variants


def _masks(vqgan: VQGAN, total: int, layout: str) -> Bool[np.ndarray, "M ratios N Q"]:
    """Draws a mask of each ratio for every example."""
    masks = [
        masking.random_mask(
            jax.random.key(number),
            jnp.full(total, ratio),
            positions=vqgan.grid**2,
            num_quantizers=vqgan.num_quantizers,
            layout=layout,
        )
        for number, ratio in enumerate(MASK_RATIOS)
    ]
    return np.stack([np.asarray(mask) for mask in masks], axis=1)


def _token_losses(
    networks: Networks, weights, image, text, reference, drop_text, drop_reference, masks
) -> dict[str, Float[Array, "B ratios Q"]]:
    """Sums the negative log-likelihood of the masked tokens, and counts these tokens."""
    batch = {"image": image, "reference": reference, **text}
    codes, inputs = tokenize_batch(networks.vqgan, networks.encoders, weights, batch)
    variables = {"params": weights["params"]}
    drops = {"drop_text": drop_text, "drop_reference": drop_reference}
    context, _ = networks.model.apply(variables, **inputs, **drops, method="context")

    def of_ratio(masked):
        logits = networks.model.apply(variables, codes, masked, context, method="logits")
        log_p = jax.nn.log_softmax(logits)
        nll = -jnp.take_along_axis(log_p, codes[..., None], axis=-1)[..., 0]
        return (nll * masked).sum(1), masked.sum(1)  # [B, Q] each

    sums, counts = jax.lax.map(of_ratio, jnp.moveaxis(masks, 1, 0))
    return {"sums": jnp.moveaxis(sums, 0, 1), "counts": jnp.moveaxis(counts, 0, 1)}


def unit_scores(
    probe_run: pathlib.Path, test: Batch, made: UInt8[np.ndarray, "M H W 3"]
) -> dict[str, float]:
    """Computes macro F1 of the probe on generated pictures, real pictures, and references.

    Args:
      probe_run: a finished run of `au_probe`.
      test: held-out examples as arrays.
      made: the generated pictures.
    """
    probe, weights, config = load_probe(probe_run)
    images = {"generated": made, "real": test["image"], "reference": test["reference"]}
    scores = {
        name: f1_scores(
            predict(probe, weights, image, test["reference"], batch_size=config.batch_size),
            test["labels"],
        )
        for name, image in images.items()
    }
    figures = {f"au_f1_{name}": float(np.nanmean(score)) for name, score in scores.items()}
    generated = zip(AU_NUMBERS, scores["generated"], strict=True)
    return figures | {f"au_f1_generated_AU{unit}": float(score) for unit, score in generated}


def probe_f1(probe_run: pathlib.Path, records: Batch, made: UInt8[np.ndarray, "M H W 3"]) -> float:
    """Computes the macro F1 of the probe on pictures that were drawn for `records`."""
    probe, weights, config = load_probe(probe_run)
    read = predict(probe, weights, made, records["reference"], batch_size=config.batch_size)
    return float(np.nanmean(f1_scores(read, records["labels"])))
