"""Tokens of regions and of mask images."""

import numpy as np
import pytest
from PIL import Image

from auface_jax.generation import region_masks
from auface_jax.pretrained.arcface import IN_CROP


@pytest.mark.parametrize("margin", [0.0, 0.25])
@pytest.mark.parametrize("size", [16, 64, 256])
def test_regions_cover_their_part_of_the_face(size, margin):
    eyes, nose, mouth = IN_CROP[:2], IN_CROP[2:3], IN_CROP[3:]
    for name, points in (("eyes", eyes), ("nose", nose), ("mouth", mouth), ("upper", eyes)):
        mask = region_masks.region_mask(name, size, margin)
        assert mask.min() == 0 and mask.max() == pytest.approx(1)
        for x, y in (points + margin) / (1 + 2 * margin) * size:
            assert mask[int(y), int(x)] > 0.99
    both = region_masks.region_mask("eyes, mouth", size, margin)
    np.testing.assert_array_equal(
        both,
        np.maximum(
            region_masks.region_mask("eyes", size, margin),
            region_masks.region_mask("mouth", size, margin),
        ),
    )


def test_upper_and_lower_halves_cover_the_face():
    upper, lower = (region_masks.region_mask(name, 64) for name in ("upper", "lower"))
    np.testing.assert_allclose(upper + lower, 1)


def test_unknown_region_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="region 'ears' is not one of brows, eyes, nose"):
        region_masks.region_mask("mouth,ears", 64)


def test_token_mask_contains_well_covered_tokens():
    mask = np.zeros((8, 8))
    mask[2:4, 2:4] = 1  # all of one token's square
    mask[2:4, 4] = 1  # half of the next one's
    mask[4, 2] = 1  # a quarter of one below
    expected = np.zeros((4, 4), bool)
    expected[1, 1:3] = True
    np.testing.assert_array_equal(region_masks.token_mask(mask, 4), expected.ravel())
    small = np.zeros((8, 8))
    small[7, 7] = 0.2
    assert region_masks.token_mask(small, 4).nonzero()[0].tolist() == [15]
    with pytest.raises(ValueError, match="black everywhere"):
        region_masks.token_mask(np.zeros((8, 8)), 4)


def test_read_mask_resizes_to_the_reference(tmp_path):
    image = np.zeros((40, 40), np.uint8)
    image[:20] = 255
    Image.fromarray(image).save(tmp_path / "mask.png")
    mask = region_masks.read_mask(str(tmp_path / "mask.png"), 16)
    assert (mask[:8] == 1).all() and (mask[8:] == 0).all()
    Image.fromarray(image[:30]).save(tmp_path / "oblong.png")
    with pytest.raises(ValueError, match="40 x 30 px; it must be square"):
        region_masks.read_mask(str(tmp_path / "oblong.png"), 16)


@pytest.mark.parametrize("size", [16, 64, 256])
def test_blend_weight_is_one_on_the_tokens_and_zero_a_token_further(size):
    tokens = np.zeros((8, 8), bool)
    tokens[3:5, 2:6] = True
    weight = region_masks.blend_weight(tokens.ravel(), size)[..., 0]
    cell = size // 8
    inside = tokens.repeat(cell, 0).repeat(cell, 1)
    assert weight[inside].min() > 0.9
    reach = np.zeros((8, 8), bool)
    reach[2:6, 1:7] = True
    assert (weight[~reach.repeat(cell, 0).repeat(cell, 1)] == 0).all()
    everywhere = region_masks.blend_weight(np.ones(64, bool), size)
    np.testing.assert_allclose(everywhere, 1)
