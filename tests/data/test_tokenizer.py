"""The default tokenizer, its training command, and tokenizers of Hugging Face."""

import json
import pathlib
import pickle
import re

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

import auface_jax.data
from auface_jax import facs
from auface_jax.data import tokenizer as tokenizer_module
from auface_jax.data.tokenizer import load_tokenizer

SHIPPED = pathlib.Path(auface_jax.data.__path__[0]) / "tokenizer.json"
DICTIONARY = facs.load_dictionary()
TEXTS = [*DICTIONARY.neutral, *(t for texts in DICTIONARY.constructs.values() for t in texts)]
UNKNOWN = 2
TOKENIZER = load_tokenizer()


def encode(text):
    tokens, mask = TOKENIZER.encode_batch([text], (4096,))
    return tokens[0, mask[0]].tolist()


def test_sizes_and_special_tokens():
    assert (TOKENIZER.pad_id, TOKENIZER.eos_id) == (0, 1)
    assert 2_000 <= TOKENIZER.vocab_size <= 3_000
    assert SHIPPED.stat().st_size < 100_000


@pytest.mark.parametrize("text", TEXTS)
def test_dictionary_texts_survive_a_round_trip(text):
    ids = encode(text)
    assert TOKENIZER.decode(ids) == text
    assert ids[-1] == TOKENIZER.eos_id and TOKENIZER.eos_id not in ids[:-1]
    assert len(ids) <= 1.3 * len(text.split()) + 3  # words are whole pieces, punctuation apart


def test_whole_descriptions_survive_a_round_trip():
    rng = np.random.default_rng(0)
    for _ in range(50):
        text = facs.describe(rng.integers(0, 2, 12), rng)
        assert TOKENIZER.decode(encode(text)) == text


@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_text_never_gives_unknown_tokens(text):
    ids = encode(text)
    assert UNKNOWN not in ids and max(ids) < TOKENIZER.vocab_size
    assert ids.count(TOKENIZER.eos_id) == 1 and TOKENIZER.pad_id not in ids


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100))
def test_ascii_text_survives_a_round_trip(text):
    text = text.lstrip(" ")
    assert TOKENIZER.decode(encode(text)) == text


@pytest.mark.parametrize("text", ["日本語の顔", "\U0001f600 é ñ", "tab\tand\nline", "\x00", "ж"])
def test_other_scripts_survive_a_round_trip_as_bytes(text):
    assert TOKENIZER.decode(encode(text)) == text


@pytest.mark.parametrize("text", ["</s>", "<pad>", "<unk>", "<0x41>", "a </s> b <pad>"])
def test_text_cannot_spell_a_special_token(text):
    ids = encode(text)
    assert ids.count(TOKENIZER.eos_id) == 1 and TOKENIZER.pad_id not in ids and UNKNOWN not in ids
    assert TOKENIZER.decode(ids) == text


def test_texts_are_padded_to_the_smallest_bucket_that_fits():
    short, long = "The chin is pushed up.", " ".join(["lip"] * 20)
    tokens, mask = TOKENIZER.encode_batch([short, long], (8, 16, 32, 64))
    assert tokens.shape == mask.shape == (2, 32)
    assert tokens.dtype == np.int32 and mask.dtype == bool
    for row, text in enumerate([short, long]):
        ids = encode(text)
        assert tokens[row].tolist() == ids + [0] * (32 - len(ids))
        assert mask[row].tolist() == [True] * len(ids) + [False] * (32 - len(ids))
    exact = " ".join(["lip"] * 15)  # 15 words and the end token
    assert TOKENIZER.encode_batch([exact], (8, 16, 32))[0].shape == (1, 16)
    assert TOKENIZER.encode_batch([], (8, 16))[0].shape == (0, 8)


def test_text_longer_than_the_last_bucket_is_truncated_and_counted():
    tokenizer = load_tokenizer()
    text = " ".join(["lip"] * 20)
    tokens, mask = tokenizer.encode_batch([text, "lip"], (4, 8))
    assert tokens.shape == (2, 8) and mask[0].all() and tokens[0, -1] == tokenizer.eos_id
    assert tokens[0, :7].tolist() == encode(text)[:7]
    assert tokenizer.truncated == 1
    tokenizer.encode_batch([text], (32,))
    assert tokenizer.truncated == 1


def test_text_is_encoded_as_by_the_library():
    """Our cache of sentences gives the ids of the library, which encodes whole texts."""
    plain = load_tokenizer()._backend
    rng = np.random.default_rng(0)
    texts = [facs.describe(rng.integers(0, 2, 12), rng) for _ in range(50)]
    texts += ["The lips part.  The chin rises. ", "Odd. Ä ends. And ´ so. On.", "", ". A", " A. B"]
    tokens, mask = load_tokenizer().encode_batch(texts, (1024,))
    for text, row, valid in zip(texts, tokens, mask, strict=True):
        assert row[valid].tolist() == plain.encode(text).ids, text


@pytest.mark.parametrize("buckets", [(), (0, 8), (16, 8), (8, 8), (-4,)])
def test_wrong_buckets_are_refused(buckets):
    with pytest.raises(ValueError, match="ascending"):
        TOKENIZER.encode_batch(["lip"], buckets)


@pytest.mark.parametrize("texts", ["one string", [None], [b"lip"], ["lip", 3]])
def test_values_other_than_a_list_of_texts_are_refused(texts):
    with pytest.raises(ValueError, match="list of texts|not a string"):
        TOKENIZER.encode_batch(texts, (8,))


def test_tokenizer_survives_pickling():
    copy = pickle.loads(pickle.dumps(TOKENIZER))
    assert copy.fingerprint == TOKENIZER.fingerprint
    a, b = (t.encode_batch(TEXTS[:4], (64,))[0] for t in (copy, TOKENIZER))
    np.testing.assert_array_equal(a, b)


def test_command_reproduces_the_shipped_file(tmp_path, capsys):
    out = tmp_path / "tokenizer.json"
    tokenizer_module.main(["--out", str(out)])
    assert out.read_bytes() == SHIPPED.read_bytes()
    assert f"{TOKENIZER.vocab_size} pieces" in capsys.readouterr().out


def test_dictionary_words_are_in_the_vocabulary():
    """A spelling mistake is found unless it is in both files."""
    known = set(tokenizer_module.vocabulary_words())
    assert len(known) == len(tokenizer_module.vocabulary_words())
    for text in TEXTS:
        words = set(re.findall(r"[a-z][a-z'-]*", text.lower()))
        assert words <= known, (words - known, text)


# --- Tokenizers from outside, as Hugging Face writes them. No network is used.


def folder_of(path, config, *, end=True):
    """Writes a word-level tokenizer with unusual ids as `save_pretrained` does."""
    words = ["[pad]", "zero", "lip", "chin", "[end]", "[?]"]
    backend = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: 10 * i for i, w in enumerate(words)}, unk_token="[?]")
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    if end:
        backend.post_processor = tokenizers.processors.TemplateProcessing(
            single="$A [end]", special_tokens=[("[end]", 40)]
        )
    path.mkdir()
    backend.save(str(path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[?]", **config}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return str(path)


@pytest.mark.parametrize("end", [True, False])
def test_hugging_face_folder_is_loaded(tmp_path, end):
    config = {"pad_token": "[pad]", "eos_token": "[end]"}
    outside = load_tokenizer(folder_of(tmp_path / "tok", config, end=end))
    tokens, mask = outside.encode_batch(["lip chin", "lip"], (2, 4))
    assert tokens.tolist() == [[20, 30, 40, 0], [20, 40, 0, 0]]
    assert mask.sum(axis=1).tolist() == [3, 2]
    assert (outside.pad_id, outside.eos_id, outside.vocab_size) == (0, 40, 51)
    assert outside.decode(tokens[0]) == "lip chin"
    assert re.fullmatch("[0-9a-f]{64}", outside.fingerprint)
    assert outside.fingerprint != TOKENIZER.fingerprint


def test_tokenizer_without_an_end_token_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no end-of-text token"):
        load_tokenizer(folder_of(tmp_path / "tok", {"pad_token": "[pad]"}))


def test_unloadable_tokenizer_is_explained(tmp_path):
    with pytest.raises(ValueError, match="cannot load the tokenizer.*tokenizer.json"):
        load_tokenizer(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="cannot load the tokenizer"):
        load_tokenizer(str(tmp_path / "empty"))
