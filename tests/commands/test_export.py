"""The command `export`: its files draw the same pictures without this package."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from safetensors.numpy import load_file

from auface_jax import export
from auface_jax.data.loading import pipeline
from auface_jax.generation import exported
from auface_jax.generation.generator import Generator
from tests.helpers import tiny
from tests.helpers.evaluation_runs import write_runs


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
for name, text in json.load(open("texts.json")).items():
    ids = tokenizers.Tokenizer.from_file("tokenizer.json").encode(text).ids
    del ids[length - 1 : -1]
    tokens = np.full((1, length), config["pad_id"], np.int32)
    tokens[0, : len(ids)] = ids
    made = program.call(
        load_file("weights.safetensors"), np.load("reference.npy")[None], tokens,
        np.arange(length)[None] < len(ids), np.array([7], np.uint32),
    )
    np.save(name, np.asarray(made[0]))
"""


def test_export_draws_the_same_picture_without_flax(runs, tmp_path, capsys):
    folder = tmp_path / "exported"
    export.main(["--run", str(runs["stage2"]), "--out", str(folder)])
    assert "generate.jax" in capsys.readouterr().out
    generator = Generator.from_run(runs["stage2"])
    reference = pipeline.load_reference(generator.config.data.dir, "S00")
    np.save(folder / "reference.npy", reference)
    texts = {"short": "The brows are raised.", "cut": "The brows are raised. " * 30}
    (folder / "texts.json").write_text(json.dumps(texts))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FLAX], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, text in texts.items():
        [expected] = generator(reference, text, seed=7)
        assert np.abs(np.load(folder / f"{name}.npy").astype(int) - expected).max() <= 1
    assert generator.tokenizer.truncated and not (folder / "unfinished").exists()
    exported.check_folder(folder)  # an export may be replaced, even with other files in it

    arrays = load_file(folder / "weights.safetensors")
    restored = ocp.PyTreeCheckpointer().restore((folder / "checkpoint").resolve())
    flat = {
        "/".join(key.key for key in path): leaf
        for path, leaf in jax.tree.leaves_with_path(restored)
    }
    assert flat.keys() == arrays.keys()
    for path, leaf in flat.items():
        np.testing.assert_array_equal(leaf, arrays[path])


def refused(capsys, run, out):
    with pytest.raises(SystemExit) as stopped:
        export.main(["--run", str(run), "--out", str(out)])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_export_replaces_only_an_earlier_export(runs, tmp_path, capsys):
    own = runs["stage2"] / "export"
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    assert f"{own} is the run's own export" in refused(capsys, runs["stage2"], own)
    assert f"{runs['stage2']} is not empty" in refused(capsys, runs["stage2"], runs["stage2"])
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before

    copy = tmp_path / "copy"
    shutil.copytree(own, copy)
    assert f"{copy} is not empty and not an earlier export" in refused(capsys, "runs/none", copy)
    unfinished = tmp_path / "run"  # a run without its own export yet
    unfinished.mkdir()
    (unfinished / "config.json").write_text('{"task": "maskgit"}')
    message = refused(capsys, "runs/none", unfinished / "export")
    assert "is the run's own export" in message and not (unfinished / "export").exists()
    assert "copy/config.json is a file" in refused(capsys, "runs/none", copy / "config.json")


def test_interrupted_export_may_be_repeated(runs, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(exported, "generation_program", stop)
    with pytest.raises(KeyboardInterrupt):
        exported.export_run(runs["stage2"], tmp_path)
    assert (tmp_path / "weights.safetensors").exists()
    assert not (tmp_path / "config.json").exists()
    exported.check_folder(tmp_path)
    (tmp_path / "unfinished").unlink()
    assert "not an earlier export" in refused(capsys, "runs/none", tmp_path)


def test_runs_of_other_tasks_are_refused(runs, tmp_path, capsys):
    message = refused(capsys, runs["stage1"], tmp_path / "out")
    assert "is a run of the task vqgan" in message
    assert not (tmp_path / "out").exists()
