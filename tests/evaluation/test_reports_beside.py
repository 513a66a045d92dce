"""Earlier reports that may or may not stand in one table with new results."""

import json

import pytest

from auface_jax.evaluation.population import load_population
from auface_jax.evaluation.report import ReportError, read_beside
from auface_jax.evaluation.results import Results
from tests.helpers import evaluation_runs


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    return load_population(evaluation_runs.build_data(tmp_path_factory.mktemp("beside") / "data"))


@pytest.fixture
def make_results(population):
    """Makes results without figures, by a text reader (name, fingerprint) or without one."""

    def make(reader=None, features="au"):
        return Results(
            features=features,
            name="system",
            about={},
            population=population,
            truth=population,
            evaluator={"name": "runs/au", "kind": "au", "fingerprint": "0" * 64},
            text_reader=reader and dict(zip(("name", "fingerprint"), reader, strict=True)),
            seed=0,
        )

    return make


@pytest.fixture
def stored(make_results, tmp_path):
    """Writes the report of such results, with changes to "compares_with" and to other fields."""

    def store(name, reader=None, *, features="au", compares_with=(), **fields):
        report = make_results(reader, features).as_json() | {"aaad": {"labels": {}}} | fields
        report["compares_with"] |= dict(compares_with)
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report))
        return tmp_path / name

    return store


ONE, OTHER = ("runs/one", "1" * 64), ("runs/other", "2" * 64)


def test_reports_of_one_text_reader_or_none_share_a_table(make_results, stored):
    of_one, moved = stored("one", ONE), stored("moved", ("elsewhere/one", ONE[1]))
    without = stored("without")
    assert len(read_beside([of_one, moved, without], make_results(ONE))) == 3
    assert len(read_beside([of_one, without], make_results())) == 2
    assert len(read_beside([stored("other seed", seed=3)], make_results())) == 1


def test_reports_of_different_text_readers_are_refused(make_results, stored):
    of_one, of_other = stored("one", ONE), stored("other", OTHER)
    for folders, ours in (([of_other], ONE), ([of_one, of_other], None)):
        with pytest.raises(ReportError, match="its text reader differ") as raised:
            read_beside(folders, make_results(ours))
        assert "runs/one" in str(raised.value) and "runs/other" in str(raised.value)


def test_reports_on_another_scale_are_refused(make_results, stored):
    scale = {"calibration_seed": 3}
    with pytest.raises(ReportError, match=r"seed of C_min differ .*3 there, 0 here"):
        read_beside([stored("drawn", compares_with=scale)], make_results())
    assert len(read_beside([stored("no AAAD", compares_with=scale, aaad={})], make_results())) == 1

    resizing = {"resizing": "legacy"}
    legacy = stored("legacy", features="inception", compares_with=resizing)
    with pytest.raises(ReportError, match="legacy there, clean, clipped here"):
        read_beside([legacy], make_results(features="inception"))
    assert len(read_beside([legacy], make_results())) == 1


def test_reports_of_another_format_are_refused(make_results, stored):
    with pytest.raises(ReportError, match="has format 1, and this version reads"):
        read_beside([stored("earlier", format_version=1)], make_results())
