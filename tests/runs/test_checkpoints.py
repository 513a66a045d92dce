"""Checkpoints and exports: saving, restoring, and rejecting those of other runs."""

import json
import resource

import grain
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from auface_jax.configs import common

from auface_jax.parallel import sharding
from auface_jax.runs import checkpoints
from auface_jax.runs.checkpoints import CheckpointError, Checkpoints

META = {"batch_size": 4, "text_tokenizer": "abc"}


def new_iterator():
    data = grain.MapDataset.range(50).seed(3).shuffle().repeat().batch(4)
    return iter(data.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)))


def new_state(seed=0):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(6, 4)).astype(np.float32)
    return {
        "step": jnp.int32(7),
        "params": {"kernel": jnp.asarray(kernel), "half": jnp.asarray(kernel, jnp.bfloat16)},
        "subnormal": jnp.float32([1e-40, -0.0, 3.4e38]),
        "empty": {},
    }


def placed(fsdp=1):
    mesh = sharding.make_mesh(ml_collections.ConfigDict({"fsdp": fsdp, "tensor": 1}))
    abstract = jax.eval_shape(new_state)
    return abstract, sharding.state_shardings(abstract, mesh, common.MESH_RULES["transformer"])


def assert_same_bits(tree, other):
    def same(a, b):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()

    jax.tree.map(same, tree, other)


@pytest.fixture
def saved(tmp_path):
    """A run saved at step 2 after five batches, and the batches that follow."""
    saver, iterator = Checkpoints(tmp_path, keep=2), new_iterator()
    for _ in range(5):
        next(iterator)
    saver.save(2, new_state(), iterator, META)
    saver.close()
    return tmp_path, [next(iterator).tolist() for _ in range(20)]


def test_restore_returns_state_and_data_bit_for_bit(saved):
    workdir, later_batches = saved
    saver, iterator = Checkpoints(workdir, keep=2), new_iterator()
    assert saver.latest_step == 2
    state = saver.restore(2, *placed(), iterator, META)
    saver.close()
    assert_same_bits(state, new_state())
    assert [next(iterator).tolist() for _ in range(20)] == later_batches


def test_restore_works_on_another_mesh(saved, monkeypatch):
    monkeypatch.setattr(sharding, "MIN_SHARDED_SIZE", 8)
    saver = Checkpoints(saved[0], keep=2)
    abstract, shardings = placed(fsdp=2)
    state = saver.restore(2, abstract, shardings, new_iterator(), META)
    saver.close()
    assert_same_bits(state, new_state())
    kernel = state["params"]["kernel"]
    assert kernel.sharding == shardings["params"]["kernel"]
    assert {shard.data.shape for shard in kernel.addressable_shards} == {(3, 4)}


def test_save_keeps_the_latest_steps_and_writes_none_twice(tmp_path):
    saver, iterator = Checkpoints(tmp_path, keep=2), new_iterator()
    assert saver.latest_step is None
    for step in (1, 2, 3):
        saver.save(step, new_state(step), iterator, META)
    saver.save(3, new_state(99), iterator, META)
    saver.close()
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["2", "3"]
    saver = Checkpoints(tmp_path, keep=2)
    assert_same_bits(saver.restore(3, *placed(), new_iterator(), META), new_state(3))
    saver.close()


def test_checkpoints_at_multiples_of_keep_every_are_never_deleted(tmp_path):
    saver, iterator = Checkpoints(tmp_path, keep=1, keep_every=4), new_iterator()
    for step in range(2, 12, 2):
        saver.save(step, new_state(step), iterator, META)
    saver.close()
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [4, 8, 10]


def test_leftovers_of_a_killed_save_are_removed(saved):
    left = saved[0] / "checkpoints" / "4.orbax-checkpoint-tmp"
    (left / "state").mkdir(parents=True)
    saver = Checkpoints(saved[0], keep=2)
    assert saver.latest_step == 2
    saver.save(6, new_state(), new_iterator(), META)
    saver.close()
    assert sorted(path.name for path in left.parent.iterdir()) == ["2", "6"]


@pytest.fixture
def two_saved(saved):
    """The run of `saved` with another checkpoint at step 4."""
    workdir, batches = saved
    saver = Checkpoints(workdir, keep=2)
    saver.save(4, new_state(4), new_iterator(), META)
    saver.close()
    return workdir, batches


def test_go_back_to_sets_later_checkpoints_aside(two_saved):
    workdir, batches = two_saved
    for _ in range(2):
        saver, iterator = Checkpoints(workdir, keep=2), new_iterator()
        saver.go_back_to(2)
        assert saver.latest_step == 2
        assert_same_bits(saver.restore(2, *placed(), iterator, META), new_state())
        assert next(iterator).tolist() == batches[0]
        saver.save(4, new_state(5), iterator, META)  # training reaches this step again
        saver.close()
    assert sorted(p.name for p in (workdir / "checkpoints-set-aside").iterdir()) == ["4-1", "4-2"]
    saver = Checkpoints(workdir, keep=2)
    with pytest.raises(CheckpointError, match=r"no checkpoint 3 in .*, which has \[2, 4\]"):
        saver.go_back_to(3)
    saver.close()


def test_error_names_the_damaged_checkpoint_and_the_earlier_ones(two_saved):
    workdir, _ = two_saved
    for path in (workdir / "checkpoints" / "4" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    saver = Checkpoints(workdir, keep=2)
    with pytest.raises(CheckpointError, match=r"checkpoint 4 in .* go back to one of \[2\] with"):
        saver.restore(4, *placed(), new_iterator(), META)
    saver.close()


def test_full_disk_loses_no_checkpoint(saved):
    workdir, _ = saved
    state = {"noise": jnp.asarray(np.random.default_rng(0).integers(0, 256, 2**20, np.uint8))}
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    saver = Checkpoints(workdir, keep=2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, hard))  # files end at 256 KiB
    try:
        with pytest.raises(CheckpointError, match=r"MiB left and the complete checkpoints \[2\]"):
            saver.save(4, state, new_iterator(), META)
            saver.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    saver = Checkpoints(workdir, keep=2)
    assert saver.latest_step == 2
    assert_same_bits(saver.restore(2, *placed(), new_iterator(), META), new_state())
    saver.close()


@pytest.mark.parametrize("name", sorted(META))
def test_checkpoint_with_other_meta_is_rejected(saved, name):
    saver = Checkpoints(saved[0], keep=2)
    with pytest.raises(CheckpointError, match=f"{name}={META[name]!r}, this run has 'other'"):
        saver.restore(2, *placed(), new_iterator(), META | {name: "other"})
    saver.close()


def test_checkpoint_of_another_format_is_rejected(saved, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT_VERSION", 99)
    saver = Checkpoints(saved[0], keep=2)
    with pytest.raises(CheckpointError, match="format_version=3, this run has 99"):
        saver.restore(2, *placed(), new_iterator(), META)
    saver.close()


# --- Exports -------------------------------------------------------------------------------------


@pytest.fixture
def exported(tmp_path):
    config = ml_collections.ConfigDict({"task": "vqgan", "model": {"channels": (8, 16)}})
    checkpoints.save_export(tmp_path, {"params": new_state()["params"]}, config, META)
    return tmp_path


def test_load_export_returns_numpy_arrays_bit_for_bit(exported):
    assert checkpoints.has_export(exported)
    weights = checkpoints.load_export(exported)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(weights))
    assert_same_bits(weights, {"params": new_state()["params"]})
    config = checkpoints.load_config(exported)
    assert config.task == "vqgan" and tuple(config.model.channels) == (8, 16)
    assert checkpoints.load_meta(exported).items() >= META.items()


def test_save_export_replaces_the_previous_export(exported):
    config = ml_collections.ConfigDict({"task": "maskgit"})
    checkpoints.save_export(exported, {"params": new_state(5)["params"]}, config, META)
    assert_same_bits(checkpoints.load_export(exported), {"params": new_state(5)["params"]})
    assert checkpoints.load_config(exported).task == "maskgit"


def test_export_of_a_sharded_state_is_complete(tmp_path, monkeypatch):
    monkeypatch.setattr(sharding, "MIN_SHARDED_SIZE", 8)
    state = jax.device_put(new_state(), placed(fsdp=2)[1])
    config = ml_collections.ConfigDict({"task": "vqgan"})
    checkpoints.save_export(tmp_path, {"params": state["params"]}, config, META)
    assert_same_bits(checkpoints.load_export(tmp_path), {"params": new_state()["params"]})


@pytest.mark.parametrize("load", [checkpoints.load_config, checkpoints.load_export])
def test_error_names_a_missing_or_unfinished_run(tmp_path, load):
    with pytest.raises(CheckpointError, match="nowhere does not exist.*train it first"):
        load(tmp_path / "nowhere")
    (tmp_path / "begun").mkdir()
    assert not checkpoints.has_export(tmp_path / "begun")
    with pytest.raises(CheckpointError, match="begun is not finished"):
        load(tmp_path / "begun")


def test_export_of_another_format_is_rejected(exported):
    path = exported / "export" / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 0}))
    with pytest.raises(CheckpointError, match="has format 0, this version reads 3"):
        checkpoints.load_export(exported)


def test_required_run_is_found_by_its_weights(tmp_path, monkeypatch):
    """The working directory may hold another run of the same name."""
    monkeypatch.chdir(tmp_path)

    def finished(folder, value):
        weights = {"kernel": np.full((2, 3), value, np.float32)}
        config = ml_collections.ConfigDict({"task": "vqgan", "requires": {}})
        checkpoints.save_export(folder, weights, config, {})
        return checkpoints.weights_fingerprint(weights)

    def built_on(**meta):
        config = {"task": "maskgit", "requires": {"stage1": {"run": "runs/one"}}}
        checkpoints.save_export(
            tmp_path / "moved" / "two", {"w": np.ones(1)}, ml_collections.ConfigDict(config), meta
        )
        return checkpoints.required_run(tmp_path / "moved" / "two", "stage1")

    with pytest.raises(CheckpointError, match="neither that nor .*moved/one is a finished run"):
        built_on()
    beside = finished(tmp_path / "moved" / "one", 1.0)
    assert built_on() == tmp_path / "moved" / "one"
    here = finished(tmp_path / "runs" / "one", 2.0)
    assert built_on().samefile("runs/one")  # without a fingerprint the path in the config decides
    assert built_on(stage1_weights=here).samefile("runs/one")
    assert built_on(stage1_weights=beside) == tmp_path / "moved" / "one"
    with pytest.raises(CheckpointError, match=f"weights 0000.* runs/one has {here[:12]}, .*moved"):
        built_on(stage1_weights="0" * 64)
