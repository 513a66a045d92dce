"""What `export` writes draws the same pictures without this package."""

import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny
from evaluation_runs import write_runs
from safetensors.numpy import load_file

from auface_jax import export
from auface_jax.data import pipeline
from auface_jax.generator import Generator


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    return write_runs(folder, tiny.build_data(folder / "data"), ("stage1", "stage2"))


WITHOUT_FLAX = """
import json, sys
sys.modules["flax"] = sys.modules["auface_jax"] = None  # importing them now raises
import jax, numpy as np, tokenizers
from safetensors.numpy import load_file
config = json.load(open("config.json"))
program = jax.export.deserialize(bytearray(open("generate.jax", "rb").read()))
[length] = [a["shape"][1] for a in config["arguments"] if a["name"] == "text_tokens"]
ids = tokenizers.Tokenizer.from_file("tokenizer.json").encode("The brows are raised.").ids
tokens = np.full((1, length), config["pad_id"], np.int32)
tokens[0, : len(ids)] = ids
made = program.call(
    load_file("weights.safetensors"), np.load("reference.npy")[None], tokens,
    np.arange(length)[None] < len(ids), np.array([7], np.uint32),
)
np.save("made.npy", np.asarray(made[0]))
"""


def test_an_export_draws_the_same_picture_without_flax(runs, tmp_path, capsys):
    folder = tmp_path / "exported"
    export.main(["--run", str(runs["stage2"]), "--out", str(folder)])
    assert "generate.jax" in capsys.readouterr().out
    generator = Generator.from_run(runs["stage2"])
    reference = pipeline.load_reference(generator.config.data.dir, "S00")
    np.save(folder / "reference.npy", reference)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FLAX], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [expected] = generator(reference, "The brows are raised.", seed=7)
    made = np.load(folder / "made.npy")
    assert np.abs(made.astype(int) - expected).max() <= 1

    arrays = load_file(folder / "weights.safetensors")
    restored = ocp.PyTreeCheckpointer().restore((folder / "checkpoint").resolve())
    flat = {
        "/".join(key.key for key in path): leaf
        for path, leaf in jax.tree.leaves_with_path(restored)
    }
    assert flat.keys() == arrays.keys()
    for path, leaf in flat.items():
        np.testing.assert_array_equal(leaf, arrays[path])


def test_what_cannot_be_exported_is_named(runs, tmp_path, capsys):
    with pytest.raises(SystemExit):
        export.main(["--run", str(runs["stage1"]), "--out", str(tmp_path / "out")])
    assert "is a run of the task vqgan" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
