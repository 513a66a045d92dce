"""A tiny VQ-AUFace, its inputs, and a fake network, for tests of decoding."""

import functools

import jax
import numpy as np
from flax.core import FrozenDict

from auface_jax.generation.decode import decode, fully_masked
from auface_jax.generation.decode_options import DecodeOptions
from auface_jax.models.vq_auface import VQAUFace
from tests.helpers import tiny

B, N, Q, K, L = 3, 16, 2, 8, 4
PLAIN = DecodeOptions(steps=3, guidance=1.0, temperature=1.0, choice_temperature=2.0)


def keys(seed, count=B):
    """Returns a random key for each example."""
    return jax.random.split(jax.random.key(seed), count)


def inputs(seed=0, count=B):
    """Draws random inputs of `network`."""
    rng = np.random.default_rng(seed)
    return {
        "text_tokens": rng.integers(1, 50, (count, L)).astype(np.int32),
        "text_mask": np.arange(L) < rng.integers(1, L + 1, (count, 1)),
        "reference": rng.uniform(-1, 1, (count, 16, 16, 3)).astype(np.float32),
        "reference_latents": rng.normal(size=(count, N, 8)).astype(np.float32),
    }


@functools.cache
def network(layout):
    """Builds a tiny VQ-AUFace with random parameters; returns both."""
    sizes = {"layout": layout, "grid": 4, "num_quantizers": Q, "codebook_size": K, "num_layers": 1}
    model = VQAUFace(
        text_encoder=FrozenDict(tiny.TEXT_FIELDS | {"vocab_size": 50}),
        face_encoder=FrozenDict({"patch": 4, "channels": 8}),
        transformer=FrozenDict(tiny.TRANSFORMER_FIELDS | sizes),
    )

    no = np.zeros(B, bool)
    params = tiny.random_params(
        model.init, *fully_masked(B, N, Q), **inputs(), drop_text=no, drop_reference=no
    )
    return model, params


def run(layout, options, *, given=None, records=None, seed=0):
    """Decodes with `network`, by default from fully masked tokens; returns the tokens."""
    given = given or fully_masked(B, N, Q)
    model, params = network(layout)
    return np.asarray(decode(model, params, records or inputs(), given, keys(seed), options))


class Known:
    """A fake `VQAUFace` with the logits `logits_of(masked, drop_text, codes, level)`."""

    def __init__(self, layout, logits_of):
        self.transformer, self._logits_of = {"layout": layout}, logits_of

    def apply(self, variables, *args, method, **inputs):
        return getattr(self, method)(*args, **inputs)

    def context(self, drop_text, drop_reference):
        return drop_text, None

    def keys_values(self, context):
        return context

    def trunk(self, codes, masked, context, keys_values):
        return masked, keys_values

    def level_features(self, hidden, codes, level):
        return self._logits_of(*hidden, codes, level)

    def code_logits(self, features, level):
        return features


def known(layout, logits_of, options, *, given, seed=0):
    """Decodes with a `Known` network; returns the tokens."""
    count = given[0].shape[0]
    return np.asarray(decode(Known(layout, logits_of), {}, {}, given, keys(seed, count), options))
