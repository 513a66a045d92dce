"""Codes and frames of DISFA in the published layout become a table and a data set."""

import csv

import numpy as np
import pytest
from PIL import Image

from auface_jax.data import disfa
from auface_jax.data.build.builder import build
from auface_jax.data.shards import ShardReader
from auface_jax.data.sources.base import SourceError
from auface_jax.facs import AU_NUMBERS

CODED = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)  # 5, 9, 20, 25, 26 are none of ours
PEOPLE = ("SN001", "SN002", "SN010", "SN016")
FRAMES = 5


def code(person: int, frame: int, unit: int) -> int:
    return 0 if frame == 1 else (person + frame + unit) % 6


@pytest.fixture
def corpus(tmp_path):
    """A corpus with codes of frames 1 to 5 and pictures of 1 to 6.

    AU6 of SN001 has an illegal code in frame 3, and SN016 lacks the picture of frame 4.
    """
    for place, person in enumerate(PEOPLE):
        codes = tmp_path / "ActionUnit_Labels" / person
        frames = tmp_path / "frames" / f"LeftVideo{person}_comp"
        codes.mkdir(parents=True)
        frames.mkdir(parents=True)
        for unit in CODED:
            lines = [f"{n},{code(place, n, unit)}" for n in range(1, FRAMES + 1)]
            if (person, unit) == ("SN001", 6):
                lines[2] = "3,9"
            (codes / f"{person}_au{unit}.txt").write_text("\r\n".join(lines) + "\r\n")
        for number in range(1, FRAMES + 2):
            image = np.full((24, 24, 3), 40 * place + number, np.uint8)
            Image.fromarray(image).save(frames / f"{number:05d}.png")
    (tmp_path / "frames" / "LeftVideoSN016_comp" / "00004.png").unlink()
    return tmp_path


def run(corpus, out="tables/disfa.csv"):
    (corpus / out).parent.mkdir(exist_ok=True)
    return disfa.write_table(corpus / "ActionUnit_Labels", corpus / "frames", corpus / out)


def test_codes_with_a_picture_become_lines(corpus):
    found = run(corpus)
    assert found == {
        "people": 4,
        "lines": 19,
        "codes without a picture": 1,
        "pictures without a code": 4,
    }
    with open(corpus / "tables" / "disfa.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 19
    for row in rows:
        place, frame = PEOPLE.index(row["subject"]), int(row["frame"])
        image = np.array(Image.open(corpus / "tables" / row["path"]))
        assert (image == 40 * place + frame).all()
        for unit in set(CODED) & set(AU_NUMBERS):
            odd = (row["subject"], frame, unit) == ("SN001", 3, 6)
            assert row[f"AU{unit}"] == ("" if odd else str(code(place, frame, unit)))
        assert not {"AU5", "AU7", "AU26"} & row.keys()


def test_built_data_set_has_intensities_and_marks_uncoded_units(corpus):
    disfa.main(
        ["--labels", str(corpus / "ActionUnit_Labels"), "--frames", str(corpus / "frames")]
        + ["--out", str(corpus / "disfa.csv")]
    )
    options = {"source": "folder", "labels": str(corpus / "disfa.csv"), "size": 16}
    options |= {"threshold": 2, "maximum": 5, "uncoded_units": "absent"}
    info = build(corpus / "set", **options, processes=1, progress=False)
    assert info["options"]["uncoded_units"] == [7, 10, 14, 23, 24]
    (reason,) = info["left_out"]
    assert "unknown on this frame (first: SN001/video/3)" in reason
    records = [r for split in info["shards"] for r in ShardReader(corpus / "set", split)]
    assert len(records) == 18
    for record in records:
        place = PEOPLE.index(record.subject)
        for column, unit in enumerate(AU_NUMBERS):
            if unit in CODED:
                strength = code(place, record.frame, unit)
                assert record.labels[column] == (strength >= 2)
                assert record.intensities[column] == np.float32(strength) / np.float32(5)
            else:
                assert record.labels[column] == -1


def test_malformed_codes_and_pictures_are_all_listed(corpus, capsys):
    codes = corpus / "ActionUnit_Labels"
    (codes / "SN001" / "SN001_au1.txt").write_text("1,0\nsecond\n1,0\n")
    (codes / "SN001" / "SN002_au2.txt").write_text("1,0\n")
    frames = corpus / "frames"
    (frames / "RightVideoSN001_comp").mkdir()
    image = Image.open(frames / "LeftVideoSN001_comp" / "00001.png")
    image.save(frames / "RightVideoSN001_comp" / "00001.png")
    with pytest.raises(SourceError) as error:
        run(corpus)
    for fault in ("line 2: 'second'", "frame 1 is there twice", "another person", "one camera"):
        assert fault in str(error.value)
    assert not list((corpus / "tables").iterdir())
    (corpus / "empty").mkdir()
    arguments = ["--labels", str(corpus / "empty"), "--frames", str(corpus / "empty")]
    with pytest.raises(SystemExit, match="2 fault.*\n.*no codes.*\n.*no pictures"):
        disfa.main([*arguments, "--out", str(corpus / "table.csv")])
