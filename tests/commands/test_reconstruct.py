"""The command `reconstruct`: table, sheet, pictures, SSIM and errors."""

import sys

import jax
import numpy as np
import pytest
from PIL import Image

from auface_jax import reconstruct
from auface_jax.data.sources import detector
from auface_jax.generation.stage1 import load_vqgan
from auface_jax.images.pixels import to_float, to_uint8
from auface_jax.metrics.ssim import ssim
from auface_jax.runs import checkpoints
from auface_jax.training.tasks.vqgan import VQGANTask
from tests.helpers import tiny
from tests.helpers.csv_files import read_csv
from tests.helpers.recognizer_runs import write_run


def write_stage1(folder, **meta):
    """Writes a finished Stage I run at its initial weights: the best linear code."""
    config = tiny.stage1_config(data="nowhere")
    task = VQGANTask(config, 1)
    state = jax.jit(task.init)(jax.random.key(0), tiny.records(20))
    meta = {"text_tokenizer": ""} | meta
    checkpoints.save_export(folder, task.export(state), config, meta)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_stage1(tmp_path_factory.mktemp("runs") / "stage1")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "faces"
    (folder / "more").mkdir(parents=True)
    one, two, three = map(Image.fromarray, tiny.images(3))
    one.save(folder / "a.png")
    two.save(folder / "b.png")
    three.resize((40, 32)).save(folder / "more" / "a.png")
    return folder


def test_folder_gives_a_row_and_a_picture_each_and_a_sheet(run, folder, tmp_path, capsys):
    evaluator, out = write_run(tmp_path / "au", role="score"), tmp_path / "new" / "out"
    reconstruct.main(
        [
            str(folder),
            "--run",
            str(run),
            "--out",
            str(out),
            "--aligned",
            "--recognizer",
            str(evaluator),
        ]
    )
    rows = read_csv(out / "table.csv")
    assert [row["path"].removeprefix(str(folder)) for row in rows] == [
        "/a.png",
        "/b.png",
        "/more/a.png",
    ]
    assert list(rows[0]) == ["path", "psnr", "ssim", "psnr_1_levels", "au_agreement"]
    names = sorted(path.name for path in (out / "pictures").iterdir())
    assert names == ["a-2.png", "a.png", "b.png"]

    vqgan, weights = load_vqgan(run)
    real = tiny.images(3)[1]
    codes = vqgan.encode(weights, to_float(real[None]))
    made = np.asarray(to_uint8(vqgan.decode(weights, codes)))[0]
    with Image.open(out / "pictures" / "b.png") as written:
        assert written.text["synthetic"] == "true" and written.text["source"].endswith("b.png")
        pixels = np.asarray(written)
    assert np.abs(pixels.astype(int) - made).max() <= 1
    mse = np.square((real.astype(float) - pixels) / 255).mean()
    assert float(rows[1]["psnr"]) == pytest.approx(-10 * np.log10(mse), abs=1e-3)
    assert float(rows[1]["ssim"]) == pytest.approx(ssim(real[None], pixels[None])[0], abs=1e-4)
    assert all(float(row["psnr"]) > float(row["psnr_1_levels"]) for row in rows)
    assert all(-1 <= float(row["au_agreement"]) <= 1.0001 for row in rows)
    with Image.open(out / "sheet.png") as page:
        assert page.text["synthetic"] == "true"
        assert page.width > 4 * 128 and page.height > 3 * 128  # real, two levels, error; three rows
    printed = capsys.readouterr().out
    assert "3 pictures at 128 bits" in printed
    mean = np.mean([float(row["psnr"]) for row in rows])
    assert f"psnr {mean:.3f}" in printed


def test_unreadable_files_are_listed_and_the_others_reconstructed(run, folder, tmp_path, capsys):
    (folder / "b.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match=r"(?s)1 of 3 files cannot be used.*b.png: cannot be read"):
        reconstruct.main([str(folder), "--run", str(run), "--out", str(tmp_path), "--aligned"])
    assert len(read_csv(tmp_path / "table.csv")) == 2


def test_missing_detector_is_reported_once_with_the_cure(
    run, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "cv2", None)
    detector._opencv.cache_clear()
    try:
        with pytest.raises(SystemExit):
            reconstruct.main([str(folder), "--run", str(run), "--out", str(tmp_path / "out")])
    finally:
        detector._opencv.cache_clear()
    message = capsys.readouterr().err
    assert message.count(".[detector]") == message.count("say --aligned") == 1
    assert "--reference-aligned" not in message
    assert not (tmp_path / "out").exists()


def test_picture_without_a_face_is_reported_with_the_cure(run, folder, tmp_path):
    pytest.importorskip("cv2")
    with pytest.raises(SystemExit, match=r"(?s)3 of 3 files.*a.png: .*say --aligned"):
        reconstruct.main([str(folder), "--run", str(run), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_invalid_requests_are_refused(run, folder, tmp_path, capsys):
    def refused(*arguments):
        with pytest.raises(SystemExit) as stopped:
            reconstruct.main([*map(str, arguments), "--out", str(tmp_path / "out")])
        assert stopped.value.code == 2
        return capsys.readouterr().err

    other, loss = write_run(tmp_path / "au"), write_run(tmp_path / "loss", role="loss")
    assert "task au_image, and a run of the task vqgan is needed" in refused(folder, "--run", other)
    assert "no such file or folder" in refused(tmp_path / "none", "--run", run)
    assert "'loss'" in refused(folder, "--run", run, "--recognizer", loss)
    # The weights of a loss network of this run, under another role.
    fingerprint = reconstruct.load_recognizer(other).fingerprint
    trained = write_stage1(tmp_path / "trained", anatomical_network=fingerprint)
    assert "the same weights" in refused(folder, "--run", trained, "--recognizer", other)
