"""Laws of the T5 encoder, and parity with the torch implementation at random weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from auface_jax.models import t5
from auface_jax.pretrained import convert, weight_files
from auface_jax.pretrained.t5 import NETWORK
from tests.helpers.parity import assert_parity, import_torch, redraw

TINY = {
    "vocab_size": 97,
    "d_model": 24,
    "d_kv": 8,
    "d_ff": 40,
    "num_layers": 2,
    "num_heads": 4,
}


@functools.partial(jax.jit, static_argnums=0)
def init(model, key, tokens, mask):
    return model.init(key, tokens, mask)


@functools.partial(jax.jit, static_argnums=0)
def apply(model, variables, tokens, mask):
    return model.apply(variables, tokens, mask)


def random_text(seed, batch, length, lengths=None):
    """Returns random tokens [B, L] and their mask; text b has `lengths[b]` tokens."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, TINY["vocab_size"], (batch, length), dtype=np.int32)
    lengths = np.full(batch, length) if lengths is None else np.asarray(lengths)
    return tokens, np.arange(length) < lengths[:, None]


def initialised(feed_forward="gated-gelu", **overrides):
    model = t5.T5Encoder(**{**TINY, "feed_forward": feed_forward, **overrides})
    return model, init(model, jax.random.key(0), *random_text(0, 1, 4))


def test_relative_buckets_match_hand_computed_values():
    # Of 32 buckets 16 serve each direction: 8 for the distances 0-7, then 8 that begin at
    # 8 * 16 ** (k / 8) = 8 * sqrt(2) ** k for k = 0..7, rounded up.
    first_distance = [*range(8), 8, 12, 16, 23, 32, 46, 64, 91]
    for bucket, first in enumerate(first_distance):
        last = (first_distance + [5000])[bucket + 1] - 1
        assert t5.relative_buckets(np.array([-first, -last])).tolist() == [bucket, bucket]
        if first:
            after = t5.relative_buckets(np.array([first, last]))
            assert after.tolist() == [16 + bucket, 16 + bucket]
    assert t5.relative_buckets(np.array([0])).tolist() == [0]


def test_bias_is_the_table_entry_of_each_offset():
    length = 40
    bias = t5.RelativeBias(num_heads=3, d_model=16)
    variables = bias.init(jax.random.key(1), length)
    offsets = np.arange(length)[None, :] - np.arange(length)[:, None]  # [query, key]: key - query
    expected = np.asarray(variables["params"]["table"])[t5.relative_buckets(offsets)]
    np.testing.assert_array_equal(bias.apply(variables, length)[0], expected.transpose(2, 0, 1))


def test_padding_does_not_change_the_tokens():
    model, variables = initialised()
    tokens, mask = random_text(2, 3, 16, lengths=[16, 9, 1])
    longer, longer_mask = np.pad(tokens, ((0, 0), (0, 21))), np.pad(mask, ((0, 0), (0, 21)))
    short = np.asarray(apply(model, variables, tokens, mask))
    long = np.asarray(apply(model, variables, longer, longer_mask))
    np.testing.assert_allclose(long[:, :16][mask], short[mask], atol=2e-6)


def test_token_ids_at_padding_have_no_influence():
    model, variables = initialised()
    tokens, mask = random_text(3, 2, 12, lengths=[7, 1])
    others = np.where(mask, tokens, (tokens + 5) % TINY["vocab_size"])
    before = np.asarray(apply(model, variables, tokens, mask))
    after = np.asarray(apply(model, variables, others, mask))
    np.testing.assert_array_equal(after[mask], before[mask])
    assert np.abs(after[~mask] - before[~mask]).max() > 0.1


def test_every_token_influences_every_other_and_order_matters():
    model, variables = initialised()
    tokens, mask = random_text(4, 1, 6)
    before = np.asarray(apply(model, variables, tokens, mask))
    for position in range(6):
        changed = tokens.copy()
        changed[0, position] = (changed[0, position] + 1) % TINY["vocab_size"]
        after = np.asarray(apply(model, variables, changed, mask))
        assert (np.abs(after - before).max(-1) > 1e-5).all()
    turned = np.asarray(apply(model, variables, tokens[:, ::-1], mask))[:, ::-1]
    assert np.abs(turned - before).max() > 1e-3


def test_text_without_tokens_stays_finite():
    model, variables = initialised()
    tokens, mask = random_text(5, 2, 8, lengths=[8, 0])
    gradients = jax.jit(jax.grad(lambda v: apply(model, v, tokens, mask).sum()))(variables)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("feed_forward", t5.FEED_FORWARDS)
def test_bfloat16_compute_keeps_float32_weights_and_output(feed_forward):
    model, variables = initialised(feed_forward)
    low, low_variables = initialised(feed_forward, dtype=jnp.bfloat16)
    tokens, mask = random_text(6, 2, 10, lengths=[10, 6])
    output = apply(low, variables, tokens, mask)
    assert output.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(low_variables)} == {jnp.dtype(jnp.float32)}
    expected = np.asarray(apply(model, variables, tokens, mask))
    assert 0 < np.abs(np.asarray(output) - expected)[mask].max() < 0.05 * np.abs(expected).max()


def test_initial_scales_follow_the_widths():
    wide = {"d_model": 256, "d_kv": 16, "d_ff": 512, "num_heads": 8, "num_layers": 1}
    _, variables = initialised(**wide)
    params = variables["params"]
    attention, feed_forward = params["block_0"]["attention"], params["block_0"]["feed_forward"]
    expected = [
        (params["embedding"]["embedding"], 1.0),
        (params["relative_bias"]["table"], 256**-0.5),
        (attention["query"]["kernel"], (256 * 16) ** -0.5),
        (attention["key"]["kernel"], 256**-0.5),
        (attention["value"]["kernel"], 256**-0.5),
        (attention["out"]["kernel"], (8 * 16) ** -0.5),
        (feed_forward["gate"]["kernel"], 256**-0.5),
        (feed_forward["hidden"]["kernel"], 256**-0.5),
        (feed_forward["out"]["kernel"], 512**-0.5),
    ]
    for values, scale in expected:
        assert np.std(values) == pytest.approx(scale, rel=0.15)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        # Embedding + layers * (attention + feed-forward + two norms) + bias table + last norm.
        ("t5-large", 32128 * 1024 + 24 * (4 * 1024**2 + 2 * 1024 * 4096 + 2048) + 32 * 16 + 1024),
        ("flan-t5-small", 32128 * 512 + 8 * (4 * 512 * 384 + 3 * 512 * 1024 + 1024) + 32 * 6 + 512),
        (
            "t5-11b",
            32128 * 1024 + 24 * (4 * 1024 * 128 * 128 + 2 * 1024 * 65536 + 2048) + 32 * 128 + 1024,
        ),
        (
            "flan-t5-xxl",
            32128 * 4096 + 24 * (4 * 4096**2 + 3 * 4096 * 10240 + 8192) + 32 * 64 + 4096,
        ),
    ],
)
def test_parameter_counts_of_published_sizes(name, count):
    model = t5.T5Encoder(**t5.SIZES[name])
    tokens, mask = (jax.ShapeDtypeStruct((2, 2048), dtype) for dtype in (jnp.int32, jnp.bool_))
    output, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), tokens, mask)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == count
    assert output.shape == (2, 2048, t5.SIZES[name]["d_model"]) and output.dtype == jnp.float32


def test_unknown_feed_forward_names_the_legal_ones():
    with pytest.raises(ValueError, match=r"'gelu'.*'relu', 'gated-gelu'"):
        initialised("gelu")


def original(feed_forward):
    """Makes a tiny T5 encoder of Hugging Face's at random weights, and these as arrays."""
    import_torch()
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=TINY["vocab_size"],
        d_model=TINY["d_model"],
        d_kv=TINY["d_kv"],
        d_ff=TINY["d_ff"],
        num_layers=TINY["num_layers"],
        num_heads=TINY["num_heads"],
        feed_forward_proj=feed_forward,
    )
    theirs = T5EncoderModel(config).eval()
    return theirs, redraw(theirs)


def features_of_both(feed_forward, tokens, mask):
    """Returns outputs of ours and of the original, at the same random weights."""
    theirs, state = original(feed_forward)
    import torch

    ours, variables = convert.to_variables(NETWORK, weight_files.from_arrays(state))
    assert ours == t5.T5Encoder(**TINY, feed_forward=feed_forward)
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.from_numpy(tokens).long(), attention_mask=torch.from_numpy(mask).long()
        ).last_hidden_state.numpy()
    with jax.default_matmul_precision("highest"):
        return np.asarray(ours.apply(variables, tokens, mask)), expected


@pytest.mark.parity
@pytest.mark.parametrize("feed_forward", t5.FEED_FORWARDS)
@pytest.mark.parametrize(
    ("length", "lengths"), [(1, [1, 1]), (24, [24, 5]), (2048, [2048, 301])], ids=str
)
def test_parity_with_torch(record_property, feed_forward, length, lengths):
    tokens, mask = random_text(7, 2, length, lengths)
    output, expected = features_of_both(feed_forward, tokens, mask)
    name = "T5" if feed_forward == "relu" else "T5 v1.1"
    assert_parity(record_property, name, f"{length} tokens", output[mask], expected[mask])


@pytest.mark.parity
@pytest.mark.parametrize("feed_forward", t5.FEED_FORWARDS)
def test_parity_with_padding_on_either_side(record_property, feed_forward):
    tokens, mask = random_text(8, 3, 160, [160, 40, 1])
    mask[1] = mask[1, ::-1]  # before the text
    mask[2] = np.random.default_rng(9).random(160) < 0.5  # anywhere
    output, expected = features_of_both(feed_forward, tokens, mask)
    name = "T5" if feed_forward == "relu" else "T5 v1.1"
    for row, where in enumerate(("without padding", "padding before", "padding anywhere")):
        here, there = output[row][mask[row]], expected[row][mask[row]]
        assert_parity(record_property, name, where, here, there)


@pytest.mark.parity
@pytest.mark.parametrize("feed_forward", t5.FEED_FORWARDS)
def test_saved_folder_converts_with_or_without_the_decoder(tmp_path, feed_forward):
    encoder, state = original(feed_forward)
    from transformers import T5ForConditionalGeneration

    whole = T5ForConditionalGeneration(encoder.config)
    whole.load_state_dict(encoder.state_dict(), strict=False)
    expected = convert.to_variables(NETWORK, weight_files.from_arrays(state))[1]
    for name, model in (("encoder", encoder), ("whole", whole)):
        model.save_pretrained(tmp_path / name)
        folder = convert.convert("t5", tmp_path / name, tmp_path / f"{name}-converted")
        loaded = convert.load(folder, "t5")
        assert loaded.module == t5.T5Encoder(**TINY, feed_forward=feed_forward)
        jax.tree.map(np.testing.assert_array_equal, loaded.variables, expected)


def test_unknown_variant_of_t5_is_refused():
    config = {"feed_forward_proj": "gated-silu", "relative_attention_max_distance": 256}
    source = weight_files.Source("folder", {}, lambda key: None, config=config)
    with pytest.raises(
        ValueError, match="max_distance is 256, not 128; .*'gated-silu', not 'relu'"
    ):
        NETWORK.fields(source)
