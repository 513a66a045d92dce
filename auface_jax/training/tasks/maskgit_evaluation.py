"""Held-out figures of Stage II: what each input is worth, and which units generated faces show."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from auface_jax.data.loading.example_selection import different_partners
from auface_jax.facs import AU_NUMBERS
from auface_jax.generation import masking
from auface_jax.generation.stages import Networks, tokenize_batch
from auface_jax.metrics.units import f1_scores
from auface_jax.parallel.map_batches import map_batches
from auface_jax.recognition.probe import load_probe, predict
from auface_jax.runs.console import say

Batch = dict[str, Array]
PyTree = Any

# What a model may be told of the action units.
TOLD = ("text_tokens", "text_mask", "labels")
MASK_RATIOS = (0.25, 0.5, 0.75, 1.0)


def cross_entropies(
    networks: Networks, weights: PyTree, test: Batch, *, layout: str, batch_size: int
) -> dict[str, float]:
    """Masked cross-entropy in nats a token, no label smoothing, mean over `MASK_RATIOS`.

    Every variant sees the same masks. `shuffled_text` gives each record the text of one with
    another label row, `shuffled_reference` the reference of another person; where all records have
    one row, or are of one person, that variant is missing.

    Args:
      weights: {"params", "stage1", "encoders"}.
      test: records as arrays, with the list `subjects`.
      layout: of the tokens, `transformer.layout`.
      batch_size: of the compiled program.
    """
    total = len(test["labels"])
    model, vqgan, encoders = networks.model, networks.vqgan, networks.encoders
    other_text = different_partners(np.unique(test["labels"], axis=0, return_inverse=True)[1])
    other_person = different_partners(np.unique(test["subjects"], return_inverse=True)[1])
    no, yes = np.zeros(total, bool), np.ones(total, bool)
    text, reference = {name: test[name] for name in TOLD}, test["reference"]
    variants = {"ce": (text, reference, no, no)}
    if other_text is None:
        say("all held-out records have one label row: ce_shuffled_text is not measured")
    else:
        shuffled_text = {name: value[other_text] for name, value in text.items()}
        variants["ce_shuffled_text"] = (shuffled_text, reference, no, no)
    variants["ce_no_text"] = (text, reference, yes, no)
    variants["ce_no_reference"] = (text, reference, no, yes)
    if other_person is None:
        say("all held-out records are of one person: ce_shuffled_reference is not measured")
    else:
        variants["ce_shuffled_reference"] = (text, reference[other_person], no, no)
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
    masks = np.stack([np.asarray(mask) for mask in masks], axis=1)  # [M, ratios, N, Q]

    @jax.jit
    def token_losses(weights, image, text, reference, drop_text, drop_reference, masks):
        batch = {"image": image, "reference": reference, **text}
        codes, inputs = tokenize_batch(vqgan, encoders, weights, batch)
        context, _ = model.apply(
            {"params": weights["params"]},
            **inputs,
            drop_text=drop_text,
            drop_reference=drop_reference,
            method="context",
        )

        def of_ratio(masked):
            logits = model.apply(
                {"params": weights["params"]}, codes, masked, context, method="logits"
            )
            log_p = jax.nn.log_softmax(logits)
            nll = -jnp.take_along_axis(log_p, codes[..., None], axis=-1)[..., 0]
            return (nll * masked).sum(1), masked.sum(1)  # [B, Q] each

        sums, counts = jax.lax.map(of_ratio, jnp.moveaxis(masks, 1, 0))
        return {"sums": jnp.moveaxis(sums, 0, 1), "counts": jnp.moveaxis(counts, 0, 1)}

    figures = {}
    for name, (words, reference, drop_text, drop_reference) in variants.items():
        out = map_batches(
            token_losses,
            weights,
            test["image"],
            words,
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


def unit_scores(
    probe_run: pathlib.Path, test: Batch, made: UInt8[np.ndarray, "M H W 3"]
) -> dict[str, float]:
    """Macro F1 of the probe on generated pictures, on the real ones, and on the references."""
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
