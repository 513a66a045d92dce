"""Laws of the BERT encoder, and parity with the torch implementation at random weights."""

import jax
import numpy as np
import pytest

from auface_jax.models.bert import BertEncoder
from auface_jax.pretrained import convert, weight_files
from auface_jax.pretrained.bert import NETWORK
from auface_jax.pretrained.text_encoders import check_tokenizer, load_text_encoder
from tests.helpers.converted import write_converted
from tests.helpers.parity import assert_parity, import_torch, redraw

FIELDS = {
    "vocab_size": 61,
    "d_model": 24,
    "d_ff": 40,
    "num_layers": 3,
    "num_heads": 4,
    "max_length": 20,
}


def random_text(seed, batch, length, lengths):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, FIELDS["vocab_size"], (batch, length), dtype=np.int32)
    return tokens, np.arange(length) < np.asarray(lengths)[:, None]


@pytest.fixture(scope="module")
def made():
    model = BertEncoder(**FIELDS)
    return model, jax.jit(model.init)(jax.random.key(0), *random_text(0, 1, 4, [4]))


def test_padding_does_not_change_the_tokens(made):
    model, variables = made
    tokens, mask = random_text(2, 3, 12, [12, 7, 1])
    longer, longer_mask = np.pad(tokens, ((0, 0), (0, 8))), np.pad(mask, ((0, 0), (0, 8)))
    short = np.asarray(model.apply(variables, tokens, mask))
    long = np.asarray(model.apply(variables, longer, longer_mask))
    np.testing.assert_allclose(long[:, :12][mask], short[mask], atol=2e-6)
    assert np.isfinite(long).all()


def test_order_of_tokens_matters(made):
    model, variables = made
    tokens, mask = random_text(4, 1, 6, [6])
    turned = np.asarray(model.apply(variables, tokens[:, ::-1], mask))[:, ::-1]
    assert np.abs(turned - model.apply(variables, tokens, mask)).max() > 1e-3


def test_text_longer_than_the_positions_is_refused(made):
    model, variables = made
    with pytest.raises(ValueError, match="padded to 21 tokens, and the encoder has 20 learned"):
        model.apply(variables, *random_text(1, 1, 21, [21]))


def test_first_blocks_of_an_encoder_are_its_beginning(made, tmp_path):
    model, variables = made
    folder = write_converted(tmp_path / "bert", "bert", FIELDS, jax.device_get(variables))
    whole = load_text_encoder(str(folder))
    assert whole.module == model
    two = load_text_encoder(str(folder), layers=2)
    tokens, mask = random_text(3, 2, 8, [8, 5])
    expected = BertEncoder(**FIELDS | {"num_layers": 2}).apply(
        {"params": {k: v for k, v in variables["params"].items() if k != "block_2"}}, tokens, mask
    )
    found = two.module.apply(two.variables, tokens, mask)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match="has 3 blocks, and 4 were asked for"):
        load_text_encoder(str(folder), layers=4)


def test_folder_of_another_network_is_refused(tmp_path):
    folder = write_converted(tmp_path / "vgg", "vgg16", {}, {"params": {"x": np.zeros(1)}})
    with pytest.raises(convert.ConversionError, match="'vgg16', which is no text encoder"):
        load_text_encoder(str(folder))


def test_tokenizer_of_another_encoder_is_refused():
    check_tokenizer("embedded", 30_522, "embedded", 30_522)
    check_tokenizer("hf:google-t5/t5-large", 32_128, "google-t5/t5-large", 32_100)
    check_tokenizer("weights/all-minilm-l6-v2", 30_522, "embedded", 30_522)
    for where, name, tokens in (
        ("embedded", "", 900),
        ("weights/t5", "embedded", 100),
        ("weights/t5", "t5-large", 30_523),
    ):
        with pytest.raises(ValueError, match="name the tokenizer that it was trained with"):
            check_tokenizer(where, 30_522, name, tokens)


def source(state, **config):
    arrays = weight_files.from_arrays(state)
    heads = {"num_attention_heads": FIELDS["num_heads"]}
    return weight_files.Source(arrays.name, arrays.shapes, arrays.read, (), heads | config)


def test_unknown_variants_are_refused():
    state = {"embeddings.word_embeddings.weight": np.zeros((2, 2), np.float32)}
    with pytest.raises(ValueError, match="layer_norm_eps is 1e-05, not 1e-12"):
        NETWORK.fields(source(state, layer_norm_eps=1e-5))
    with pytest.raises(ValueError, match="does not tell how many attention heads"):
        NETWORK.fields(weight_files.from_arrays(state))


@pytest.mark.parity
@pytest.mark.parametrize("whole", [False, True])
def test_parity(record_property, whole):
    import_torch()
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertModel

    config = BertConfig(
        vocab_size=FIELDS["vocab_size"],
        hidden_size=FIELDS["d_model"],
        intermediate_size=FIELDS["d_ff"],
        num_hidden_layers=FIELDS["num_layers"],
        num_attention_heads=FIELDS["num_heads"],
        max_position_embeddings=FIELDS["max_length"],
    )
    theirs = (BertForMaskedLM if whole else BertModel)(config).eval()
    state = redraw(theirs)
    ours, variables = convert.to_variables(NETWORK, source(state))
    assert ours == BertEncoder(**FIELDS)
    tokens, mask = random_text(7, 3, 16, [16, 9, 2])
    with torch.no_grad():
        expected = (theirs.bert if whole else theirs)(
            input_ids=torch.from_numpy(tokens).long(), attention_mask=torch.from_numpy(mask).long()
        ).last_hidden_state.numpy()
    with jax.default_matmul_precision("highest"):
        found = np.asarray(ours.apply(variables, tokens, mask))
    stage = "features (masked language model)" if whole else "features"
    assert_parity(record_property, "BERT", stage, found[mask], expected[mask])
