"""Memory of the training loop over 10,000 small steps, measured by another process.

    python -m benchmarks.memory --work DIR
    python -m benchmarks.memory --work DIR --checkpoint-every 100

It trains a tiny Stage I with its adversary in another process, which logs every 10 steps, writes
sheets of images every 500, and saves at the end, or also every `--checkpoint-every` steps. The
program prints the memory, files and threads of that process as a line of JSON every thousand steps.
It ends with an error if the resident memory at the end is more than 0.5 % above that after a fifth
of the steps, or if more files or threads are open than a save in progress needs.
"""

import argparse
import json
import os
import pathlib
import sys
import time

from auface_jax.runs import config_files
from benchmarks import kills  # leaves TensorBoard's writers out

CONFIG = kills.CONFIG.with_name("stage1.py")
ALLOWED_GROWTH = 1.005
OF_A_SAVE = 10  # files, and threads


def tiny_config(work: pathlib.Path, steps: int, checkpoint_every: int):
    """Returns the config of Stage I at 16 px on a few noise images, with reports at every step."""
    data = kills.tiny_config(work).data.to_dict()
    config = config_files.load_config_file(CONFIG, "quickstart")
    with config.unlocked():
        del config.preset_reason
        config.data.update(data)
        config.model.update(
            {"image_size": data["size"], "num_quantizers": 2, "codebook_size": 16, "latent_dim": 8}
        )
        config.model.update({"channels": (8, 16), "patch": 2, "num_res_blocks": 1})
        config.discriminator.update({"channels": 8, "num_layers": 1})
        config.gan.weight = 0.1
        config.update({"num_steps": steps, "batch_size": 4, "init_examples": 16, "eval_images": 4})
        config.update({"log_every": 10, "sample_every": 500})
        config.checkpoint_every = checkpoint_every
    return config


def held(pid: int) -> dict[str, float]:
    """Returns resident MiB, open files and threads of a process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "resident_mib": int(fields["VmRSS"].split()[0]) / 1024,
        "open_files": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(fields["Threads"]),
    }


def last_step(reports: pathlib.Path) -> int:
    """Returns the step of the last complete line of `metrics.jsonl`."""
    lines = reports.read_text().split("\n") if reports.exists() else []
    return json.loads(lines[-2])["step"] if len(lines) > 1 else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a new folder")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="save so often, too")
    arguments = parser.parse_args()
    work, steps = arguments.work, arguments.steps
    work.mkdir(parents=True)
    output, began, seen = work / "output.txt", time.monotonic(), []
    config = tiny_config(work, steps, arguments.checkpoint_every or steps)
    pid = kills.begin(config, work / "run", output)
    while len(seen) < 10:
        time.sleep(0.2)
        # The last of ten samples is taken a little before the end, while the process still runs.
        due = (len(seen) + 1) * steps // 10 - steps // 100
        if (step := last_step(work / "run" / "metrics.jsonl")) >= due:
            seen.append({"step": step, **held(pid), "seconds": round(time.monotonic() - began)})
            print(json.dumps(seen[-1]), flush=True)
        elif os.waitpid(pid, os.WNOHANG)[0]:
            sys.exit(f"training ended at step {step}: {output.read_text()[-2000:]}")
    os.waitpid(pid, 0)
    if not (work / "run" / "export").is_dir():
        sys.exit(f"training did not finish: {output.read_text()[-2000:]}")
    early, late = seen[1], seen[-1]
    bounds = {name: early[name] + OF_A_SAVE for name in ("open_files", "threads")}
    bounds["resident_mib"] = ALLOWED_GROWTH * early["resident_mib"]
    over = [name for name in held(os.getpid()) if late[name] > bounds[name]]
    if over:
        sys.exit(f"error: {', '.join(over)} grew: {early} became {late}")


if __name__ == "__main__":
    main()
