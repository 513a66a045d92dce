"""A folder of picture files."""

from pathlib import Path

from PIL import Image

from tests.helpers import tiny


def write_pictures_folder(folder: Path) -> Path:
    """Writes `tiny.images(5)` to a new folder; returns the folder.

    `b.png` is the first picture, `a.jpg` the second at 40 x 24 px, and `deep/c.gif` has the others
    as its frames. `notes.txt` is no picture.
    """
    (folder / "deep").mkdir(parents=True)
    images = [Image.fromarray(image) for image in tiny.images(5)]
    images[0].save(folder / "b.png")
    images[1].resize((40, 24)).save(folder / "a.jpg")
    images[2].save(folder / "deep" / "c.gif", save_all=True, append_images=images[3:])
    (folder / "notes.txt").write_text("no picture")
    return folder
