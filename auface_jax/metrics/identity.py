"""Identity and diversity of faces, as cosines of embeddings.

These scores are this project's own; the paper has none of them. Any embedding may be used, so that
a report names the network that computed it.
"""

import numpy as np
from jaxtyping import Float


def identity_similarity(
    generated: Float[np.ndarray, "M D"], references: Float[np.ndarray, "M D"]
) -> Float[np.ndarray, " M"]:
    """Computes the cosine in [-1, 1] of each picture's embedding and its reference's embedding.

    Raises:
      ValueError: the shapes differ, or an embedding is zero or not finite.
    """
    if generated.shape != references.shape:
        raise ValueError(
            f"embeddings of {generated.shape} pictures and {references.shape} references do not "
            "pair up; give one reference embedding for each picture"
        )
    return (_unit(generated) * _unit(references)).sum(-1)


def diversity(embeddings: Float[np.ndarray, "seeds M D"]) -> Float[np.ndarray, " M"]:
    """Computes the distance between pictures of one input that are drawn with different seeds.

    Args:
      embeddings: embeddings of M inputs' pictures, drawn with each seed.

    Returns:
      The mean of 1 - cosine over all pairs of seeds for each input, in [0, 2]; 0 where the seed
      changes nothing.

    Raises:
      ValueError: there are fewer than two seeds, or an embedding is zero or not finite.
    """
    seeds = len(embeddings)
    if seeds < 2:
        raise ValueError(f"diversity over {seeds} seed(s); draw each input with two or more")
    unit = _unit(embeddings)
    # The squared length of a sum of unit vectors is their number plus twice the pairs' cosines.
    pairs = (np.square(unit.sum(0)).sum(-1) - seeds) / 2
    return 1.0 - pairs / (seeds * (seeds - 1) / 2)


def _unit(embeddings: np.ndarray) -> np.ndarray:
    embeddings = np.asarray(embeddings, np.float64)
    length = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    bad = np.argwhere(~np.isfinite(length[..., 0]) | (length[..., 0] == 0))
    if len(bad):
        raise ValueError(
            f"{len(bad)} embedding(s) are zero or not finite, the first at {bad[0].tolist()}"
        )
    return embeddings / length
