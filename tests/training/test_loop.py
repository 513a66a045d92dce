"""The training loop on a task with three parameters: stopping, killing, resuming, rejecting."""

import functools
import os
import re
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from auface_jax.runs import checkpoints
from auface_jax.training import log, loop
from auface_jax.training.log import read_lines
from auface_jax.training.preemption import Interrupted
from tests.helpers import fake_task, tiny

# The step at which a run of six steps is stopped; checkpoints are due at 2, 4 and 6.
STOPPED_AT = 3


@pytest.fixture(autouse=True, scope="module")
def registered():
    with fake_task.registered():
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without interruption, and its figures."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, loop.train(fake_task.config(), workdir)


def stop_when_reported(monkeypatch, step):
    """Sends this process a SIGTERM once it has reported `step`."""
    report = log.Progress.report

    def report_and_stop(self, at, values):
        speed = report(self, at, values)
        if at == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return speed

    monkeypatch.setattr(log.Progress, "report", report_and_stop)


def reports(workdir):
    """Returns the reports of a run without their speed."""
    lines = read_lines(workdir / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k != "seconds_per_step"} for line in lines]


def assert_same_run(workdir, other):
    """Asserts that two runs have the same reports and bitwise equal weights."""
    assert reports(workdir) == reports(other)
    ours, theirs = checkpoints.load_export(workdir), checkpoints.load_export(other)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_run_folder_holds_reports_sheets_checkpoints_and_export(whole):
    workdir, figures = whole
    lines = reports(workdir)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 6]
    assert all("loss" in line and "update_ratio" in line for line in lines[:-1])
    assert {k: v for k, v in lines[-1].items() if k != "step"} == figures
    assert figures["eval/examples"] == 6
    assert checkpoints.has_export(workdir)
    assert (workdir / "config.json").exists()
    names = sorted(path.name for path in (workdir / "samples").iterdir())
    assert names == ["step_000004.png", "step_000006.png", "step_000006_other.png"]
    steps = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    assert steps == ["4", "6"]  # keep_checkpoints is 2


def test_finished_run_is_left_alone_and_shows_its_figures(whole):
    workdir, figures = whole
    before = reports(workdir)
    assert loop.train(fake_task.config(), workdir) == pytest.approx(figures)
    assert reports(workdir) == before


def test_stopped_run_resumes_bit_for_bit(whole, tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched:
        stop_when_reported(patched, STOPPED_AT)
        with pytest.raises(Interrupted, match=r"stopped at step \d and saved; the same"):
            loop.train(fake_task.config(), tmp_path)
    last = reports(tmp_path)[-1]["step"]
    assert last in (STOPPED_AT, STOPPED_AT + 1) and not checkpoints.has_export(tmp_path)
    assert (tmp_path / "checkpoints" / str(last)).is_dir()
    assert signal.getsignal(signal.SIGTERM) == handler
    loop.train(fake_task.config(), tmp_path)
    assert_same_run(tmp_path, whole[0])


KILLED_RUN = """
import os, pathlib, signal, sys
sys.modules["clu"] = None  # TensorFlow takes seconds to import, and no event is looked at
from auface_jax.training import log, loop
from tests.helpers import fake_task

report = log.Progress.report

def report_and_die(self, step, values):
    if step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return report(self, step, values)

log.Progress.report = report_and_die
with fake_task.registered():
    loop.train(fake_task.config(), pathlib.Path(sys.argv[1]))
"""


def test_killed_run_resumes_bit_for_bit(whole, tmp_path):
    command = [sys.executable, "-c", KILLED_RUN, str(tmp_path)]
    killed = subprocess.run(command, env=tiny.command_environment(), capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert reports(tmp_path)[-1]["step"] == 4
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 0.')  # a torn line, which a kill may leave
    loop.train(fake_task.config(), tmp_path)
    assert_same_run(tmp_path, whole[0])


def test_run_goes_back_to_a_checkpoint_and_ends_the_same(whole, tmp_path):
    with tiny.killed_at(5):
        loop.train(fake_task.config(keep_checkpoints=3), tmp_path)
    loop.train(fake_task.config(keep_checkpoints=3), tmp_path, resume_from=2)
    assert_same_run(tmp_path, whole[0])


def test_guarded_run_that_skips_nothing_is_the_unguarded_run(whole, tmp_path):
    config = fake_task.config()
    config.guard.action = "skip"
    loop.train(config, tmp_path)
    ours, theirs = checkpoints.load_export(tmp_path), checkpoints.load_export(whole[0])
    # The guarded step is another program, whose sums XLA may fuse in another way.
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), ours, theirs)
    assert all(line["skipped_steps"] == 0 for line in reports(tmp_path)[:-1])


def test_run_of_another_config_is_refused_with_every_difference(whole):
    config = fake_task.config(seed=5)
    config.optimizer.learning_rate = 0.25
    config.mesh.fsdp = 2  # a run may resume on another mesh
    config.guard.action, config.eval_images = "skip", 3  # and with another guard
    with pytest.raises(checkpoints.CheckpointError) as refused:
        loop.train(config, whole[0])
    message = str(refused.value)
    assert "  seed: 0 there, 5 now\n" in message
    assert "  optimizer.learning_rate: 0.1 there, 0.25 now\n" in message
    assert message.count(" there, ") == 2 and "another --workdir" in message


def test_finished_run_resumes_from_no_checkpoint(whole):
    with pytest.raises(checkpoints.CheckpointError, match="is finished; remove .*export to go bac"):
        loop.train(fake_task.config(), whole[0], resume_from=2)


def test_loss_that_is_not_finite_names_its_step_and_parts(tmp_path):
    config = fake_task.config()
    config.optimizer.learning_rate = 1e38
    # The bad step is neither reported nor saved, and is still found one step later.
    config.update({"log_every": 100, "checkpoint_every": 100})
    with pytest.raises(FloatingPointError, match=r"is (nan|inf) at step \d \(.*loss=") as bad:
        loop.train(config, tmp_path)
    assert "grad_norm=" in str(bad.value) and "learning_rate" in str(bad.value)
    assert not (tmp_path / "checkpoints" / "2").exists()


def run_command(config, *arguments, cwd=tiny.CONFIGS):
    """Runs `auface_jax.train` in a process of its own."""
    command = [sys.executable, "-m", "auface_jax.train", "--config", str(config), *arguments]
    environment = tiny.command_environment()
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=cwd)


def test_misspelt_option_names_the_nearest(tmp_path):
    spelt = "--config.optimizer.learning_rat=0.1"
    done = run_command(tiny.CONFIGS / "stage1.py:quickstart", spelt, f"--workdir={tmp_path / 'r'}")
    assert done.returncode != 0
    assert "learning_rat" in done.stderr and re.search(r"learning_rate\b", done.stderr)
    assert not (tmp_path / "r").exists()


def test_invalid_config_is_rejected_before_data_are_built(tmp_path):
    """The installed page is found from a folder without configs, too."""
    workdir, data = f"--workdir={tmp_path / 'run'}", f"--config.data.dir={tmp_path / 'data'}"
    done = run_command("stage2.py:quickstart", workdir, data, "--config.batch_size=0", cwd=tmp_path)
    assert done.returncode == 1 and "batch_size=0: expected 1 or more" in done.stderr
    assert not list(tmp_path.iterdir())
