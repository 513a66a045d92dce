"""Counts of a data set equal a plain count of its records, and the card shows them."""

import collections
import json
import shutil

import msgspec
import numpy as np
import pytest
from array_record.python import array_record_module
from PIL import Image

from auface_jax import facs
from auface_jax.data.build.builder import build
from auface_jax.data.loading.pipeline import record_text
from auface_jax.data.record import SPLITS, encode_record
from auface_jax.data.shards import ShardReader, read_info
from auface_jax.data.statistics import card, counts
from auface_jax.data.statistics.__main__ import main
from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.faces.sampler import sample_intensities
from tests.helpers.small_dataset import write_folder

ANTAGONISTIC = {i.name for i in facs.INTERACTIONS if i.kind == "antagonistic"}
SYNERGISTIC = {i.name for i in facs.INTERACTIONS if i.kind == "synergistic"}
AU7 = facs.AU_NUMBERS.index(7)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("statistics")
    labels = write_folder(folder / "faces", people=7, frames=12, size=16)
    options = {"source": "folder", "labels": str(labels), "size": 16, "processes": 1}
    build(folder / "set", **options, progress=False)
    return folder / "set"


@pytest.fixture(scope="module")
def records(directory):
    return [record for split in SPLITS for record in ShardReader(directory, split)]


@pytest.fixture(scope="module")
def counted(directory):
    return counts.statistics(directory)


def test_counts_equal_a_plain_count_of_records(counted, records):
    active = [r for r in records if (r.labels == 1).any()]
    assert counted["entries"] == len(records)
    assert counted["active_entries"] == len(active)
    assert counted["neutral_entries"] == len(records) - len(active) > 0
    for kind, names in (
        ("single", {u.code for u in facs.ACTION_UNITS}),
        ("synergistic", SYNERGISTIC),
        ("antagonistic", ANTAGONISTIC),
    ):
        in_each = [sum(name in names for name in r.constructs) for r in records]
        assert counted["kinds"][kind]["entries"] == np.count_nonzero(in_each) > 0
        assert counted["kinds"][kind]["occurrences"] == sum(in_each)
    both = ANTAGONISTIC | SYNERGISTIC
    in_each = [sum(name in both for name in r.constructs) for r in active]
    combinations = counted["combinations"]
    assert combinations["share"] == np.count_nonzero(in_each) / len(active)
    assert combinations["occurrences_per_entry"] == sum(in_each) / len(active)
    expected = collections.Counter(name for r in records for name in r.constructs)
    assert {n: c for n, c in counted["constructs"].items() if c} == expected
    assert tuple(counted["constructs"]) == facs.CONSTRUCT_NAMES
    assert counted["label_rows"] == len({r.labels.tobytes() for r in records})


def test_every_active_entry_has_one_leading_kind(counted, records):
    leading = {kind: k["leading"] for kind, k in counted["kinds"].items()}
    assert sum(leading.values()) == counted["active_entries"]
    assert leading["antagonistic"] == sum(bool(ANTAGONISTIC & set(r.constructs)) for r in records)
    assert sum(counted["constructs_per_entry"].values()) == len(records)


def test_text_lengths_are_those_of_training(counted, records):
    texts = [record_text(record) for record in records]
    words = [len(text.split()) for text in texts]
    tokens = [
        int(load_tokenizer("embedded").encode_batch([text], (512,))[1].sum()) for text in texts
    ]
    for lengths, name in ((words, "text_words"), (tokens, "text_tokens")):
        assert counted[name]["min"] == min(lengths) and counted[name]["max"] == max(lengths)
        assert counted[name]["mean"] == pytest.approx(np.mean(lengths))
        histogram = counted[name]["histogram"]
        assert sum(histogram["counts"]) == len(records)
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert counted["texts"] == len(set(texts))


def test_people_are_counted_by_split(counted, directory):
    people = read_info(directory)["people"]
    for split in SPLITS:
        assert counted["splits"][split] == {
            "entries": sum(people[split].values()),
            "people": len(people[split]),
        }
    assert counted["people"]["number"] == 7


@pytest.fixture
def without_au7(directory, tmp_path):
    """A copy of the data set in which AU7 is not coded."""
    folder = shutil.copytree(directory, tmp_path / "set")
    for split in SPLITS:
        records = list(ShardReader(directory, split))
        writer = array_record_module.ArrayRecordWriter(
            str(folder / f"{split}-00000-of-00001.array_record"), "group_size:1,uncompressed"
        )
        for record in records:
            labels = record.labels.copy()
            labels[AU7] = -1
            constructs = facs.constructs(np.maximum(labels, 0))
            record = msgspec.structs.replace(record, labels=labels, constructs=constructs)
            writer.write(encode_record(record))
        writer.close()
    return folder


def test_uncoded_unit_is_named_and_has_no_rate(without_au7, counted):
    found = counts.statistics(without_au7)
    assert found["units"]["AU7"] == {
        "present": 0, "absent": 0, "uncoded": counted["entries"], "rate": None,
    }  # fmt: skip
    assert found["units"]["AU12"] == counted["units"]["AU12"]
    assert card.uncoded_units(found) == ["AU7"] and card.uncoded_units(counted) == []
    text = card.markdown(found)
    assert "Not coded by the source: AU7." in text and "| AU7 | 0 | 0 | 84 | - |" not in text
    assert f"| AU7 | 0 | 0 | {found['entries']} | - |" in text
    assert "Every unit is coded" in card.markdown(counted)


def test_command_writes_json_card_and_plots(directory, tmp_path, counted, capsys):
    main([str(directory), "--out", str(tmp_path / "card")])
    assert f"{counted['combinations']['share']:.1%} of these" in capsys.readouterr().out
    assert json.loads((tmp_path / "card" / "statistics.json").read_text()) == counted
    text = (tmp_path / "card" / "card.md").read_text()
    assert f"| images | {counted['entries']} | 302,169 |" in text
    pictures = sorted(path.name for path in (tmp_path / "card").glob("*.png"))
    assert pictures == ["constructs.png", "kinds.png", "texts.png", "units.png"]
    for name in pictures:
        assert f"({name})" in text
        pixels = np.asarray(Image.open(tmp_path / "card" / name).convert("L"))
        assert pixels.shape[1] == 1200 and 0.01 < (pixels < 250).mean() < 0.7


def test_command_reports_faults(directory, tmp_path):
    with pytest.raises(SystemExit, match="holds no data set"):
        main([str(tmp_path)])
    (tmp_path / "words.json").write_text('{"schema_version": 2, "constructs": {"AU1": []}}')
    with pytest.raises(SystemExit) as caught:
        main([str(directory), "--dictionary", str(tmp_path / "words.json")])
    for fault in ("schema_version is 2", "missing key 'neutral'", "AU1 has 0 texts", "AU6+AU12"):
        assert fault in str(caught.value)


def test_drawn_label_vectors_are_near_the_papers_rates():
    """In BP4D-AUText 81.4 % of the entries have a combination, with 1.35 occurrences per entry."""
    rng = np.random.default_rng(0)
    rows = [(sample_intensities(rng) >= 0.3).astype(int) for _ in range(3000)]
    found = counts.combination_rates(rows)
    assert found["number"] == 3000
    assert abs(found["share"] - 0.814) < 0.07 and abs(found["occurrences"] - 1.35) < 0.2
    with pytest.raises(ValueError, match="no label vector has an active unit"):
        counts.combination_rates([np.zeros(12)])
