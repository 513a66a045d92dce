"""The words in which an evaluation tells what to draw."""

import json

import numpy as np
import pytest

from auface_jax import evaluate
from auface_jax.evaluation.population import load_population
from auface_jax.evaluation.wording import WORDINGS, reworded
from auface_jax.facs.corpus import load_corpus
from auface_jax.facs.other_words import load_other_words


@pytest.fixture(scope="module")
def population(data):
    return load_population(data, "test")


def test_dictionary_leaves_the_population_as_it_is(population):
    assert reworded(population, "dictionary") is population


@pytest.mark.parametrize("wording", ["paraphrase", "corpus-test"])
def test_other_wordings_tell_the_same_units_of_the_same_pictures(population, wording):
    one, two = reworded(population, wording), reworded(population, wording)
    assert one.texts == two.texts and one.texts != population.texts
    assert one.fingerprint != population.fingerprint
    np.testing.assert_array_equal(one.labels, population.labels)
    assert one.image is population.image
    if wording == "corpus-test":
        told = [d.text.rstrip(".!?") for d in load_corpus("test")]
        assert all(any(text in whole for text in told) for whole in one.texts)


def test_other_words_bring_their_own_labels(population):
    found, other = reworded(population, "other-words"), load_other_words()
    assert found.texts == other.texts and found.image is None
    np.testing.assert_array_equal(found.labels, other.labels)
    assert len(set(found.record_ids)) == len(found.record_ids) == len(other.texts)
    for index, subject in enumerate(found.subjects):
        place = population.subjects.index(subject)
        np.testing.assert_array_equal(found.reference[index], population.reference[place])


def test_run_is_evaluated_on_texts_of_a_file(runs, data, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("codes,text\n1+4,Sorrowful brows.\n0,Nothing.\n12E,The widest grin.\n")
    out = tmp_path / "report"
    command = ["--run", runs["stage2"], "--scorer", runs["au_probe"], "--wording", path]
    evaluate.main([str(part) for part in (*command, "--metrics", "units,aaad", "--out", out)])
    report = json.loads((out / "report.json").read_text())
    assert report["table"][0]["N"] == 3


def test_texts_of_a_file_are_read(population, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("codes,text\n1+4,Sorrowful brows.\n0,Nothing.\n12E,The widest grin.\n")
    found = reworded(population, str(path))
    assert found.texts == ("Sorrowful brows.", "Nothing.", "The widest grin.")
    assert found.labels.sum(1).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("codes,text\n1+4,a\n13,b\n", "line 3: cannot read '13'"),
        ("codes,words\n1,a\n", "line 2: give a text and its codes"),
        ("codes,text\n1,a\n", "has 1 text"),
    ],
)
def test_damaged_files_are_refused(population, tmp_path, content, message):
    path = tmp_path / "mine.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        reworded(population, str(path))


def test_unknown_wording_names_the_legal_ones(population):
    with pytest.raises(ValueError, match=f"'poem' is none of {', '.join(WORDINGS)}, and no file"):
        reworded(population, "poem")
