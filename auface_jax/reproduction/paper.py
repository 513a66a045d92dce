"""The paper's figures (arXiv 2603.18588).

They are of BP4D, which is another population than the open faces: tables show them in columns of
their own.
"""

COLUMNS = ("FID", "KID", "IS", "LPIPS", "AAAD")

# Name of a model (see `plan.Model.name`), or of another system at the end -> its figures.
FIGURES = {
    "text": (63.604, 0.074, 1.032, 0.390, 0.606),
    "labels": (77.546, 0.091, 1.026, 0.470, 0.459),
    "unseen": (62.180, 0.065, 1.032, 0.390, 0.607),
    "no_structure": (66.031, 0.078, 1.033, 0.396, 0.574),
    "no_appearance": (63.900, 0.073, 1.032, 0.395, 0.592),
    "no_reference": (78.859, 0.097, 1.023, 0.403, 0.578),
    "no_face": (67.489, 0.075, 1.030, 0.407, 0.575),
    "text-no_anatomical": (75.412, 0.088, 1.040, 0.414, 0.599),
    "no_structure-no_anatomical": (60.580, 0.069, 1.035, 0.408, 0.577),
    "no_appearance-no_anatomical": (60.056, 0.068, 1.032, 0.400, 0.578),
    "no_reference-no_anatomical": (86.480, 0.105, 1.019, 0.384, 0.574),
    "no_face-no_anatomical": (85.379, 0.107, 1.011, 0.351, 0.571),
    "GANimation (labels)": (29.388, 0.030, 1.031, 0.502, 0.591),
    "Stable Diffusion 1.5 (LoRA)": (126.217, 0.157, 1.008, 0.475, 0.602),
    "UniPortrait (inference only)": (108.159, 0.092, 1.043, 0.568, 0.588),
    "AnyFace (inference only)": (171.677, 0.175, 1.013, 0.570, 0.555),
}
OTHER_SYSTEMS = tuple(FIGURES)[-4:]


def aaad(name: str) -> float:
    """Returns the paper's AAAD of a model."""
    return FIGURES[name][COLUMNS.index("AAAD")]
