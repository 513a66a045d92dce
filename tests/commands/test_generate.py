"""The command `generate` and the `Generator`, at 16 px.

Tests draw one picture or three with the run's own options, so that two compiled programs, for
batches of one and of four, serve all tests.
"""

import contextlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageSequence

from auface_jax import generate
from auface_jax.data.loading import pipeline
from auface_jax.generation import generator as drawing
from auface_jax.generation import reference_images, region_masks
from auface_jax.generation.generator import Generator, Request
from auface_jax.generation.request_csv import text_of_units
from auface_jax.images import files
from tests.helpers import tiny
from tests.helpers.evaluation_runs import write_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set and both stages with random weights."""
    folder = tmp_path_factory.mktemp("generate")
    write_runs(folder / "runs", tiny.build_data(folder / "data"), ("stage1", "stage2"))
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return "runs/stage2"


@pytest.fixture(scope="module")
def loaded(folder):
    with contextlib.chdir(folder):
        return Generator.from_run("runs/stage2")


@pytest.fixture
def generator(run, loaded):
    return loaded


@pytest.fixture
def batch_sizes(monkeypatch):
    """Batch size of each call that draws; the pictures are the references, which saves time."""
    sizes = []

    def draw_references(networks, options, weights, records, keys):
        sizes.append(len(keys))
        return records["reference"]

    monkeypatch.setattr(drawing, "generate_batch", draw_references)
    return sizes


def draw(run, out, *arguments, units="6,12"):
    generate.main(["--run", run, "--aus", units, "--out", str(out), *arguments])
    return out


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        generate.main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_metadata_say_that_pictures_are_synthetic_and_how_they_were_drawn(run, tmp_path, capsys):
    out = draw(run, tmp_path / "faces.png", "--num", "3", "--seed", "7")
    text = capsys.readouterr().out.splitlines()[0].removeprefix("text: ")
    info = Image.open(out).info
    assert info["synthetic"] == "true" and info["text"] == text and info["run"] == run
    assert info["seed"] == "7" and info["software"] == "auface_jax"
    assert info["reference"] in pipeline.reference_subjects("data", "test")

    folder = draw(run, tmp_path / "faces", "--num", "3", "--seed", "7")
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == ["0000.png", "0001.png", "0002.png"]
    for number, path in enumerate(files):
        image = Image.open(path)
        assert image.size == (16, 16) and image.mode == "RGB"
        assert image.info["synthetic"] == "true" and image.info["number"] == str(number)
        assert image.info["text"] == text


def test_equal_seeds_give_equal_bytes_and_others_do_not(run, tmp_path):
    first, again, other = (
        draw(run, tmp_path / f"{name}.png", "--num", "3", "--seed", seed).read_bytes()
        for name, seed in (("first", "1"), ("again", "1"), ("other", "2"))
    )
    assert first == again and first != other


def test_picture_does_not_depend_on_the_number_of_pictures(generator, monkeypatch):
    reference = pipeline.load_reference("data", "S00")
    three = generator(reference, "The brows are raised.", num=3, seed=5)
    one = generator(reference, "The brows are raised.", num=1, seed=5)
    np.testing.assert_array_equal(three[:1], one)
    monkeypatch.setattr(drawing, "BATCH_SIZE", 1)
    one_by_one = generator(reference, "The brows are raised.", num=3, seed=5)
    np.testing.assert_array_equal(three, one_by_one)
    assert three.dtype == np.uint8 and three.shape == (3, 16, 16, 3)
    assert (three[0] != three[1]).any() and (three[1] != three[2]).any()


def test_few_batch_sizes_serve_all_numbers_of_pictures(generator, batch_sizes):
    sizes = set()
    for count in (1, 2, 3, 5, 8, 11, 16, 17, 40):
        faces = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2)
        faces = faces.repeat(3, 3)
        made = generator.generate([Request(face, "A smile.", seed=3) for face in faces])
        np.testing.assert_array_equal(made, faces)  # in their order
        assert len(set(batch_sizes)) == 1 and sum(batch_sizes) < 2 * count
        sizes.add(batch_sizes[0])
        batch_sizes.clear()
    assert sizes == {1, 2, 4, 8, 16}
    assert len(generator(faces[0], "A smile.", num=100)) == 100
    assert batch_sizes == [16] * 7


def test_reference_is_a_file_or_a_person(run, generator, tmp_path):
    by_name, _ = reference_images.find_reference(generator, "S01")
    Image.fromarray(by_name).save(tmp_path / "me.png")
    from_file, name = reference_images.find_reference(generator, str(tmp_path / "me.png"))
    np.testing.assert_array_equal(from_file, by_name)
    assert name == "me.png"
    first, name = reference_images.find_reference(generator, "")
    assert name == pipeline.reference_subjects("data", "test")[0]
    np.testing.assert_array_equal(first, pipeline.load_reference("data", name))


def test_own_text_and_decoding_options_are_used(run, tmp_path):
    out = tmp_path / "own.png"
    words = "Die Brauen sind gehoben — ganz leicht."
    generate.main(
        ["--run", run, "--text", words, "--num", "1", "--steps", "1", "--guidance", "1"]
        + ["--reference", "S02", "--out", str(out)]
    )
    info = Image.open(out).info
    assert info["text"] == words and info["reference"] == "S02"


def test_runs_of_other_tasks_are_refused(run, capsys):
    message = refused(capsys, "--run", "runs/stage1", "--aus", "6")
    assert "runs/stage1 is a run of the task vqgan" in message


def test_reference_of_another_size_is_refused(generator):
    with pytest.raises(ValueError, match=r"\(8, 8, 3\), this run needs \(16, 16, 3\)"):
        generator(np.zeros((8, 8, 3), np.uint8), "A face.")


def test_run_of_another_text_tokenizer_is_refused(run, tmp_path, capsys):
    copy = tmp_path / "stage2"
    shutil.copytree(run, copy)
    path = copy / "export" / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"text_tokenizer": "f" * 64}))
    message = refused(capsys, "--run", copy, "--aus", "6")
    assert "trained with the text tokenizer ffffffffffff" in message


def test_run_without_its_data_set_needs_an_image_file(run, tmp_path):
    generator = Generator.from_run(run)
    with generator.config.unlocked():
        generator.config.data.dir = str(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="give an image file"):
        reference_images.find_reference(generator, "S00")


# --- Batches, changes, animations, attention ------------------------------------------------------


def test_requests_of_one_batch_are_drawn_as_if_alone(generator):
    reference = pipeline.load_reference("data", "S00")
    other = pipeline.load_reference("data", "S01")
    change = region_masks.token_mask(region_masks.region_mask("mouth", 16), generator.vqgan.grid)
    requests = [
        Request(reference, "The brows are raised.", seed=5),
        Request(other, "The lips part.", seed=5, change=change),
        Request(other, "The brows are raised. " * 3, seed=2),
        Request(other, "The lips part.", seed=5),
    ]
    made = generator.generate(requests)
    for request, image in zip(requests, made, strict=True):
        [alone] = generator(
            request.reference,
            request.text,
            seed=request.seed,
            change=request.change,
        )
        np.testing.assert_array_equal(image, alone)
    assert generator.generate([]).shape == (0, 16, 16, 3)


def test_cut_texts_are_reported_once(generator, capsys):
    reference = pipeline.load_reference("data", "S00")
    long, longer, exact = ("A nose. " * times for times in (40, 41, 1))
    while not generator.tokenizer.encode_batch([exact], (64,))[1].all():
        exact += "!"
    texts = [long, long, "The lips part.", longer, exact]
    generator.generate([Request(reference, text) for text in texts], batch_size=4)
    said = capsys.readouterr().out
    assert said == "2 texts are cut after 64 tokens, the longest that this run reads\n"
    generator(reference, long, num=3)
    generator.generate([Request(reference, text) for text in texts[::-1]], batch_size=4)
    generator.attention(reference, long)
    assert not capsys.readouterr().out
    generator(reference, "And now: " + long, num=3)
    assert capsys.readouterr().out.startswith("a text is cut after 64 tokens")


def test_change_keeps_the_rest_of_the_reference(generator):
    reference = pipeline.load_reference("data", "S00")
    change = region_masks.token_mask(region_masks.region_mask("mouth", 16), generator.vqgan.grid)
    made = generator(reference, "The lips part.", num=3, seed=1, change=change)
    weight = region_masks.blend_weight(change, 16)[..., 0]
    assert (made[:, weight == 0] == reference[weight == 0]).all()
    assert (made[:, weight == 1] != reference[weight == 1]).any((1, 2)).all()
    assert 0 < (weight == 0).mean() < 1 and (weight == 1).any()


def test_frames_end_and_morph_begins_with_the_picture(generator):
    reference = pipeline.load_reference("data", "S00")
    smile = Request(reference, "The lip corners are pulled up.", seed=3)
    frames = generator.frames(smile)
    [last] = generator(reference, smile.text, seed=3)
    np.testing.assert_array_equal(frames[-1], last)
    assert len(frames) == generator.config.decode.steps and (frames[0] != last).any()
    frown = Request(reference, "The brows are drawn together.", seed=3)
    morph = generator.morph(smile, frown)
    [end] = generator(reference, frown.text, seed=3)
    assert len(morph) == 16
    assert np.abs(morph[0].astype(int) - last).max() <= 1
    assert np.abs(morph[-1].astype(int) - end).max() <= 1


def test_gifs_and_attention_sheets_say_that_they_are_synthetic(run, tmp_path, capsys):
    for name, more, frames in (("a.gif", (), 8), ("b.gif", ("--to-aus", "4"), 32)):
        out = draw(run, tmp_path / name, *more)
        with Image.open(out) as gif:
            assert b"synthetic: true" in gif.info["comment"]
            # Frames that are alike are joined when a GIF is written.
            assert 1 < sum(1 for _ in ImageSequence.Iterator(gif)) <= frames
    explained = tmp_path / "why.png"
    draw(run, tmp_path / "c.png", "--num", "1", "--explain", str(explained))
    assert Image.open(explained).info["synthetic"] == "true"
    assert str(explained) in capsys.readouterr().out


def test_attention_has_a_map_for_each_sentence(generator):
    reference = pipeline.load_reference("data", "S00")
    text = "The brows are raised. The lips part! And the chin?"
    maps = generator.attention(reference, text)
    assert [sentence for sentence, _ in maps] == [
        "The brows are raised.",
        "The lips part!",
        "And the chin?",
    ]
    for _, values in maps:
        assert values.shape == (2, 2) and values.sum() == pytest.approx(1, abs=1e-5)


def test_csv_lines_are_drawn_to_files_of_their_own(run, generator, tmp_path):
    own = pipeline.load_reference("data", "S01")
    Image.fromarray(own).save(tmp_path / "me.png")
    (tmp_path / "jobs.csv").write_text(
        "reference,text,aus,seed,out\n"
        'me.png,"The brows are raised, a little.",,4,raised.png\n'
        'S02,,"6C,12E",1,\n'
        "S02,The lips part.,,1,more/part.png\n"
    )
    arguments = [
        "--run",
        run,
        "--jobs",
        str(tmp_path / "jobs.csv"),
        "--out",
        str(tmp_path / "made"),
    ]
    generate.main([*arguments, "--reference-aligned"])
    raised, smile = (Image.open(tmp_path / "made" / name) for name in ("raised.png", "0001.png"))
    assert raised.info["reference"] == "me.png" and raised.info["seed"] == "4"
    assert smile.info["text"] == text_of_units("6C,12E", 1)[0]
    assert smile.info["text"].startswith("Severe: ")  # D lies between C and E
    assert Image.open(tmp_path / "made" / "more" / "part.png").info["text"] == "The lips part."
    [alone] = generator(own, "The brows are raised, a little.", seed=4)
    np.testing.assert_array_equal(np.asarray(raised), alone)


def test_interrupted_csv_keeps_the_batches_drawn_before(run, tmp_path, monkeypatch, batch_sizes):
    draw_references = drawing.generate_batch

    def draw_one_batch(*arguments):
        if batch_sizes:
            raise KeyboardInterrupt
        return draw_references(*arguments)

    monkeypatch.setattr(drawing, "generate_batch", draw_one_batch)
    (tmp_path / "jobs.csv").write_text("reference,text\n" + "S02,A smile.\n" * 40)
    out = tmp_path / "made"
    with pytest.raises(KeyboardInterrupt):
        generate.main(["--run", run, "--jobs", str(tmp_path / "jobs.csv"), "--out", str(out)])
    assert sorted(path.name for path in out.iterdir()) == [f"{i:04d}.png" for i in range(16)]


@pytest.mark.parametrize("arguments", [("--aus", "6"), ("--jobs", "jobs.csv")])
def test_write_errors_are_reported(run, tmp_path, monkeypatch, capsys, batch_sizes, arguments):
    def fail(*_, **__):
        raise OSError("no space left on faces")

    monkeypatch.setattr(files, "save_png", fail)
    (tmp_path / "jobs.csv").write_text("text\nA smile.\n")
    arguments = [str(tmp_path / name) if name == "jobs.csv" else name for name in arguments]
    message = refused(capsys, "--run", run, *arguments, "--out", tmp_path / "made")
    assert "no space left on faces" in message


def test_all_faults_of_a_csv_are_named_at_once(run, tmp_path, capsys):
    path = tmp_path / "jobs.csv"
    path.write_text(
        "text,aus,seed,out,reference\n"
        "Smile.,6,0,a.png,\n,99,0,b.png,\nSmile.,,-1,c.png,\n,,0,d.png,\n"
        "Smile.,,0,../e.png,\nSmile.,,0,f.png,\nSmile.,,0,f.png,\nSmile.,,0,g.png,Mona\n"
    )
    message = refused(capsys, "--run", run, "--jobs", path, "--out", tmp_path / "made")
    for fault in (
        "line 2: both text and aus",
        "line 3: ",
        "line 4: seed '-1'",
        "line 5: neither text nor aus",
        "line 6: out '../e.png'",
        "line 8: out 'f.png' is that of line 7",
        "line 9: --reference 'Mona' is neither an image file nor one of the ",
    ):
        assert fault in message
    path.write_text("words,seed\nSmile.,0\n")
    assert "legal are reference, text, aus, seed, out" in refused(
        capsys, "--run", run, "--jobs", path, "--out", tmp_path / "made"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--aus", "6", "--reference", "nobody"), "neither an image file nor one of the 8 people"),
        (("--aus", "6", "--steps", "0"), "decode.steps=0"),
        (("--aus", "6", "--top-p", "2"), "top_p=2.0"),
        (("--aus", "6", "--level-steps", "2,1"), "in the depth layout the levels"),
        (("--aus", "6", "--change", "ears"), "region 'ears' is not one of brows, eyes"),
        (("--jobs", "none.csv", "--out", "made"), "none.csv"),
    ],
)
def test_requests_that_the_run_cannot_fulfil_are_refused(run, capsys, arguments, message):
    assert message in refused(capsys, "--run", run, *arguments)
