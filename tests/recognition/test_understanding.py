"""What is said where text and pictures disagree."""

import numpy as np
import pytest

from auface_jax.facs import labels_from_units
from auface_jax.recognition.understanding import disagreement, say_disagreement, what_is_read


@pytest.mark.parametrize(
    ("stated", "shown", "message"),
    [
        ({1, 4}, [(1, 4), (1, 4), (1,)], ""),
        (
            {1, 12},
            [(1,), (1, 12), (1,)],
            "read in the pictures: asked, but seldom seen: AU12 in 1 of 3",
        ),
        ((), [(6,), (6,), ()], "read in the pictures: not asked, but seen: AU6 in 2 of 3"),
        (
            {4},
            [(12,)],
            "read in the pictures: asked, but seldom seen: AU4 in 0 of 1; "
            "not asked, but seen: AU12 in 1 of 1",
        ),
    ],
)
def test_disagreement_names_units_and_counts(stated, shown, message):
    read = np.stack([labels_from_units(units) for units in shown])
    assert disagreement(stated, read) == message


def test_run_without_its_probe_says_nothing(tmp_path, capsys):
    picture = np.zeros((16, 16, 3), np.uint8)
    say_disagreement(tmp_path, {1}, picture[None], picture)
    assert capsys.readouterr().out == ""


def test_what_is_read_is_said_or_warned_of():
    assert what_is_read({1: "", 12: "E"}) == (
        "read in the text: AU1 (inner brow raiser), AU12E (lip corner puller)"
    )
    assert what_is_read({}).startswith("read in the text: no action unit.")
