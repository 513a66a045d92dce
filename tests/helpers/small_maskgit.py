"""Sizes and inputs of a tiny MaskGIT."""

import numpy as np

B, N, Q, K, L = 3, 16, 3, 8, 6
VOCABULARY = 50


def example_inputs():
    """Draws random inputs of a VQ-AUFace, none of them dropped."""
    rng = np.random.default_rng(0)
    mask = np.arange(L) < np.array([2, L, 4])[:, None]
    return {
        "text_tokens": rng.integers(1, VOCABULARY, (B, L)).astype(np.int32),
        "text_mask": mask,
        "reference": rng.uniform(-1, 1, (B, 16, 16, 3)).astype(np.float32),
        "reference_latents": rng.normal(size=(B, N, 8)).astype(np.float32),
        "drop_text": np.zeros(B, bool),
        "drop_reference": np.zeros(B, bool),
    }


def example_tokens(layout):
    """Draws random tokens and a mask of about half of them."""
    rng = np.random.default_rng(1)
    codes = rng.integers(0, K, (B, N, Q)).astype(np.int32)
    masked = rng.random((B, N, 1 if layout == "depth" else Q)) < 0.5
    return codes, np.broadcast_to(masked, codes.shape).copy()
