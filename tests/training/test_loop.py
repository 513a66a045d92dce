"""The loop: runs that are stopped, killed, poisoned, misspelt."""

import os
import re
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from auface_jax import train
from auface_jax.runs import checkpoints
from auface_jax.training import log, loop
from auface_jax.training.log import read_lines
from tests.helpers import tiny

# Where a run is stopped, on the way to step 6; checkpoints are due at 2, 4 and 6.
STOPPED_AT = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(tiny.build_data(tmp_path_factory.mktemp("train") / "data"))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A Stage I run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    figures = loop.train(tiny.stage1_config(data=data), workdir)
    return workdir, figures


def stop_when_reported(monkeypatch, step):
    """Sends this process a SIGTERM once it has reported `step`."""
    report = log.Progress.report

    def report_and_stop(self, at, values):
        speed = report(self, at, values)
        if at == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return speed

    monkeypatch.setattr(train.Progress, "report", report_and_stop)


def reports(workdir):
    """Reports without their speed, which is nobody's to promise."""
    lines = read_lines(workdir / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k != "seconds_per_step"} for line in lines]


def assert_same_run(workdir, other):
    assert reports(workdir) == reports(other)
    ours, theirs = checkpoints.load_export(workdir), checkpoints.load_export(other)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_run_leaves_what_it_promises(whole, data):
    workdir, figures = whole
    lines = reports(workdir)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 6]
    assert all("loss" in line and "psnr" in line for line in lines[:-1])
    assert not any("loss/adversarial_weight" in line for line in lines)  # there is no GAN
    assert {k: v for k, v in lines[-1].items() if k != "step"} == figures
    assert figures["eval/bits_per_image"] == 128 and figures["eval/images"] == 6
    assert checkpoints.has_export(workdir)
    assert (workdir / "config.json").exists()
    names = sorted(path.name for path in (workdir / "samples").iterdir())
    last = ("", "_codebooks", "_errors", "_levels")
    assert names == ["step_000004.png", *(f"step_000006{kind}.png" for kind in last)]
    steps = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    assert steps == ["4", "6"]  # keep_checkpoints is 2


def test_a_finished_run_is_left_alone_and_tells_its_figures(whole, data):
    workdir, figures = whole
    before = reports(workdir)
    assert loop.train(tiny.stage1_config(data=data), workdir) == pytest.approx(figures)
    assert reports(workdir) == before


def test_a_stopped_run_goes_on_as_if_nothing_had_been(whole, data, tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched:
        stop_when_reported(patched, STOPPED_AT)
        with pytest.raises(train.Interrupted, match=r"stopped at step \d and saved; the same"):
            loop.train(tiny.stage1_config(data=data), tmp_path)
    last = reports(tmp_path)[-1]["step"]
    assert last in (STOPPED_AT, STOPPED_AT + 1) and not checkpoints.has_export(tmp_path)
    assert (tmp_path / "checkpoints" / str(last)).is_dir()
    assert signal.getsignal(signal.SIGTERM) == handler
    loop.train(tiny.stage1_config(data=data), tmp_path)
    assert_same_run(tmp_path, whole[0])


KILLED_RUN = """
import os, pathlib, signal, sys
from tests.helpers import tiny
from auface_jax import train

report = train.Progress.report

def report_and_die(self, step, values):
    if step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return report(self, step, values)

train.Progress.report = report_and_die
train.train(tiny.stage1_config(data=sys.argv[1]), pathlib.Path(sys.argv[2]))
"""


def test_a_killed_run_goes_on_as_if_nothing_had_been(whole, data, tmp_path):
    command = [sys.executable, "-c", KILLED_RUN, data, str(tmp_path)]
    killed = subprocess.run(command, env=tiny.command_environment(), capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert reports(tmp_path)[-1]["step"] == 4
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 0.')  # torn as a kill may leave it
    loop.train(tiny.stage1_config(data=data), tmp_path)
    assert_same_run(tmp_path, whole[0])


def test_a_run_of_another_config_is_refused_with_every_difference(whole, data):
    config = tiny.stage1_config(data=data)
    config.seed = 5
    config.optimizer.learning_rate = 0.25
    config.mesh.fsdp = 2  # a run may go on elsewhere
    config.guard.action, config.eval_images = "skip", 3  # and otherwise where it went wrong
    with pytest.raises(checkpoints.CheckpointError) as refused:
        loop.train(config, whole[0])
    message = str(refused.value)
    assert "  seed: 0 there, 5 now\n" in message
    assert "  optimizer.learning_rate: 0.0015 there, 0.25 now\n" in message
    assert message.count(" there, ") == 2 and "another --workdir" in message


def test_a_finished_run_goes_back_to_no_checkpoint(whole, data):
    with pytest.raises(checkpoints.CheckpointError, match="is finished; remove .*export to go bac"):
        loop.train(tiny.stage1_config(data=data), whole[0], resume_from=2)


def test_a_loss_that_is_not_finite_names_its_step_and_parts(data, tmp_path):
    config = tiny.au_probe_config(data=data)
    config.optimizer.learning_rate = 1e38
    # Neither reported nor saved: found all the same, one step late.
    config.update({"log_every": 100, "checkpoint_every": 100})
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 2 \(.*loss=nan") as bad:
        loop.train(config, tmp_path)
    assert "grad_norm=" in str(bad.value) and "learning_rate" in str(bad.value)
    assert not (tmp_path / "checkpoints" / "2").exists()


def run_command(config, *arguments):
    command = [sys.executable, "-m", "auface_jax.train", "--config", str(config), *arguments]
    return subprocess.run(
        command, env=tiny.command_environment(), capture_output=True, text=True, cwd=tiny.CONFIGS
    )


def test_a_misspelt_option_names_the_nearest(tmp_path):
    spelt = "--config.optimizer.learning_rat=0.1"
    done = run_command(tiny.CONFIGS / "stage1.py:quickstart", spelt, f"--workdir={tmp_path / 'r'}")
    assert done.returncode != 0
    assert "learning_rat" in done.stderr and re.search(r"learning_rate\b", done.stderr)
    assert not (tmp_path / "r").exists()


def test_what_nothing_can_come_of_is_told_before_data_are_built(tmp_path):
    workdir, data = f"--workdir={tmp_path / 'run'}", f"--config.data.dir={tmp_path / 'data'}"
    done = run_command(
        tiny.CONFIGS / "stage2.py:quickstart", workdir, data, "--config.batch_size=0"
    )
    assert done.returncode == 1 and "batch_size=0: expected 1 or more" in done.stderr
    assert not list(tmp_path.iterdir())
