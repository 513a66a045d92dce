"""Units as codes, read and written."""

import re

import numpy as np
import pytest

from auface_jax import facs
from auface_jax.facs.codes import parse_codes, write_codes


def test_codes_are_units_with_optional_degrees():
    units, degrees = parse_codes("1B+4+12D")
    assert units == {1, 4, 12}
    assert degrees.tolist() == [2, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0]
    assert parse_codes("0")[0] == frozenset()
    for wrong in ("1F", "3", "1+1", "1b", "", "AU1"):
        with pytest.raises(ValueError, match="give each unit once, .* or 0 for a neutral face"):
            parse_codes(wrong)


@pytest.mark.parametrize("seed", range(20))
def test_written_codes_name_the_units_and_their_degrees(seed):
    rng = np.random.default_rng(seed)
    units = rng.choice(facs.AU_NUMBERS, 3, replace=False).tolist()
    plain = write_codes(units, rng)
    assert [int(n) for n in re.findall(r"[0-9]+", plain)] == units
    intensities = np.full(12, 0.6)
    graded = write_codes(units, rng, intensities)
    assert len(re.findall(r"C\b|intensity 3", graded)) == 3
