"""Comparison of a port with its original.

Both networks get the same weights. Every parameter and buffer is random, so that a test notices
swapped keys. The outputs of each stage must agree to 1e-4 of the largest output in float32. The
test report keeps the measured errors, and `benchmarks/parity.py` makes the table of
docs/results/parity.md from it.
"""

import numpy as np
import pytest

BOUND = 1e-4
REASON = "needs the originals: run `make test-parity`"


def import_torch():
    """Imports torch, or skips the test; call this before importing anything built on torch.

    A torch without CUDA cannot load the compiled operators in torchvision's published wheels, and
    torchvision imports only if two of these operators are declared. The torch models of
    transformers import torchvision where it is installed, and fail with it.
    """
    torch = pytest.importorskip("torch", reason=REASON)
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARIES.append(library)  # declarations last as long as the library object
        import torchvision  # noqa: F401
    except ImportError:
        pass
    return torch


_LIBRARIES: list = []


def redraw(module, seed=0):
    """Redraws every parameter and buffer of a torch module; returns its state as arrays.

    Weights of linear and convolutional layers preserve the scale of their inputs (He et al. 2015).
    Scale vectors are N(1, 0.2), shift vectors and running means N(0, 0.1), and running variances
    U(0.5, 2).
    """
    import torch

    rng = np.random.default_rng(seed)
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not tensor.is_floating_point():
            continue
        shape = tuple(tensor.shape)
        if name.endswith("running_var"):
            values = rng.uniform(0.5, 2.0, shape)
        elif len(shape) > 1:
            values = (
                rng.standard_normal(shape, np.float32) * float(np.prod(shape[1:]) / 2.0) ** -0.5
            )
        elif name.endswith("weight"):
            values = rng.normal(1.0, 0.2, shape)
        else:
            values = rng.normal(0.0, 0.1, shape)
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(values.astype(np.float32, copy=False)))
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


def assert_parity(record_property, network, stage, ours, theirs, bound=BOUND):
    """Asserts that max |a - b| / max |b| is at most `bound`, and records the error.

    `record_property` is pytest's fixture.
    """
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.isfinite(theirs).all() and np.ptp(theirs) > 0
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    record_property("parity", f"{network}|{stage}|{error:.1e}|{bound:.0e}")
    assert error <= bound, f"{network}, {stage}: {error:.2e}"
