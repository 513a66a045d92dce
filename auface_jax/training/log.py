"""Reports of a run: `metrics.jsonl`, TensorBoard events, and progress lines.

`metrics.jsonl` is always written and has one JSON object for each report, `step` first. CLU's
writers, which need TensorFlow, write the TensorBoard events; without the `tensorboard` extra the
run prints one line that says so.
"""

import datetime
import json
import math
import os
import pathlib
import time
from collections.abc import Mapping

import jax
import numpy as np
from PIL import Image

from auface_jax.runs.console import say
from auface_jax.runs.json_files import write_object


class MetricsLog:
    """Appends reports to a run's folder.

    Args:
      workdir: the run's folder; created when absent.
      resume_step: the step of the checkpoint from which the run resumes. Reports of later steps
        and a torn last line, which a killed run leaves, are dropped: no step appears twice.
    """

    def __init__(self, workdir: pathlib.Path, resume_step: int):
        self._writer = None
        self._path = workdir / "metrics.jsonl"
        self._active = jax.process_index() == 0
        if not self._active:
            return
        workdir.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_lines(self._path) if line["step"] <= resume_step]
        # An unfinished run has no held-out figures; a kill during evaluation may leave their line.
        kept = [line for line in kept if not any(name.startswith("eval/") for name in line)]
        text = "".join(_as_line(line) for line in kept)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.rename(self._path)
        # Without these settings TensorFlow prints a page about kernels that are not used here.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        try:
            from clu import metric_writers
        except ImportError as error:
            say(
                f"no TensorBoard events ({error}): .venv/bin/python -m pip install -c "
                "constraints.txt -e '.[tensorboard]' to have them; metrics.jsonl is written all "
                "the same"
            )
        else:
            self._writer = metric_writers.create_default_writer(
                str(workdir), just_logging=False, asynchronous=False
            )

    def scalars(self, step: int, values: Mapping[str, float], **notes: str) -> None:
        """Writes one report: a line of `metrics.jsonl`, with `notes`, and TensorBoard scalars.

        The line has null in place of a number that is not finite.
        """
        if not self._active:
            return
        values = {name: float(value) for name, value in values.items()}
        with self._path.open("a") as file:
            file.write(_as_line({"step": step, **values, **notes}))
        if self._writer:
            self._writer.write_scalars(step, values)

    def pictures(self, step: int, images: Mapping[str, Image.Image]) -> None:
        """Writes TensorBoard images; the caller writes the PNG files."""
        if self._active and self._writer:
            arrays = {name: np.asarray(image)[None] for name, image in images.items()}
            self._writer.write_images(step, arrays)

    def close(self) -> None:
        """Flushes and closes the TensorBoard writer."""
        if self._writer:
            self._writer.flush()
            self._writer.close()


def _as_line(report: Mapping) -> str:
    """Encodes a report as a line of JSON, with null for infinities and NaN."""
    report = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in report.items()
    }
    return json.dumps(report, allow_nan=False) + "\n"


def read_lines(path: pathlib.Path) -> list[dict]:
    """Reads the reports of a `metrics.jsonl`; null becomes NaN, and a torn last line is ignored.

    Returns:
      the reports in order; an empty list where the file is missing.

    Raises:
      ValueError: a line before the last is not a report.
    """
    if not path.exists():
        return []
    reports = []
    for number, line in enumerate(lines := path.read_bytes().splitlines(), 1):
        try:
            report = json.loads(line)
        except (ValueError, RecursionError):
            report = None
        if isinstance(report, dict) and isinstance(report.get("step"), int):
            reports.append({k: math.nan if v is None else v for k, v in report.items()})
        elif number < len(lines):
            raise ValueError(f"{path}:{number} is not a JSON report: {line[:80]!r}")
    return reports


class Heartbeat:
    """Keeps the last step and its time in `heartbeat.json`, for programs that monitor the run.

    Args:
      workdir: the run's folder.
      seconds: the least time between two beats.
    """

    def __init__(self, workdir: pathlib.Path, seconds: float = 10.0):
        self._path, self._seconds = workdir / "heartbeat.json", seconds
        self._active, self._last = jax.process_index() == 0, -math.inf

    def beat(self, step: int) -> None:
        """Writes the step, unless the last beat was less than `seconds` ago."""
        if not self._active or time.monotonic() - self._last < self._seconds:
            return
        self._last = time.monotonic()
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_object(self._path, {"step": step, "time": now}, indent=None)


class Progress:
    """Progress lines with step, percentage done, speed, time left, and the main metrics.

    The speed is measured over the interval since the last report or `restart_clock`.

    Args:
      start_step: number of updates made before.
      num_steps: number of updates in the whole run.
      batch_size: number of examples in a step, over all processes.
    """

    def __init__(self, start_step: int, num_steps: int, batch_size: int):
        self._num_steps, self._batch_size = num_steps, batch_size
        self._step, self._time = start_step, time.monotonic()

    def restart_clock(self, step: int) -> None:
        """Restarts the clock, so that the speed leaves out a pause such as an evaluation."""
        self._step, self._time = step, time.monotonic()

    def report(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Prints the line and returns the speed as scalars."""
        now = time.monotonic()
        seconds = (now - self._time) / max(1, step - self._step)
        self._step, self._time = step, now
        left = seconds * (self._num_steps - step)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        say(
            f"step {step:>6}/{self._num_steps} ({100 * step / self._num_steps:3.0f} %)  "
            f"{1000 * seconds:6.0f} ms/step  {self._batch_size / seconds:6.1f} img/s  "
            f"left {int(left // 60)}:{int(left % 60):02d}  {shown}"
        )
        return {"seconds_per_step": seconds}
