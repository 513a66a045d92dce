"""Laws of the ICT face: its files, and data sets made of it. `test_muscles` tests its muscles."""

import json

import numpy as np
import pytest

from auface_jax.data.build.builder import build
from auface_jax.data.shards import ShardReader
from auface_jax.faces import muscles, registry, sampler
from auface_jax.faces.mesh import ict_files
from auface_jax.faces.mesh.face_model import HAIR, SKIN
from auface_jax.faces.mesh.lashes import lashes
from auface_jax.faces.person import Scene
from auface_jax.faces.render import render
from benchmarks.visibility import visibility
from tests.helpers.face_models import FACEKIT, needs_facekit, units


@pytest.fixture(scope="module")
def model():
    return registry.load_model("ict", FACEKIT)


@pytest.fixture(scope="module")
def people(model):
    return [sampler.sample_person(np.random.default_rng([9, k, 0]), model) for k in range(5)]


@pytest.fixture(scope="module")
def mean_face(model):
    return muscles.rest_lids(model, model.neutral(np.zeros(len(model.identity))))


# ---------------------------------------------------------------- reading


@pytest.fixture
def small_kit(tmp_path, monkeypatch):
    """A clone in the repository's layout, of four vertices and two identity modes."""
    monkeypatch.setattr(ict_files, "VERTICES", 4)
    monkeypatch.setattr(ict_files, "IDENTITIES", 2)
    folder = tmp_path / "clone" / "FaceXModel"
    folder.mkdir(parents=True)
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)

    def write(name, moved):
        lines = ["# head", "mtllib x.mtl", *("v {} {} {}".format(*p) for p in points + moved)]
        lines += ["vt 0 0", "usemtl skin", "f 1/1 2/1 3/1 4/1"]
        (folder / f"{name}.obj").write_text("\n".join(lines) + "\n")

    write("generic_neutral_mesh", 0.0)
    write("identity000", 0.5)
    write("identity001", 1.0)
    write("browDown_L", 0.25)
    marks = {"idx_to_landmark_verts": [0] * 68}
    (folder / "vertex_indices.json").write_text(json.dumps(marks))
    return folder


def test_clone_is_read_once_and_again_after_a_change(small_kit, tmp_path):
    cache = tmp_path / "cache"
    kit = ict_files.read_facekit(small_kit.parent, cache)
    np.testing.assert_array_equal(kit.triangles, [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(kit.identity[1], np.ones((4, 3)))
    np.testing.assert_array_equal(kit.expressions["browDown_L"], np.full((4, 3), 0.25))
    (kept,) = cache.iterdir()
    same = [ict_files.read_facekit(p, cache) for p in (small_kit, kept, small_kit.parent)]
    assert {k.fingerprint() for k in same} == {kit.fingerprint()} and len(
        list(cache.iterdir())
    ) == 1
    # A changed clone is read again.
    file = small_kit / "identity001.obj"
    file.write_text(file.read_text().replace("v 2.0", "v 2.5"))
    assert ict_files.read_facekit(small_kit, cache).fingerprint() != kit.fingerprint()


def test_wrong_path_is_rejected_with_the_cure(small_kit, tmp_path):
    for path, message in (
        (tmp_path / "nowhere", "does not exist; give the folder of a clone"),
        (tmp_path, "has no FaceXModel/generic_neutral_mesh.obj"),
    ):
        with pytest.raises(ict_files.FacekitError, match=message):
            ict_files.read_facekit(path, tmp_path / "cache")
        with pytest.raises(ValueError, match=message):
            build(tmp_path / "set", source="ict", size=16, people=3, frames=3, facekit=str(path))
    np.savez(tmp_path / "other.npz", neutral=np.zeros((4, 3)))
    with pytest.raises(ict_files.FacekitError, match="has no array tri, ident"):
        ict_files.read_facekit(tmp_path / "other.npz")
    (small_kit / "identity001.obj").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ict_files.FacekitError, match="identity001.obj has 0 vertices"):
        ict_files.read_facekit(small_kit, tmp_path / "cache")
    (small_kit / "identity001.obj").unlink()
    with pytest.raises(ict_files.FacekitError, match="lacks 1 files, first identity001.obj"):
        ict_files.read_facekit(small_kit, tmp_path / "cache")


def test_registry_loads_models_by_name():
    assert registry.load_model().name == "builtin"
    with pytest.raises(ValueError, match="'flame', expected one of builtin, ict"):
        registry.load_model("flame")
    with pytest.raises(ValueError, match="ict needs --facekit"):
        registry.load_model("ict")
    with pytest.raises(ValueError, match="builtin has no option --facekit"):
        registry.load_model("builtin", "somewhere")


# ---------------------------------------------------------------- pictures and data sets


@pytest.mark.slow
@needs_facekit
def test_every_unit_is_visible_on_smooth_skin(model):
    full, smooth, half, smooth_half = visibility(model, people=4, size=128).T
    assert (full > 0.01).all()
    assert (half < full).all()
    assert (smooth > 0.5 * full).all() and (smooth_half > 0.5 * half).all()


@needs_facekit
def test_lashes_stand_on_the_upper_lids(model, mean_face):
    roots = lashes(model).grown(mean_face).reshape(3, -1, 3)[:2].mean(0)
    for edge in ("left_upper_lid", "right_upper_lid"):
        for point in mean_face[model.regions[edge]]:
            assert np.linalg.norm(roots - point, axis=1).min() < 0.1
    for lower in mean_face[model.regions["left_lower_lid"]]:
        assert np.linalg.norm(roots - lower, axis=1).min() > 0.5


@needs_facekit
def test_absent_hair_lies_inside_the_skull(model):
    hair = np.unique(model.triangles[model.materials == HAIR])
    skin = model.vertices[np.unique(model.triangles[model.materials == SKIN])]
    bald = (model.vertices + model.hair[0])[hair]
    assert (bald.max(0) < skin.max(0)).all() and (bald.min(0) > skin.min(0)).all()


@pytest.mark.slow
@needs_facekit
def test_data_set_is_reproducible_and_its_labels_exact(tmp_path):
    options = {"source": "ict", "facekit": str(FACEKIT), "frames": 4, "size": 24, "seed": 5}
    info = build(tmp_path / "set", people=3, processes=1, progress=False, **options)
    again = build(tmp_path / "again", people=3, processes=2, progress=False, **options)
    assert info == again
    assert str(FACEKIT) not in json.dumps(info), "a set does not depend on where the kit was"
    for split in ("train", "val", "test"):
        for record in ShardReader(tmp_path / "set", split):
            assert record.exact and record.source == "ict" and record.landmarks.shape == (68, 2)
            np.testing.assert_array_equal(record.labels, record.intensities >= 0.3)


@needs_facekit
def test_landmarks_lie_in_anatomical_order(model, people):
    for person in people:
        image, marks = render.render(model, person, units(), Scene(), 64)
        assert image.shape == (64, 64, 3) and (marks > 0).all() and (marks < 64).all()
        right_eye, left_eye = marks[36:42].mean(0), marks[42:48].mean(0)
        mouth, chin = marks[48:60].mean(0), marks[8]
        assert right_eye[0] < left_eye[0] and right_eye[1] < mouth[1] < chin[1]
        assert abs(right_eye[1] - left_eye[1]) < 2
