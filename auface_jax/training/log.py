"""Reports of a run: `metrics.jsonl`, TensorBoard events, and progress lines.

`metrics.jsonl` is always written: one JSON object a report, `step` first. TensorBoard events go
through CLU's writers, which need TensorFlow; a machine without the `tensorboard` extra gets one
line saying so.
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
      resume_step: reports of later steps, which a run wrote that was killed after its last
        checkpoint, are dropped, as is a last line torn by the kill: no step appears twice.
    """

    def __init__(self, workdir: pathlib.Path, resume_step: int):
        self._writer = None
        self._path = workdir / "metrics.jsonl"
        self._active = jax.process_index() == 0
        if not self._active:
            return
        workdir.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_lines(self._path) if line["step"] <= resume_step]
        # A run that is not finished has no held-out figures yet; a kill may have left their line.
        kept = [line for line in kept if not any(name.startswith("eval/") for name in line)]
        text = "".join(_as_line(line) for line in kept)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.rename(self._path)
        # TensorFlow would print a page about its own kernels, which nothing here uses.
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

        A number that is not finite is null in the line.
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
        """Writes everything out and closes the TensorBoard writer."""
        if self._writer:
            self._writer.flush()
            self._writer.close()


def _as_line(report: Mapping) -> str:
    """A report as a line of JSON, which has no infinity and no undefined numbers."""
    told = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in report.items()
    }
    return json.dumps(told, allow_nan=False) + "\n"


def read_lines(path: pathlib.Path) -> list[dict]:
    """Reads the reports of a `metrics.jsonl`, null as NaN, without a torn last line.

    Returns:
      the reports in order; none where there is no file.

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
    """Keeps `heartbeat.json`, the last step and its time, for whoever watches from outside.

    Args:
      workdir: the run's folder.
      seconds: least time between two beats.
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
    """Progress lines: step, share done, speed, time left, and the main figures.

    The speed is that of the last interval, without compilation and pauses before it.

    Args:
      start_step: number of updates made before.
      num_steps: length of the run.
      batch_size: examples in a step, of all processes.
    """

    def __init__(self, start_step: int, num_steps: int, batch_size: int):
        self._num_steps, self._batch_size = num_steps, batch_size
        self._step, self._time = start_step, time.monotonic()

    def restart_clock(self, step: int) -> None:
        """Leaves what happened since the last report (an evaluation, say) out of the speed."""
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
