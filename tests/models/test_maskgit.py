"""Visibility of tokens, text and reference to Stage II's network, in both token layouts."""

import functools
import json
import types

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from auface_jax.data.loading.example_selection import different_partners
from auface_jax.facs import CONSTRUCT_NAMES, constructs, labels_from_units
from auface_jax.models.au_attention import AUCrossAttention
from auface_jax.models.maskgit import MaskGIT
from auface_jax.models.token_layout import LAYOUTS
from auface_jax.models.transformer import Context
from auface_jax.models.vq_auface import VQAUFace
from auface_jax.training.tasks.maskgit import SHOWN_SETS, MaskGITTask
from auface_jax.training.tasks.maskgit_batch import context_dropout
from tests.helpers import tiny
from tests.helpers.small_maskgit import VOCABULARY, B, K, L, N, Q, example_inputs, example_tokens


def model_of(layout):
    return VQAUFace(
        text_encoder=tiny.TEXT_FIELDS | {"vocab_size": VOCABULARY},
        face_encoder={"patch": 4, "channels": 8},
        transformer=tiny.TRANSFORMER_FIELDS
        | {"layout": layout, "grid": 4, "num_quantizers": Q, "codebook_size": K},
    )


@functools.cache
def network(layout):
    """Compiles the network, with parameters so large that every visible input changes logits."""
    model = model_of(layout)
    codes, masked = example_tokens(layout)
    apply = jax.jit(lambda p, c, m, inputs: model.apply({"params": p}, c, m, **inputs))

    return functools.partial(
        apply, tiny.random_params(model.init, codes, masked, **example_inputs())
    )


def changed(before, after):
    """Returns True for the tokens [B, N, Q] whose logits [B, N, Q, K] differ."""
    return (np.asarray(before) != np.asarray(after)).any(-1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_cover_every_token_and_are_float32(layout):
    logits = network(layout)(*example_tokens(layout), example_inputs())
    assert logits.shape == (B, N, Q, K) and logits.dtype == jnp.float32
    assert np.isfinite(logits).all()


def test_flat_layout_hides_masked_tokens_and_shows_given_ones():
    apply, inputs = network("flat"), example_inputs()
    codes, masked = example_tokens("flat")
    logits = apply(codes, masked, inputs)
    other = np.where(masked, (codes + 1) % K, codes)
    np.testing.assert_array_equal(apply(other, masked, inputs), logits)
    row, position, level = np.argwhere(~masked)[0]
    other = codes.copy()
    other[row, position, level] = (other[row, position, level] + 1) % K
    seen = changed(logits, apply(other, masked, inputs))
    assert seen[row].all() and not np.delete(seen, row, axis=0).any()


def test_depth_layout_shows_masked_tokens_to_finer_levels_alone():
    apply, inputs = network("depth"), example_inputs()
    codes, masked = example_tokens("depth")
    logits = apply(codes, masked, inputs)
    row, position, _ = np.argwhere(masked)[0]
    for level in range(Q):
        other = codes.copy()
        other[row, position, level] = (other[row, position, level] + 1) % K
        seen = changed(logits, apply(other, masked, inputs))
        expected = np.zeros_like(seen)
        expected[row, position, level + 1 :] = True
        np.testing.assert_array_equal(seen, expected)


def test_depth_layout_shows_given_tokens_everywhere_in_their_example():
    apply, inputs = network("depth"), example_inputs()
    codes, masked = example_tokens("depth")
    row, position, _ = np.argwhere(~masked)[0]
    for level in range(Q):
        other = codes.copy()
        other[row, position, level] = (other[row, position, level] + 1) % K
        seen = changed(apply(codes, masked, inputs), apply(other, masked, inputs))
        assert seen[row].all() and not np.delete(seen, row, axis=0).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_text_padding_does_not_change_logits(layout):
    apply, inputs = network(layout), example_inputs()
    tokens = example_tokens(layout)
    logits = apply(*tokens, inputs)
    rubbish = np.where(inputs["text_mask"], inputs["text_tokens"], 7)
    np.testing.assert_array_equal(apply(*tokens, inputs | {"text_tokens": rubbish}), logits)
    longer = {
        "text_tokens": np.pad(inputs["text_tokens"], ((0, 0), (0, 5)), constant_values=3),
        "text_mask": np.pad(inputs["text_mask"], ((0, 0), (0, 5))),
    }
    np.testing.assert_allclose(apply(*tokens, inputs | longer), logits, atol=2e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_text_and_reference_change_logits_unless_dropped(layout):
    apply, inputs = network(layout), example_inputs()
    tokens = example_tokens(layout)
    other_text = {
        "text_tokens": (inputs["text_tokens"] + 1) % VOCABULARY,
        "text_mask": inputs["text_mask"][::-1],
    }
    other_image = {"reference": -inputs["reference"]}
    other_latents = {"reference_latents": 1 - inputs["reference_latents"]}
    for name, others in {
        "drop_text": (other_text,),
        "drop_reference": (other_image, other_latents),
    }.items():
        kept, dropped = inputs, inputs | {name: np.array([True, False, True])}
        for other in others:
            assert changed(apply(*tokens, kept), apply(*tokens, kept | other)).all()
            seen = changed(apply(*tokens, dropped), apply(*tokens, dropped | other))
            assert not seen[[0, 2]].any() and seen[1].all()
        # A null is something of its own.
        assert changed(apply(*tokens, kept), apply(*tokens, dropped))[[0, 2]].all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_decoding_methods_return_the_same_logits(layout):
    # Decoding computes the context's keys and values once and asks for one level at a time.
    model, (codes, masked) = model_of(layout), example_tokens(layout)
    params, inputs = network(layout).args[0], example_inputs()

    @jax.jit
    def in_parts(params):
        apply = functools.partial(model.apply, {"params": params})
        context, out = apply(**inputs, method="context")
        hidden = apply(codes, masked, context, apply(context, method="keys_values"), method="trunk")
        features = [apply(hidden, codes, level, method="level_features") for level in range(Q)]
        logits = [apply(x, level, method="code_logits") for level, x in enumerate(features)]
        return jnp.stack(logits, axis=2), out["au_attention"]

    logits, maps = in_parts(params)
    np.testing.assert_allclose(logits, network(layout)(codes, masked, inputs), atol=1e-4)
    assert maps.shape == (B, 2, L, 4)
    np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-5)


def test_an_unknown_layout_is_refused():
    with pytest.raises(ValueError, match="'deep' is not one of flat, depth"):
        model = model_of("deep")
        jax.eval_shape(
            lambda key: model.init(key, *example_tokens("flat"), **example_inputs()),
            jax.random.key(0),
        )


def test_au_attention_ignores_masked_structure():
    rng = np.random.default_rng(0)
    text, structure = rng.normal(size=(2, 5, 16)), rng.normal(size=(2, 7, 16))
    mask = np.arange(7) < np.array([3, 7])[:, None]
    module = AUCrossAttention(heads=2)
    params = module.init(jax.random.key(0), text, structure, mask)
    added, maps = module.apply(params, text, structure, mask)
    np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-5)
    assert not np.asarray(maps)[0, ..., 3:].any()
    rubbish = np.where(mask[..., None], structure, 9.0)
    np.testing.assert_array_equal(module.apply(params, text, rubbish, mask)[0], added)
    # Attention is a mixture: structure tokens that are all alike give all texts the same addition.
    alike = np.broadcast_to(structure[:, :1], structure.shape)
    addition = module.apply(params, text, alike, mask)[0] - text
    np.testing.assert_allclose(addition, addition[:, :1] * np.ones((1, 5, 1)), atol=1e-5)


def test_context_dropout_has_the_configured_shares():
    shares = ml_collections.ConfigDict({"text": 0.2, "reference": 0.1, "both": 0.05})
    text, reference = (np.asarray(x) for x in context_dropout(jax.random.key(0), 20_000, shares))
    assert (text & ~reference).mean() == pytest.approx(0.2, abs=0.01)
    assert (reference & ~text).mean() == pytest.approx(0.1, abs=0.01)
    assert (text & reference).mean() == pytest.approx(0.05, abs=0.01)


def test_partners_are_of_another_group():
    groups = np.array([0, 0, 1, 2, 2, 2])
    partners = different_partners(groups)
    assert (groups[partners] != groups).all()
    np.testing.assert_array_equal(partners, different_partners(groups))
    assert different_partners(np.zeros(3, int)) is None


def test_text_map_acts_at_its_own_positions_alone():
    """Without blocks nothing mixes positions, so a map does not act where it is zero."""
    sizes = {"grid": 4, "num_quantizers": Q, "codebook_size": K}
    model = MaskGIT(**tiny.TRANSFORMER_FIELDS | sizes | {"num_layers": 0})
    codes, masked = example_tokens("depth")
    rng = np.random.default_rng(2)

    def context(pooled):
        return Context(
            text=jnp.zeros((B, L, 16)),
            text_mask=jnp.ones((B, L), bool),
            reference=jnp.zeros((B, N, 16)),
            pooled=jnp.asarray(pooled, jnp.float32),
        )

    smile, frown = rng.normal(size=(2, B, 16))
    params = model.init(jax.random.key(0), codes, masked, context(smile))["params"]
    mouth = np.isin(np.arange(N), (9, 10, 13))
    params["text_fields"] = params["text_fields"] * mouth[None, :, None]
    logits = functools.partial(model.apply, {"params": params}, codes, masked)
    one, other = logits(context(smile)), logits(context(frown))
    differs = np.abs(np.asarray(one - other)).max((0, 2, 3)) > 0
    np.testing.assert_array_equal(differs, mouth)


def test_model_without_text_maps_has_no_parameters_for_them():
    sizes = {"grid": 4, "num_quantizers": Q, "codebook_size": K}
    model = VQAUFace(
        text_encoder=tiny.TEXT_FIELDS | {"vocab_size": VOCABULARY},
        face_encoder={"patch": 4, "channels": 8},
        transformer=tiny.TRANSFORMER_FIELDS | sizes | {"num_text_maps": 0},
    )
    codes, masked = example_tokens("depth")
    init = functools.partial(model.init, jax.random.key(0), codes, masked)
    shapes = jax.eval_shape(lambda: init(**example_inputs()))
    assert not {"text_fields", "field_weights"} & set(shapes["params"]["maskgit"])


def test_unit_set_sheet_uses_the_dictionary_of_the_run(tmp_path):
    words = {
        "schema_version": 1,
        "language": "xx",
        "neutral": [f"nothing {i}" for i in range(5)],
        "constructs": {name: [f"{name} word {i}" for i in range(5)] for name in CONSTRUCT_NAMES},
    }
    (tmp_path / "words.json").write_text(json.dumps(words))
    said = []

    class Task:
        config = ml_collections.ConfigDict(
            {"data": {"dictionary": str(tmp_path / "words.json"), "buckets": (8,)}}
        )
        vqgan = types.SimpleNamespace(image_size=16)
        text_tokenizer = types.SimpleNamespace(
            encode_batch=lambda texts, buckets: said.append(texts) or (None, None)
        )

        def generate(self, weights, frozen, records, seed):
            return records["reference"]

    test = {"subjects": ["a", "b"], "reference": np.zeros((2, 16, 16, 3), np.uint8)}
    MaskGITTask.unit_set_sheet(Task(), None, None, test)
    [texts] = said  # one person after the other, set by set
    assert len(texts) == 2 * len(SHOWN_SETS)
    for number, units in enumerate(SHOWN_SETS):
        first, second = texts[2 * number : 2 * number + 2]
        names = constructs(labels_from_units(units))
        assert first == second and all(f"{name} word" in first for name in names)
