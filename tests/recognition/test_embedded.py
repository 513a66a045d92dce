"""The text recogniser that the package contains."""

import hashlib
import json

import jax
import numpy as np
import pytest

from auface_jax.facs import labels_from_units
from auface_jax.facs.corpus import load_corpus
from auface_jax.facs.other_words import load_other_words
from auface_jax.metrics.units import f1_scores
from auface_jax.models.au_text_recognizer import AUQueryHead, AUTextRecognizer
from auface_jax.models.bert import BertEncoder
from auface_jax.pretrained import embedded
from auface_jax.recognition.text_reader import TextReader, load_text_reader


@pytest.fixture(scope="module")
def reader():
    return TextReader.embedded()


def macro_f1(reader, texts, labels):
    said = reader.probabilities(texts) >= reader.thresholds
    return np.nanmean(f1_scores(said.astype(np.int8), np.asarray(labels)))


def test_embedded_recogniser_reads_words_that_it_was_not_trained_on(reader):
    other = load_other_words()
    assert macro_f1(reader, other.texts, other.labels) > 0.92
    test = load_corpus("test")
    assert macro_f1(reader, [d.text for d in test], np.stack([d.labels for d in test])) > 0.92


def test_degrees_are_read(reader):
    weak = reader.stated("A trace of a smile: the mouth corners barely go up.")
    strong = reader.stated("The mouth corners are pulled up as far as they go, to the maximum.")
    assert weak.keys() == strong.keys() == {12}
    assert weak[12] in ("A", "B") and strong[12] in ("D", "E")
    assert reader.stated("The mouth corners go up.")[12] == ""


def test_text_about_no_face_states_no_unit(reader):
    assert reader.stated("A red bicycle leans against the wall of a bakery.") == {}


def test_embedded_is_the_name_of_a_text_reader(reader):
    assert load_text_reader("embedded").fingerprint == reader.fingerprint


def test_weights_file_is_small_and_is_the_one_that_the_description_names():
    content = (embedded.folder() / embedded.WEIGHTS).read_bytes()
    assert len(content) < 25e6
    described = json.loads((embedded.folder() / embedded.DESCRIPTION).read_text())
    assert described["sha256"] == hashlib.sha256(content).hexdigest()


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    for name in (embedded.WEIGHTS, embedded.DESCRIPTION):
        (tmp_path / name).write_bytes((embedded.folder() / name).read_bytes())
    with (tmp_path / embedded.WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    monkeypatch.setattr(embedded, "folder", lambda: tmp_path)
    with pytest.raises(ValueError, match="is damaged: its sha256 is .*install the package again"):
        embedded.load.__wrapped__()


def test_written_recogniser_is_read_back_to_the_precision_of_its_file(tmp_path, monkeypatch):
    fields = {"vocab_size": 40, "d_model": 16, "d_ff": 24, "num_layers": 1, "num_heads": 2}
    module = AUTextRecognizer(
        encoder=BertEncoder(**fields, max_length=8), head=AUQueryHead(width=6)
    )
    tokens = np.arange(8, dtype=np.int32)[None]
    params = jax.device_get(module.init(jax.random.key(0), tokens, tokens >= 0)["params"])
    weights = {"params": params, "thresholds": np.linspace(0.1, 0.9, 12, dtype=np.float32)}
    embedded.write(tmp_path, module, weights, "{}")
    monkeypatch.setattr(embedded, "folder", lambda: tmp_path)
    found = embedded.load.__wrapped__()
    assert embedded.recognizer(found.fields) == module
    np.testing.assert_allclose(found.thresholds, weights["thresholds"], atol=1e-3)
    table = params["encoder"]["embedding"]["embedding"]
    error = np.abs(found.params["encoder"]["embedding"]["embedding"] - table)
    assert (error <= np.abs(table).max(1, keepdims=True) / 127 * 0.51).all()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-2), found.params, params)


def test_labels_of_a_plain_sentence(reader):
    said = reader.stated("Brows drawn down and together, lips pressed shut.")
    np.testing.assert_array_equal(labels_from_units(said), labels_from_units([4, 24]))
