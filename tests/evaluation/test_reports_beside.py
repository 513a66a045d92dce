"""Which earlier reports may stand in one table."""

import json

import pytest

from auface_jax.evaluation.population import load_population
from auface_jax.evaluation.report import ReportError, read_beside
from auface_jax.evaluation.results import Findings
from tests.helpers import evaluation_runs


def test_reports_of_other_text_readers_or_scales_do_not_share_a_column(tmp_path):
    population = load_population(evaluation_runs.build_data(tmp_path / "data"))

    def findings(reader=None, features="au"):
        return Findings(
            features=features,
            name="system",
            about={},
            population=population,
            truth=population,
            scorer={"name": "runs/au", "kind": "au", "fingerprint": "0" * 64},
            text_reader=reader and dict(zip(("name", "fingerprint"), reader, strict=True)),
            seed=0,
        )

    def stored(name, reader, *, earlier=False, **fields):
        found = findings(reader).as_json() | {"aaad": {"labels": {}}} | fields
        if earlier:
            for what in ("text_reader", "calibration_seed", "resizing"):
                del found["compares_with"][what]
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(found))
        return tmp_path / name

    one, other = ("runs/one", "1" * 64), ("runs/other", "2" * 64)
    of_one, of_other = stored("one", one), stored("other", other)
    moved, without = stored("moved", ("elsewhere/one", one[1])), stored("without", None)
    earlier = stored("earlier", one, earlier=True)
    assert len(read_beside([of_one, moved, without], findings(one))) == 3
    assert len(read_beside([of_one, earlier], findings())) == 2
    for folders, ours in (([of_other], one), ([earlier], other), ([of_one, of_other], None)):
        with pytest.raises(ReportError, match="its text reader differ") as raised:
            read_beside(folders, findings(ours))
        assert "runs/one" in str(raised.value) and "runs/other" in str(raised.value)

    drawn = stored("drawn", None, earlier=True, seed=3)
    with pytest.raises(ReportError, match=r"seed of C_min differ .*3 there, 0 here"):
        read_beside([drawn], findings())
    no_scale = stored("no scale", None, earlier=True, seed=3, aaad={})
    assert len(read_beside([no_scale], findings())) == 1
    assert len(read_beside([stored("drawn anew", None, seed=3)], findings())) == 1

    of_inception = {"system": [{"name": "FID", "value": 1.0}]}
    not_clipped = stored("not clipped", None, earlier=True, distances=of_inception)
    with pytest.raises(ReportError, match=r"clean, not clipped there, clean, clipped here"):
        read_beside([not_clipped], findings(features="inception"))
    assert len(read_beside([not_clipped], findings())) == 1
    assert len(read_beside([earlier], findings(features="inception"))) == 1
