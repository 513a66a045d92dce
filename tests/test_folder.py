"""Any folder of images becomes a data set, and each image that does not says why."""

import numpy as np
import pytest

from auface_jax.data import build as build_module
from auface_jax.data.people import PersonRecords
from auface_jax.data.samples import ONLY_IMAGE, Loaded, Sample, SourceError, count_reasons


def sample(subject: str, frame: int) -> Sample:
    return Sample(
        image=np.zeros((16, 16, 3), np.uint8),
        subject=subject,
        task="T",
        frame=frame,
        labels=np.zeros(12, np.int8),
        intensities=None,
        landmarks=None,
    )


class Spoilt:
    """Three people with four images each, of which just `usable` can be used."""

    name, exact, options, left_out = "spoilt", False, {}, {"never coded": 5}
    subjects = ("A", "B", "C")

    def __init__(self, usable: dict[str, int]):
        self.usable = usable

    def load_person(self, subject: str) -> Loaded:
        usable = self.usable[subject]
        return Loaded(
            samples=[sample(subject, frame) for frame in range(usable)],
            left_out=[(f"{subject}/T/{frame}", "no face") for frame in range(usable, 4)],
        )


def build_spoilt(monkeypatch, out, **usable):
    monkeypatch.setattr(build_module, "_open_source", lambda *_, **__: Spoilt(usable))
    return build_module.build(out, source="folder", size=16, processes=1, progress=False)


def test_images_left_out_on_reading_are_counted_with_their_reason(monkeypatch, tmp_path):
    info = build_spoilt(monkeypatch, tmp_path / "set", A=4, B=2, C=3)
    assert info["left_out"] == {"never coded": 5, "no face (first: B/T/2)": 3}
    assert sum(info["counts"].values()) == 9


def test_a_person_with_one_usable_image_has_no_record():
    made = PersonRecords(Spoilt({"A": 1}), seed=0, image_format="png")("A", "train")
    assert not made.records and made.left_out[-1] == ("A/T/0", ONLY_IMAGE)
    assert count_reasons(made.left_out) == {
        "no face (first: A/T/1)": 3,
        f"{ONLY_IMAGE} (first: A/T/0)": 1,
    }


def test_a_split_that_loses_everybody_is_an_error_with_the_reasons(monkeypatch, tmp_path):
    with pytest.raises(SourceError, match="nobody is left in") as error:
        build_spoilt(monkeypatch, tmp_path / "set", A=4, B=0, C=1)
    assert "7 x no face" in str(error.value) and "1 x a person's only" in str(error.value)
    assert not any(tmp_path.iterdir())
