"""Runs insightface's IR-ResNets and its alignment, from a clone, and keeps what they compute, for
the tests of their port.

    python tests/golden/make_arcface.py --clone PATH

PATH is a clone of github.com/deepinsight/insightface. Needs torch, scikit-image and OpenCV. All
weights and buffers are redrawn from their names, so the file holds none: only keys and shapes, and
the outputs of every stage, of a map at nine of its positions; and an aligned picture.
"""

import argparse
import importlib.util
import json
import zlib
from pathlib import Path

import numpy as np

OUT = Path(__file__).with_name("arcface.npz")
NETWORKS = ("r18", "r34", "r50", "r100")
STAGES = ("prelu", "layer1", "layer2", "layer3", "layer4", "bn2", "fc", "features")
# In pixels of `picture`, whose upper left corner is (0, 0); the second set is turned and near the
# edge, so that part of what is cut out lies outside.
POINTS = np.array(
    [
        [(95, 110), (160, 108), (129, 148), (100, 190), (158, 187)],
        [(40, 90), (103, 60), (90, 112), (85, 158), (135, 132)],
    ],
    np.float32,
)


def redrawn(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 values of a parameter or buffer, from its name alone.

    Branches are kept a tenth as strong as the sums that they go to: over 49 blocks a signal that
    grew with each would drown the offsets of the norms, and a wrong one would not be seen.
    """
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        values = rng.uniform(0.5, 2.0, shape)
    elif key.endswith("running_mean") or key.endswith("bias"):
        values = rng.normal(0.0, 0.1, shape)
    elif key.endswith("prelu.weight"):
        values = rng.uniform(0.0, 0.5, shape)
    elif len(shape) == 1:  # the scale of a norm
        values = rng.uniform(0.5, 1.5, shape)
    else:
        strength = 0.1 if ".conv" in key else 1.0
        values = rng.normal(0.0, (strength / np.prod(shape[1:])) ** 0.5, shape)
    return values.astype(np.float32)


def is_drawn(key: str) -> bool:
    """Whether `redrawn` applies: to all but counters."""
    return not key.endswith("num_batches_tracked")


def faces() -> np.ndarray:
    """A random image in [-1, 1], [1, 112, 112, 3], coarse and fine."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(-1, 1, (1, 14, 14, 3)).repeat(8, axis=1).repeat(8, axis=2)
    return np.clip(coarse + rng.normal(0, 0.1, coarse.shape), -1, 1).astype(np.float32)


def picture() -> np.ndarray:
    """A smooth picture without symmetry, uint8 [256, 256, 3]."""
    y, x = np.mgrid[:256, :256] / 256.0
    waves = [np.sin(9 * x + 3 * y), np.cos(5 * x - 8 * y), np.sin(20 * x * y + 1)]
    return np.round(127.5 + 110 * np.stack(waves, -1)).astype(np.uint8)


def at_nine(stage: np.ndarray) -> np.ndarray:
    """A map [B, H, W, C] at its corners, the middles of its edges and its centre: [B, 3, 3, C]."""
    if stage.ndim == 2:
        return stage
    rows, columns = ([0, n // 2, n - 1] for n in stage.shape[1:3])
    return stage[:, rows][:, :, columns]


def load(path: Path, name: str):
    """A file of the clone as a module of its own."""
    if not path.is_file():
        raise SystemExit(f"error: there is no {path}: is the clone insightface's?")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(network, images: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of every stage of a torch network."""
    import torch

    found = {}
    for stage in STAGES:
        getattr(network, stage).register_forward_hook(
            lambda module, args, output, stage=stage: found.__setitem__(stage, output.clone())
        )
    with torch.no_grad():
        network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    return {
        stage: output.numpy().transpose(0, 2, 3, 1) if output.ndim == 4 else output.numpy()
        for stage, output in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clone", type=Path, required=True, help="a clone of insightface")
    clone = parser.parse_args().clone
    import torch

    backbones = load(clone / "recognition/arcface_torch/backbones/iresnet.py", "iresnet")
    face_align = load(clone / "python-package/insightface/utils/face_align.py", "face_align")
    arrays, shapes = {}, {}
    for name in NETWORKS:
        network = getattr(backbones, f"i{name.replace('r', 'resnet')}")().eval()
        state = network.state_dict()
        drawn = {
            key: torch.from_numpy(redrawn(key, tuple(state[key].shape)))
            for key in state
            if is_drawn(key)
        }
        network.load_state_dict({**state, **drawn})
        shapes[name] = {key: list(value.shape) for key, value in state.items()}
        for stage, output in run(network, faces()).items():
            arrays[f"{name}/{stage}"] = at_nine(output)
    for number, points in enumerate(POINTS):
        # There whole numbers are pixel centres.
        arrays[f"aligned{number}"] = face_align.norm_crop(picture(), points - 0.5)
    arrays["shapes"] = np.frombuffer(json.dumps(shapes).encode(), np.uint8)
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT}: {len(arrays)} arrays, {OUT.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
