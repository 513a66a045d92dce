"""A finished run as a function: batches, changes, animations, attention."""

import contextlib

import numpy as np
import pytest

from auface_jax.data.loading import pipeline
from auface_jax.generation import generator as drawing
from auface_jax.generation import region_masks
from auface_jax.generation.generator import Generator, Request
from tests.helpers.drawing import draw_references_only, write_drawing_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_drawing_folder(tmp_path_factory.mktemp("drawing"))


@pytest.fixture(scope="module")
def generator(folder):
    with contextlib.chdir(folder):
        yield Generator.from_run("runs/stage2")


@pytest.fixture
def batch_sizes(monkeypatch):
    """Batch size of each call that draws; the pictures are the references."""
    return draw_references_only(monkeypatch)


@pytest.mark.slow
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


def test_reference_of_another_size_is_refused(generator):
    with pytest.raises(ValueError, match=r"\(8, 8, 3\), this run needs \(16, 16, 3\)"):
        generator(np.zeros((8, 8, 3), np.uint8), "A face.")


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


@pytest.mark.slow
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
