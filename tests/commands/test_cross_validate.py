"""The command `cross_validate`, from a data set to the table of folds."""

import json
import subprocess
import sys

from auface_jax.data.shards import read_info
from tests.helpers import tiny


def test_every_fold_is_trained_scored_and_written(tmp_path):
    data = tiny.build_data(tmp_path / "data")
    configs = tiny.write_config_files(tmp_path / "configs", data, ("au_image",))
    people = [name for split in read_info(data)["people"].values() for name in split]
    folds = tmp_path / "folds.txt"
    folds.write_text(f"{' '.join(people[:4])}\n{' '.join(people[4:])}\n")
    command = [sys.executable, "-m", "auface_jax.cross_validate", f"--folds={folds}"]
    command += [f"--config={configs / 'au_image.py'}:quickstart", f"--workdir={tmp_path / 'run'}"]
    command += ["--config.num_steps=2", "--config.stage1_steps=2", "--config.people.half="]
    environment = tiny.command_environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    written = json.loads((tmp_path / "run" / "folds.json").read_text())
    assert written["folds"] == [people[:4], people[4:]]
    assert len(written["f1"]["mean"]) == 2 and "AU24" in written["f1"]
    assert done.stdout.rstrip().splitlines()[-1].startswith("mean")
