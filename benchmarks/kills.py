"""Kills a small training at random moments, resumes it each time, and checks for lost work.

    python -m benchmarks.kills --work DIR --kills 30

It trains a smaller form of the quickstart's probe on a few images and saves every third step, so
that many kills fall into a save, and one in six before the first step. Every attempt is a process
that ends by SIGKILL. After all attempts, the run must have the same reports, to the last bit, as an
undisturbed run. The program prints a line for each kill and the findings in Markdown, and ends with
an error if work was lost.
"""

import argparse
import csv
import json
import os
import pathlib
import random
import signal
import sys
import time
import warnings

sys.modules["clu"] = None  # TensorBoard's writers: every attempt would import TensorFlow

import jax
import numpy as np
from PIL import Image

from auface_jax import facs, train
from auface_jax.data.build import builder
from auface_jax.runs import config_files
from auface_jax.training import loop
from auface_jax.training.log import read_lines

CONFIG = pathlib.Path(__file__).resolve().parents[1] / "configs" / "au_probe.py"
CHECKPOINT_EVERY, KEEP = 3, 2
# Longest time to wait for anything.
PATIENCE_SECONDS = 1800


def pictures(folder: pathlib.Path, size: int) -> None:
    """Returns noise images with labels, four of each of eight people."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        units = [f"AU{number}" for number in facs.AU_NUMBERS]
        table.writerow(["subject", "task", "frame", "path", *units])
        for picture in range(32):
            pixels = rng.integers(0, 256, (size, size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{picture}.png")
            labels = rng.integers(0, 2, len(units)).tolist()
            table.writerow([f"P{picture // 4}", "T", picture, f"{picture}.png", *labels])


def tiny_config(work: pathlib.Path):
    """Returns the config of an endless probe on a few noise images that saves at every step."""
    data, size = work / "data", 16
    pictures(work / "pictures", size)
    labels = str(work / "pictures" / "labels.csv")
    options = {"source": "folder", "labels": labels, "size": size, "uncoded_units": "absent"}
    builder.build_if_absent(options | {"processes": 1}, data)
    config = config_files.load_config_file(CONFIG, "quickstart")
    with config.unlocked():
        del config.preset_reason
        config.data.update({"source": "prebuilt", "dir": str(data), "size": size})
        config.model.channels = (8, 8)
        config.update({"num_steps": 10**6, "batch_size": 4, "log_every": 1, "eval_images": 4})
        config.update({"checkpoint_every": CHECKPOINT_EVERY, "keep_checkpoints": KEEP})
    return config


def begin(config, workdir: pathlib.Path, output: pathlib.Path) -> int:
    """Starts training in a new process that writes to `output`, and returns its process id."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        loop.train(config, workdir)
    except train.Interrupted:
        os._exit(0)
    except BaseException as error:
        print(f"error: {error!r}", flush=True)
    os._exit(1)


def wait_for(text: str, output: pathlib.Path, pid: int) -> str:
    """Waits until `output` contains `text`, and returns it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        said = output.read_text() if output.exists() else ""
        if text in said:
            return said
        if os.waitpid(pid, os.WNOHANG)[0] or time.monotonic() > deadline:
            raise RuntimeError(f"training ended, or hangs, before it said {text!r}:\n{said}")
        time.sleep(0.01)


def complete_steps(workdir: pathlib.Path) -> list[int]:
    names = [path.name for path in (workdir / "checkpoints").glob("*")]
    return sorted(int(name) for name in names if name.isdigit())


def reports(workdir: pathlib.Path) -> list[dict]:
    lines = read_lines(workdir / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k != "seconds_per_step"} for line in lines]


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise RuntimeError(f"a run that was told to stop ended with {status}")


def check_start(said: str, complete: list[int]) -> str | None:
    """Returns the faults of the first lines after a kill that left these checkpoints."""
    wanted = f"resumed at step {complete[-1]}\n" if complete else "initialised in"
    return None if wanted in said else f"expected {wanted!r}:\n{said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=pathlib.Path, required=True, help="an empty folder")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--window", type=float, default=2.0, help="seconds after the first step")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="os.fork")
    work, rng = arguments.work, random.Random(arguments.seed)
    work.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(work.resolve() / "cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    config, workdir, output = tiny_config(work), work / "run", work / "output.txt"

    faults = []
    print("| kill | when | last report | complete checkpoints | in a save | steps to do again |")
    print("|---|---|---|---|---|---|", flush=True)
    for number in range(1, arguments.kills + 1):
        left = complete_steps(workdir)
        output.unlink(missing_ok=True)
        pid = begin(config, workdir, output)
        if number % 6 == 0:
            wait_for("parameters trained", output, pid)
            moment, when = rng.uniform(0, 1.0), "before a step"
        else:
            fault = check_start(wait_for("\nstep ", output, pid), left)
            faults += [fault] if fault else []
            moment, when = rng.uniform(0, arguments.window), "in the loop"
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        complete, seen = complete_steps(workdir), reports(workdir)
        begun = [path for path in (workdir / "checkpoints").glob("*") if not path.name.isdigit()]
        last = seen[-1]["step"] if seen else 0
        again = last - (complete[-1] if complete else 0)
        if left and (not complete or complete[-1] < left[-1]):
            faults.append(f"kill {number}: checkpoints {left} became {complete}")
        if len(complete) > KEEP + 1 or len(begun) > 1:
            faults.append(f"kill {number} left {complete} and {[path.name for path in begun]}")
        print(
            f"| {number} | {when}, {moment:.2f} s on | {last} | {', '.join(map(str, complete))} | "
            f"{'yes' if begun else 'no'} | {again} |",
            flush=True,
        )

    left = complete_steps(workdir)
    output.unlink(missing_ok=True)
    pid = begin(config, workdir, output)
    fault = check_start(wait_for("\nstep ", output, pid), left)
    faults += [fault] if fault else []
    stop(pid)
    disturbed = reports(workdir)
    steps = disturbed[-1]["step"]
    undisturbed = work / "undisturbed"
    output.unlink(missing_ok=True)
    pid = begin(config, undisturbed, output)
    wait_for(f"\nstep {steps:>6}/", output, pid)
    stop(pid)
    if disturbed != reports(undisturbed)[:steps]:
        faults.append("the reports differ from those of a run that nothing disturbed")
    orphans = [
        str(path.relative_to(workdir))
        for path in workdir.rglob("*")
        if "tmp" in path.name or path.name.endswith(".part")
    ]
    faults += [f"left behind: {orphans}"] if orphans else []
    found = {
        "kills": arguments.kills,
        "steps": steps,
        "reports equal to the bit": disturbed == reports(undisturbed)[:steps],
        "each step reported once": [line["step"] for line in disturbed] == [*range(1, steps + 1)],
        "left behind": orphans,
    }
    print(f"\n{json.dumps(found)}")
    if faults:
        sys.exit("\n".join(["faults:", *faults]))


if __name__ == "__main__":
    main()
