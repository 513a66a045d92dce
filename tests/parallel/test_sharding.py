"""Sharding rules, and Stage I's first step on two devices compared with one."""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest
from auface_jax.configs import common
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.parallel import sharding
from auface_jax.training.tasks import vqgan as vqgan_task
from auface_jax.training.tasks.registry import make_task
from tests.helpers import tiny

ROWS = 4


def mesh_of(data=1, fsdp=1, tensor=1):
    shape = (data, fsdp, tensor)
    devices = np.array(jax.devices()[: data * fsdp * tensor]).reshape(shape)
    return Mesh(devices, sharding.AXES, axis_types=(AxisType.Auto,) * len(shape))


def abstract(**shapes):
    return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}


# --- The rules -----------------------------------------------------------------------------------


def test_mesh_takes_all_devices():
    assert jax.device_count() == 2, "tests/conftest.py simulates two devices"
    for fsdp, tensor in ((1, 1), (2, 1), (1, 2)):
        mesh = sharding.make_mesh(ml_collections.ConfigDict({"fsdp": fsdp, "tensor": tensor}))
        assert dict(mesh.shape) == {"data": 2 // (fsdp * tensor), "fsdp": fsdp, "tensor": tensor}


@pytest.mark.parametrize(("fsdp", "tensor"), [(0, 1), (-1, -2), (3, 1), (4, 1), (2, 2)])
def test_mesh_that_does_not_divide_the_devices_is_refused(fsdp, tensor):
    config = ml_collections.ConfigDict({"fsdp": fsdp, "tensor": tensor})
    told = f"mesh.fsdp={fsdp} times mesh.tensor={tensor} does not divide the 2 devices"
    with pytest.raises(ValueError, match=told):
        sharding.make_mesh(config)


def test_batch_size_that_does_not_divide_over_the_devices_is_refused():
    sharding.check_batch_size(6, mesh_of(2))
    with pytest.raises(ValueError, match="batch_size=5 does not divide over 2 devices"):
        sharding.check_batch_size(5, mesh_of(1, 2))
    sharding.check_batch_size(5, mesh_of(1, 1, 2), {"batch": ("data", "fsdp")})


def specs(leaves, mesh, rules):
    shardings = sharding.state_shardings(leaves, mesh, rules)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.spec
        for path, leaf in jax.tree.leaves_with_path(shardings)
    }


def test_large_parameters_are_split_along_their_largest_divisible_dimension():
    leaves = abstract(
        small=(255, 256), wide=(64, 2048), tall=(4096, 33), odd=(70_001, 2), stuck=(301, 301)
    )
    rules = common.MESH_RULES["convolutions"]
    assert specs(leaves, mesh_of(1, 2), rules) == {
        "small": P(),
        "wide": P(None, "fsdp"),
        "tall": P("fsdp", None),
        "odd": P(None, "fsdp"),
        "stuck": P(),
    }
    assert set(specs(leaves, mesh_of(2, 1), rules).values()) == {P()}


def test_parameters_of_transformers_are_split_by_name_and_moments_with_them():
    block = {
        "self_attention": {"qkv": abstract(kernel=(256, 768)), "out": abstract(kernel=(256, 256))},
        "mlp": {"in": abstract(kernel=(256, 2048)), "out": abstract(kernel=(1024, 256))},
    }
    params = {"blocks_0": block, "position": jax.ShapeDtypeStruct((1024, 256), jnp.float32)}
    params |= abstract(head=(3, 512, 256), code_embedding=(3, 511, 256))
    leaves = {"params": params, "opt_state": optax.adamw(1e-3).init(params)}
    mesh = jax.sharding.AbstractMesh((2, 2, 2), sharding.AXES)
    found = specs(leaves, mesh, common.MESH_RULES["transformer"])
    wanted = {
        "blocks_0/self_attention/qkv/kernel": P("fsdp", "tensor"),
        "blocks_0/self_attention/out/kernel": P("tensor", "fsdp"),
        "blocks_0/mlp/in/kernel": P("fsdp", "tensor"),
        "blocks_0/mlp/out/kernel": P("tensor", "fsdp"),
        "position": P(("fsdp", "tensor"), None),
        "head": P(None, "tensor", "fsdp"),
        "code_embedding": P(None, None, "fsdp"),  # 511 codes cannot be shared by two
    }
    for name, spec in wanted.items():
        for place in ("params", "opt_state/0/mu", "opt_state/0/nu"):
            assert found.pop(f"{place}/{name}") == spec
    assert set(found.values()) == {P()}


@pytest.mark.parametrize(("data", "fsdp"), [(2, 1), (1, 2)])
def test_batches_are_split_over_all_devices(data, fsdp):
    mesh = mesh_of(data, fsdp)
    rows = np.arange(12).reshape(4, 3)
    placed = sharding.put_batch({"x": rows}, mesh)["x"]
    assert placed.sharding == sharding.batch_sharding(mesh)
    np.testing.assert_array_equal(placed, rows)
    shards = sorted(placed.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    assert [shard.data.shape for shard in shards] == [(2, 3), (2, 3)]
    np.testing.assert_array_equal(shards[1].data, rows[2:])


# --- Two devices against one ---------------------------------------------------------------------


def keep_gradients(*_):
    """Makes an optimizer that changes nothing and keeps the gradient in its state."""
    return optax.chain(optax.trace(0.0), optax.scale(0.0))


def stage1_task():
    config = tiny.stage1_config()
    config.gan.update({"weight": 0.5, "start_step": 0})
    return make_task(config, 10)


def first_step(task, mesh, batch):
    """Returns the state after `init` on `mesh`, the state after one step, and its metrics."""
    rules = task.config.mesh.rules
    with sharding.mesh_context(mesh, rules):
        key = jax.random.key(3)
        shapes = jax.eval_shape(task.init, key, batch)
        shardings = sharding.state_shardings(shapes, mesh, rules)
        frozen = task.load_frozen()
        frozen_shardings = sharding.state_shardings(jax.eval_shape(lambda: frozen), mesh, rules)
        state = jax.jit(task.init, out_shardings=shardings)(key, batch)
        jax.tree.map(assert_placed, state, shardings)
        step = jax.jit(
            task.step,
            in_shardings=(shardings, frozen_shardings, sharding.batch_sharding(mesh, rules), None),
            out_shardings=(shardings, sharding.replicated(mesh)),
        )
        frozen = jax.device_put(frozen, frozen_shardings)
        after, metrics = step(state, frozen, sharding.put_batch(batch, mesh, rules), key)
        jax.tree.map(assert_placed, after, shardings)
    return jax.device_get(state), jax.device_get(after), jax.device_get(metrics)


def assert_placed(leaf: jax.Array, wanted: NamedSharding):
    assert leaf.sharding.is_equivalent_to(wanted, leaf.ndim)
    if "fsdp" in wanted.spec and wanted.mesh.shape["fsdp"] == 2:
        assert {shard.data.size for shard in leaf.addressable_shards} == {leaf.size // 2}


def assert_close(found, wanted):
    """Compares leaves to 1e-5 of their norms; leaves of mere rounding to 1e-6 of the tree's."""
    total = float(optax.tree.norm(wanted))
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        error, size = np.linalg.norm(a - b), np.linalg.norm(b)
        assert error <= 1e-5 * size + 1e-6 * total, f"{jax.tree_util.keystr(path)}: {error} {size}"


@pytest.mark.slow
def test_first_step_of_stage_one_is_the_same_on_every_mesh(monkeypatch):
    """The steps of the other tasks are compared in `test_mesh.py`."""
    monkeypatch.setattr(vqgan_task, "optimizer", keep_gradients)
    monkeypatch.setattr(sharding, "MIN_SHARDED_SIZE", 64)
    task = stage1_task()
    batch = tiny.records(ROWS, vocab_size=load_tokenizer("").vocab_size)
    run = functools.partial(first_step, task, batch=batch)

    state, after, metrics = run(mesh_of())
    gradients = after.opt_state
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["grad_norm"] > 1e-3
    shapes = jax.eval_shape(task.init, jax.random.key(3), batch)
    split = [
        leaf.spec != P()
        for leaf in jax.tree.leaves(
            sharding.state_shardings(shapes, mesh_of(1, 2), task.config.mesh.rules)
        )
    ]
    assert sum(split) > len(split) / 4  # the split that is compared is a real one

    for mesh in (mesh_of(2, 1), mesh_of(1, 2)):
        other_state, other_after, other_metrics = run(mesh)
        assert_close(other_state, state)
        for name, value in metrics.items():
            assert other_metrics[name] == pytest.approx(float(value), rel=1e-5, abs=1e-7), name
        assert_close(other_after.opt_state, gradients)
        assert_close(other_after.variables, after.variables)
