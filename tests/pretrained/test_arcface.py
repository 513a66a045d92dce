"""Laws of ArcFace's network and of its input, and parity with insightface's own outputs."""

import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import save_file

from auface_jax.faces.template import TEMPLATE, anchor_points
from auface_jax.images.pixels import to_float
from auface_jax.pretrained import arcface, convert
from auface_jax.pretrained.weight_files import Source, WeightFileError, from_arrays
from tests.golden import make_arcface as golden
from tests.helpers.parity import assert_parity


@functools.cache
def originals():
    """Loads outputs of the original by network and stage, and keys and shapes of its networks."""
    with np.load(golden.OUT) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads(arrays.pop("shapes").tobytes())


def ported(name):
    """Converts a network through its table."""
    drawn = {
        key: golden.redrawn(key, tuple(shape)) if golden.is_drawn(key) else np.zeros(shape)
        for key, shape in originals()[1][name].items()
    }
    return convert.to_variables(arcface.NETWORK, from_arrays(drawn))


def stages_of(module, variables, x):
    """Returns the output of every stage in the golden file, by its name there."""

    @jax.jit
    def run(variables, x):
        output, state = module.apply(variables, x, capture_intermediates=True)
        return output, flatten_dict(state["intermediates"], sep="/")

    with jax.default_matmul_precision("highest"):
        output, inner = run(variables, x)
    last = {f"layer{i}": f"layer{i}_{depth - 1}" for i, depth in enumerate(module.depths, 1)}
    names = {"prelu": "prelu", **last, "bn2": "bn2", "fc": "fc"}
    return {stage: inner[f"{name}/__call__"][0] for stage, name in names.items()} | {
        "features": output
    }


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("name", golden.NETWORKS)
def test_parity_with_the_original(record_property, name):
    module, variables = ported(name)
    assert module == arcface.ArcFace(**arcface.SIZES[name])
    found = stages_of(module, variables, golden.faces())
    assert tuple(found) == golden.STAGES
    for stage, ours in found.items():
        theirs = originals()[0][f"{name}/{stage}"]
        ours = golden.at_nine(np.asarray(ours))
        assert_parity(record_property, f"ArcFace {name}", stage, ours, theirs)


@pytest.mark.slow
def test_every_batch_statistic_changes_the_embedding():
    """Reversing each leaf of a late block moves the embedding beyond the bound of parity."""
    module, variables = ported("r18")
    expected = originals()[0]["r18/features"]
    run = jax.jit(module.apply)
    leaves = flatten_dict(variables, sep="/")
    late = [path for path in leaves if "layer4_1/" in path and leaves[path].ndim == 1]
    assert len(late) == 13  # three norms and the slopes
    for path in late:
        wrong = unflatten_dict({**leaves, path: leaves[path][::-1]}, sep="/")
        found = run(wrong, golden.faces())
        assert np.abs(found - expected).max() > 1e-3 * np.abs(expected).max(), path


def test_checkpoint_converts_and_loads(tmp_path):
    shapes = originals()[1]["r18"]
    save_file(
        {k: np.full(s, 0.5, np.float32) for k, s in shapes.items()}, tmp_path / "r18.safetensors"
    )
    folder = convert.convert("arcface", tmp_path / "r18.safetensors", tmp_path / "converted")
    module = convert.load(folder, "arcface").module
    assert module == arcface.ArcFace(**arcface.SIZES["r18"]) and hash(module)


@pytest.mark.parametrize("name", arcface.SIZES)
def test_every_key_of_a_released_checkpoint_has_its_leaf(name):
    shapes = {k: v for k, v in originals()[1][name].items() if golden.is_drawn(k)}
    assert arcface.NETWORK.fields(Source(name, shapes, None)) == arcface.SIZES[name]
    module = arcface.ArcFace(**arcface.SIZES[name])
    images = jax.ShapeDtypeStruct((2, 112, 112, 3), jnp.float32)
    output, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), images)
    leaves = jax.tree.leaves(variables)
    assert len(leaves) == len(shapes)
    assert sum(leaf.size for leaf in leaves) == sum(map(math.prod, shapes.values()))
    assert output.shape == (2, 512) and output.dtype == jnp.float32


@pytest.mark.slow
def test_bfloat16_compute_keeps_float32_weights_and_a_like_embedding():
    module, low = (arcface.ArcFace(depths=(1,) * 4, dtype=d) for d in (jnp.float32, jnp.bfloat16))
    expected, variables = jax.jit(module.init_with_output)(jax.random.key(0), golden.faces())
    found = jax.jit(low.apply)(variables, golden.faces())
    assert found.dtype == jnp.float32
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_other_image_sizes_and_networks_are_refused():
    module = arcface.ArcFace(**arcface.SIZES["r18"])
    with pytest.raises(ValueError, match="96 x 112 px, expected 112 a side"):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 96, 112, 3)))
    with pytest.raises(WeightFileError, match="has no key 'layer1.0.prelu.weight'"):
        arcface.NETWORK.fields(from_arrays({"layer1.0.conv1.weight": np.zeros((2, 2, 3, 3))}))


# --- The input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", range(len(golden.POINTS)))
def test_prepare_images_matches_the_original(case):
    picture = to_float(jnp.asarray(golden.picture()))[None]
    ours = jax.jit(arcface.prepare_images)(picture, golden.POINTS[case][None])
    theirs = originals()[0][f"aligned{case}"].astype(np.float32)
    difference = np.abs((np.asarray(ours[0]) + 1) * 127.5 - theirs)
    # OpenCV rounds positions to 1/32 of a pixel, and colours to whole numbers.
    inside = difference[theirs.max(-1) > 0]
    assert inside.mean() < 0.3 and np.quantile(inside, 0.99) < 0.6 and difference.max() < 5
    outside = (theirs == 0).all(-1).mean()
    assert outside == 0 if case == 0 else 0.2 < outside < 0.3


def test_prepare_images_undoes_rotation_and_scale():
    """A smooth image given by a formula has the same input after its points are moved."""

    def drawn(turn, shift):  # the picture whose place p shows the formula at (p - shift) / turn
        y, x = np.mgrid[:256, :256] + 0.5
        z = ((x + 1j * y) - shift) / turn
        waves = [np.sin(z.real / 30), np.cos(z.imag / 25), np.sin((z.real + z.imag) / 40)]
        return np.stack(waves, -1).astype(np.float32)

    points = np.array([95 + 110j, 160 + 108j, 129 + 148j, 100 + 190j, 158 + 187j])
    found = []
    for turn, shift in ((1.0, 0.0), (0.8 * np.exp(0.2j), 40 - 10j)):
        moved = points * turn + shift
        moved = np.stack([moved.real, moved.imag], -1).astype(np.float32)
        found.append(arcface.prepare_images(drawn(turn, shift)[None], moved[None])[0])
    middle = np.s_[20:, 15:95]  # what lies within both
    np.testing.assert_allclose(found[0][middle], found[1][middle], atol=0.02)


def test_prepare_images_needs_no_points_for_aligned_crops():
    images = jax.random.uniform(jax.random.key(0), (2, 64, 64, 3), minval=-1.0)
    points = np.broadcast_to(arcface.IN_CROP * 64, (2, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(
        arcface.prepare_images(images), arcface.prepare_images(images, points), atol=1e-6
    )
    # The eyes are where aligned crops have them.
    np.testing.assert_allclose(arcface.IN_CROP[:2], TEMPLATE[:2], atol=0.02)


@pytest.mark.parametrize("count", [68, 66, 51, 49])
def test_five_points_match_for_every_set_of_landmarks(count):
    rng = np.random.default_rng(0)
    face = rng.uniform(0, 256, (2, 68, 2))
    kept = {
        68: slice(None),
        66: [i for i in range(68) if i not in (60, 64)],
        51: slice(17, None),
        49: [i for i in range(17, 68) if i not in (60, 64)],
    }
    landmarks = face[:, kept[count]]
    found = arcface.five_points(landmarks)
    np.testing.assert_allclose(found, arcface.five_points(face))
    np.testing.assert_allclose(found[:, 2:], face[:, [30, 48, 54]])
    # The same points as the alignment's, which takes an eye's corners, lie about the same eyes.
    corners = anchor_points(landmarks[0])[:2]
    np.testing.assert_allclose(corners[0], face[0, [36, 39]].mean(0))
    with pytest.raises(ValueError, match=r"\(5, 2\), expected .* 68, 66, 51, 49 points"):
        arcface.five_points(np.zeros((5, 2)))
