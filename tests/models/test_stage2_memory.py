"""Memory table of the full-size preset, from shapes alone."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks import abstract_tasks, stage2_memory
from tests.helpers import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def paper():
    config = tiny.load_config("stage2", "paper")
    return abstract_tasks.stage2_task(config, stage2_memory.PEOPLE)


def test_table_has_a_row_for_each_number_of_devices():
    lines = stage2_memory.table("paper", (1, 8), compiled=False).splitlines()
    assert "2,048 tokens, texts of 2,048" in lines[0]
    one, eight = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[-2:])
    assert one[:2] == ["1", "16"] and eight[:2] == ["8", "2"]
    # An eighth, but for what is too small to be split.
    assert float(one[2]) / 8 <= float(eight[2]) + 0.005 and float(eight[2]) < float(one[2]) / 6


def test_single_device_holds_every_byte(paper):
    state = jax.eval_shape(
        paper.init, jax.random.key(0), stage2_memory.longest_batch(paper.config, 1)
    )
    blocks = state.params["maskgit"]["blocks"]
    assert blocks["self_attention"]["qkv"]["kernel"].shape == (12, 512, 3 * 512)
    references = paper.load_frozen()["references"]
    assert references["codes"].shape == (stage2_memory.PEOPLE, 256, 8)
    assert references["structure"].dtype == jnp.bfloat16  # as the layers that read it
    rules = paper.config.mesh.rules
    whole = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert stage2_memory.on_a_device(state, 1, rules) == whole
    # Parameters, two moments, an average.
    assert whole == pytest.approx(
        4 * sum(leaf.size * 4 for leaf in jax.tree.leaves(state.params)), rel=1e-3
    )
    assert stage2_memory.on_a_device(state, 8, rules) < whole / 6
