"""Frames of pictures, animations and videos."""

import contextlib
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auface_jax.images import frames
from auface_jax.images.files import read_rgb
from tests.helpers import tiny
from tests.helpers.picture_files import write_pictures_folder


def test_every_selects_frames(tmp_path):
    path = write_pictures_folder(tmp_path / "pictures") / "deep" / "c.gif"
    assert [frame.number for frame in frames.read_frames(path, 16, every=2)] == [0, 2]


def test_second_image_of_a_photograph_is_no_frame(tmp_path):
    photograph, depth = (Image.fromarray(image) for image in tiny.images(2))
    photograph.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[depth])
    [frame] = frames.read_frames(tmp_path / "a.jpg", 16)
    assert frame.still and frame.number == 0
    np.testing.assert_array_equal(frame.image, read_rgb(tmp_path / "a.jpg"))
    photograph.save(tmp_path / "moving.png", save_all=True, append_images=[depth])
    assert [frame.still for frame in frames.read_frames(tmp_path / "moving.png", 16)] == [False] * 2


def test_transparent_pixels_become_grey(tmp_path):
    pixels = np.dstack([tiny.images(1)[0], np.zeros((16, 16, 1), np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    [frame] = frames.read_frames(tmp_path / "cut.png", 16)
    assert (frame.image == 128).all()


def test_pictures_are_turned_upright_cropped_and_reduced_by_averaging(tmp_path):
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, 16:48] = 255  # the left half of the central square
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: left comes to the top
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    [frame] = frames.read_frames(tmp_path / "turned.png", 16)
    assert frame.image.shape == (16, 16, 3)
    assert frame.image[:7].min() > 200 and frame.image[9:].max() < 50
    pixels[:], pixels[::2] = 0, 255
    Image.fromarray(pixels).save(tmp_path / "striped.png")
    [frame] = frames.read_frames(tmp_path / "striped.png", 16)
    assert np.abs(frame.image.astype(int) - 127).max() < 12


def test_all_paths_without_pictures_are_reported(tmp_path):
    pictures = write_pictures_folder(tmp_path / "pictures")
    (tmp_path / "bare").mkdir()
    paths = [tmp_path / "none.png", tmp_path / "bare", pictures / "notes.txt"]
    with pytest.raises(frames.FrameError) as error:
        frames.find_files([pictures, *paths])
    assert "none.png: no such file" in str(error.value)
    assert "bare: a folder without pictures" in str(error.value)
    assert "notes.txt: not one of .bmp" in str(error.value)


def test_videos_are_read_or_name_the_missing_package(tmp_path):
    path = tmp_path / "face.mp4"
    try:
        import av
    except ImportError:
        path.write_bytes(b"anything")
        with pytest.raises(frames.FrameError, match=r"need PyAV .*\[video\]"):
            list(frames.read_frames(path, 16))
        return
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        for value in (0, 120, 240):
            image = np.full((32, 32, 3), value, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    found = list(frames.read_frames(path, 16))
    assert [frame.number for frame in found] == [0, 1, 2]
    np.testing.assert_allclose([f.image.mean() for f in found], [0, 120, 240], atol=6)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90, -180])
def test_frames_are_rotated_by_the_metadata_of_their_video(tmp_path, monkeypatch, rotation):
    pixels = tiny.images(1)[0]
    frame = types.SimpleNamespace(rotation=rotation, to_ndarray=lambda format: pixels)
    container = types.SimpleNamespace(decode=lambda video: [frame])
    opened = types.SimpleNamespace(open=lambda path: contextlib.nullcontext(container))
    monkeypatch.setitem(sys.modules, "av", opened)
    [found] = frames.read_frames(tmp_path / "a.mp4", 16)
    counter_clockwise = Image.fromarray(pixels).rotate(rotation)
    np.testing.assert_array_equal(found.image, counter_clockwise)


def test_video_of_a_telephone_is_turned_upright(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "face.mp4"
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16] = 255  # the left half, which a quarter turn clockwise brings to the top
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
            container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    # The matrix in the track's header, a b u c d v x y w, is at first the one that turns nothing.
    whole, one = path.read_bytes(), 1 << 16
    at = whole.index(b"tkhd") + 44
    assert struct.unpack(">9i", whole[at : at + 36]) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    clockwise = struct.pack(">9i", 0, one, 0, -one, 0, 0, 32 * one, 0, 1 << 30)
    path.write_bytes(whole[:at] + clockwise + whole[at + 36 :])
    [frame] = frames.read_frames(path, 16)
    assert frame.image[:7].min() > 200 and frame.image[9:].max() < 50


def test_unique_stems_names_every_file_differently():
    files = [Path(name) for name in ("x/a.png", "a-2.png", "y/a.jpg", "z/a.gif", "b.png", "a.bmp")]
    assert frames.unique_stems(files) == ["a", "a-2", "a-3", "a-4", "b", "a-5"]
    assert frames.unique_stems(files[::-1]) == ["a", "b", "a-3", "a-4", "a-2", "a-5"]
