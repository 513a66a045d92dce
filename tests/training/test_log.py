"""Reports, the heartbeat and progress lines of a run."""

import datetime
import json
import math

import pytest

from auface_jax.runs.console import table
from auface_jax.training.log import Heartbeat, MetricsLog, Progress, read_lines


@pytest.fixture
def run(tmp_path):
    """A run with five reports that was killed while it wrote the sixth."""
    log = MetricsLog(tmp_path / "run", resume_step=0)
    for step in range(1, 6):
        log.scalars(step, {"loss": step / 10, "psnr": 20.0})
    log.close()
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    return tmp_path / "run"


def steps(run):
    return [line["step"] for line in read_lines(run / "metrics.jsonl")]


def test_reports_round_trip_exactly(tmp_path):
    log = MetricsLog(tmp_path / "new" / "run", resume_step=0)
    log.scalars(3, {"loss": 0.1 + 0.2, "eval/psnr": 31})
    log.close()
    lines = (tmp_path / "new" / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"step": 3, "loss": 0.1 + 0.2, "eval/psnr": 31.0}
    assert next(iter(json.loads(lines[0]))) == "step"


def test_non_finite_values_are_null_in_json_and_nan_when_read(tmp_path):
    log = MetricsLog(tmp_path, resume_step=0)
    log.scalars(1, {"loss": 0.5, "grad_norm_limit": float("inf"), "f1": float("nan")})
    log.scalars(2, {"loss": 0.25})
    log.close()
    MetricsLog(tmp_path, resume_step=1).close()  # a resumed run rewrites the file
    line = (tmp_path / "metrics.jsonl").read_text()
    wanted = {"step": 1, "loss": 0.5, "grad_norm_limit": None, "f1": None}
    assert json.loads(line, parse_constant=pytest.fail) == wanted
    [read] = read_lines(tmp_path / "metrics.jsonl")
    assert read["loss"] == 0.5 and math.isnan(read["f1"]) and math.isnan(read["grad_norm_limit"])


def test_torn_last_line_is_ignored(run):
    assert steps(run) == [1, 2, 3, 4, 5]


def test_resumed_run_drops_reports_after_its_checkpoint(run):
    log = MetricsLog(run, resume_step=3)
    assert steps(run) == [1, 2, 3]
    log.scalars(4, {"loss": 0.5})
    log.close()
    assert steps(run) == [1, 2, 3, 4]
    assert read_lines(run / "metrics.jsonl")[-1] == {"step": 4, "loss": 0.5}
    assert not list(run.glob("*.tmp"))


def test_restarted_run_empties_its_log(run):
    MetricsLog(run, resume_step=0).close()
    assert steps(run) == []


def test_damaged_line_in_the_middle_is_named(run):
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = "not a report"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2 .*'not a report'"):
        read_lines(path)


def test_missing_file_has_no_reports(tmp_path):
    assert read_lines(tmp_path / "metrics.jsonl") == []


def test_heartbeat_is_written_at_most_once_an_interval(tmp_path, monkeypatch):
    clock = iter([0.0, 0.0, 4.0, 12.0, 12.0])
    monkeypatch.setattr("auface_jax.training.log.time.monotonic", lambda: next(clock))
    heartbeat, beats = Heartbeat(tmp_path, seconds=10), []
    for step in (1, 2, 3):
        heartbeat.beat(step)
        beats.append(json.loads((tmp_path / "heartbeat.json").read_text()))
    assert [beat["step"] for beat in beats] == [1, 1, 3]
    assert datetime.datetime.fromisoformat(beats[2]["time"]).tzinfo is datetime.UTC
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat.json"]


def test_table_is_aligned():
    lines = table("figures", {"eval/psnr": 31.25, "eval/usage_level0": 1.0}).splitlines()
    assert lines[0] == "figures" and len(lines) == 3
    assert len({len(line) for line in lines[1:]}) == 1
    assert lines[1].split() == ["eval/psnr", "31.2500"]
    assert table("nothing", {}) == "nothing"


def test_progress_shows_speed_and_time_left_from_the_last_interval(monkeypatch, capsys):
    clock = iter([0.0, 10.0, 100.0, 101.0])
    monkeypatch.setattr("auface_jax.training.log.time.monotonic", lambda: next(clock))
    progress = Progress(start_step=0, num_steps=150, batch_size=8)
    assert progress.report(20, {"loss": 0.25}) == {"seconds_per_step": 0.5}
    line = capsys.readouterr().out
    for part in ("step     20/150", "13 %", "500 ms/step", "16.0 img/s", "left 1:05", "loss 0.25"):
        assert part in line
    progress.restart_clock(20)  # an evaluation took a minute and a half
    assert progress.report(30, {}) == {"seconds_per_step": pytest.approx(0.1)}
