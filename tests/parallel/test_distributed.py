"""Two real processes train as one: their files, and the end of a process whose peer is lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from auface_jax.parallel import distributed
from auface_jax.runs import checkpoints
from auface_jax.training import loop
from auface_jax.training.log import read_lines
from tests.helpers import fake_task, tiny
from tests.helpers.evaluation_runs import write_runs

ROOT = Path(__file__).resolve().parents[2]

# One of the processes dies in step 5; the checkpoint of step 2 is complete then, that of 4 may be.
PROGRAM = """
import os, pathlib, signal, sys
sys.modules["clu"] = None  # TensorFlow takes seconds to import, and no event is looked at
from auface_jax.parallel import distributed
from auface_jax.training import log, loop
from tests.helpers import fake_task

distributed.join()
report = log.Progress.report

def report_or_die(self, step, values):
    if (step, os.environ["JAX_PROCESS_ID"]) == (5, sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return report(self, step, values)

log.Progress.report = report_or_die
workdir = pathlib.Path(sys.argv[1])
with fake_task.registered(), distributed.together():
    loop.train(fake_task.config(), workdir)
"""


# Each process prints the error for a mesh on which the two would share examples, then runs Stage II
# with cached features of the references; the step itself is tested elsewhere.
STAGE2 = """
import pathlib, sys
import jax
from auface_jax.parallel import distributed, sharding
from auface_jax.training import loop
from auface_jax.training.tasks import maskgit
from auface_jax.training.tasks.base import Evaluation
from auface_jax.training.tasks.maskgit import MaskGITTask
from tests.helpers import tiny

distributed.join()
data, runs, workdir = sys.argv[1:]
config = tiny.stage2_config(data=data)
try:
    config.mesh.tensor = 2
    sharding.check_readers(sharding.make_mesh(config.mesh), config.mesh.rules)
except ValueError as error:
    print(error, flush=True)
config.mesh.tensor = 1
config.num_steps, config.cache_references = 2, True
config.augment.update({"shift": 0, "tint": 0.0})
config.requires.stage1.run = runs + "/stage1"

def step(self, state, frozen, batch, rng):
    kept = frozen["references"]["codes"][batch["reference_row"]].sum()
    metrics = {name: kept * 1.0 for name in ("loss", "loss_level0", "grad_norm")}
    return state.replace(step=state.step + 1), metrics

def of_this_process(*arguments, **options):
    found = map_batches(*arguments, **options)
    return found | {"codes": found["codes"] + jax.process_index()}

map_batches, maskgit.map_batches = maskgit.map_batches, of_this_process
MaskGITTask.step = step
MaskGITTask.evaluate = lambda *_: Evaluation({}, {}, {})
with distributed.together():
    loop.train(config, pathlib.Path(workdir))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(tiny.build_data(tmp_path_factory.mktemp("distributed") / "data"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Trains a run in one process with two devices."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    with fake_task.registered():
        loop.train(fake_task.config(), workdir)
    return workdir


def run_two(*arguments, program=PROGRAM):
    """Runs a program in two processes with a device each."""
    flags = [f for f in os.environ["XLA_FLAGS"].split() if "device_count" not in f]
    return subprocess.run(
        [ROOT / "launch" / "local.sh", "2", sys.executable, "-c", program, *arguments],
        env=tiny.command_environment() | {"XLA_FLAGS": " ".join(flags), "GRACE": "200"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """Trains a run of two processes that loses the second one."""
    workdir = tmp_path_factory.mktemp("runs") / "two"
    return workdir, run_two(workdir, "1")


def assert_same_figures(workdir, whole):
    """Checks that every step is logged once, with the figures of the other run."""
    ours, theirs = (read_lines(folder / "metrics.jsonl") for folder in (workdir, whole))
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for line, wanted in zip(ours, theirs, strict=True):
        assert line.keys() == wanted.keys()
        for name in wanted.keys() - {"seconds_per_step"}:
            assert line[name] == pytest.approx(wanted[name], rel=1e-5, abs=1e-6), name
    weights, wanted = (checkpoints.load_export(folder) for folder in (workdir, whole))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), weights, wanted
    )


def test_lost_process_ends_the_others_with_a_message(halved):
    workdir, done = halved
    # Whichever end is noticed first is told: the killed process's, or that of the one it left.
    first, status = (1, 128 + 9) if done.returncode == 128 + 9 else (0, 1)
    assert done.returncode == status, done.stderr[-3000:]
    assert f"process {first} of 2 ended with status {status}" in done.stderr
    assert "killing what is left" not in done.stderr  # process 0 ended by itself
    assert "process 0: another process of this run was lost" in done.stderr
    assert "the run goes on from its last checkpoint" in done.stderr
    assert not checkpoints.has_export(workdir)


def test_checkpoints_are_written_together(halved):
    workdir, _ = halved
    places = (workdir / "checkpoints" / "2" / "data").glob("process_*")
    assert sorted(path.name for path in places) == ["process_0-of-2.json", "process_1-of-2.json"]


def test_one_process_resumes_a_run_of_two(halved, whole, tmp_path):
    workdir = tmp_path / "one"
    shutil.copytree(halved[0], workdir)
    with fake_task.registered():
        loop.train(fake_task.config(), workdir)
    assert_same_figures(workdir, whole)


@pytest.mark.slow
def test_two_processes_resume_and_the_first_writes(halved, whole):
    workdir, _ = halved
    done = run_two(workdir, "nobody")
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same_figures(workdir, whole)
    said = [line for line in done.stdout.splitlines() if "[Gloo]" not in line]
    assert {"resumed at step 2", "resumed at step 4"} & set(said)
    assert not any(line.startswith("[1]") for line in said)
    pictures = sorted(path.name for path in (workdir / "samples").iterdir())
    assert pictures == ["step_000004.png", "step_000006.png", "step_000006_other.png"]


@pytest.mark.slow
def test_stage_two_caches_reference_features_and_shares_no_examples(data, tmp_path):
    write_runs(tmp_path / "runs", data, ("stage1",))
    done = run_two(data, tmp_path / "runs", tmp_path / "run", program=STAGE2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "mesh.tensor=2: devices of several processes would share examples" in done.stdout
    # Both count the tokens of the examples that they read, and the sums are over the global batch.
    assert all(line["loss"] > 0 for line in read_lines(tmp_path / "run" / "metrics.jsonl")[:2])
    assert checkpoints.has_export(tmp_path / "run")


# --- Who belongs to a run ------------------------------------------------------------------------


@pytest.fixture
def joined(monkeypatch):
    """Records the calls of `jax.distributed.initialize` in an environment without a cluster."""
    for name in list(os.environ):
        if name.startswith(("JAX_COORD", "JAX_NUM", "JAX_PROCESS", "SLURM", "OMPI", "TPU_")):
            monkeypatch.delenv(name)
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a, **k: calls.append(a))
    return calls


def test_single_process_does_not_initialise_distributed_jax(joined, monkeypatch):
    distributed.join()
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node1")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    distributed.join()
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost")
    distributed.join()
    distributed.join("here:1", 1, 0)
    assert joined == []


def test_flags_take_precedence_over_the_environment(joined, monkeypatch):
    for name, value in {
        "JAX_COORDINATOR_ADDRESS": "there:5",
        "JAX_NUM_PROCESSES": "4",
        "JAX_PROCESS_ID": "3",
    }.items():
        monkeypatch.setenv(name, value)
    distributed.join()
    distributed.join("here:6", process_id=0)
    assert joined == [("there:5", 4, 3), ("here:6", 4, 0)]


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "2"},
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:3"},
        {"TPU_WORKER_HOSTNAMES": "one,two"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_launcher_is_detected(joined, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    distributed.join()
    assert joined == [()]  # JAX finds the rest


def test_open_mpi_5_needs_only_an_address(joined, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    with pytest.raises(ValueError, match="--coordinator_address HOST:PORT"):
        distributed.join()
    distributed.join("here:6")
    assert joined == [("here:6", 2, 1)]


def test_incomplete_description_of_the_processes_is_refused(joined, monkeypatch):
    with pytest.raises(ValueError, match="needs --coordinator_address .*, --process_id or JAX_PRO"):
        distributed.join(num_processes=2)
    with pytest.raises(ValueError, match="process 2 of 2: expected 0 to 1"):
        distributed.join("here:6", 2, 2)
    with pytest.raises(ValueError, match="'here': expected HOST:PORT"):
        distributed.join("here", 2, 0)
    monkeypatch.setenv("JAX_PROCESS_ID", "first")
    with pytest.raises(ValueError, match="JAX_PROCESS_ID='first' is not a whole number"):
        distributed.join("here:6", 2)
    assert joined == []
