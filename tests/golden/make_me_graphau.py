"""Runs ME-GraphAU itself, from a clone, and keeps what it computes, for the tests of its port.

    python tests/golden/make_me_graphau.py --clone PATH

PATH is a clone of github.com/CVI-SZU/ME-GraphAU. Needs torch; torchvision and timm, which the
original imports for little, are stood in for. All weights and buffers are redrawn from their names,
so the file holds none: only keys and shapes, inputs, and outputs stage by stage.

The original's stage 2 binds its graph's matrices only on a GPU; here it is told that it has one.
"""

import argparse
import functools
import json
import sys
import types
import zlib
from pathlib import Path
from unittest import mock

import numpy as np

OUT = Path(__file__).with_name("me_graphau.npz")
PIXELS = 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# A Swin Transformer of the original's code at a size that a test can run.
TINY_SWIN = {"embed_dim": 24, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 3, 6], "window_size": 4}
# name -> (stage, backbone by the original's name, whether to take TINY_SWIN in its place)
CASES = {
    "resnet18_stage1": (1, "resnet18", False),
    "resnet18_stage2": (2, "resnet18", False),
    "resnet50_stage2": (2, "resnet50", False),
    "swin_stage1": (1, "swin_transformer_tiny", True),
    "swin_stage2": (2, "swin_transformer_tiny", True),
}
BACKBONES = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "swin_tiny": "swin_transformer_tiny",
    "swin_small": "swin_transformer_small",
    "swin_base": "swin_transformer_base",
}


def redrawn(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 values of a parameter or buffer, from its name alone."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        values = rng.uniform(0.5, 2.0, shape)
    elif key.endswith("running_mean") or key.endswith("bias"):
        values = rng.normal(0.0, 0.1, shape)
    elif len(shape) == 1:  # the scale of a norm
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.normal(0.0, np.prod(shape[1:]) ** -0.5, shape)
    return values.astype(np.float32)


def is_drawn(key: str) -> bool:
    """Whether `redrawn` applies: to all but counters and fixed tables."""
    return not key.endswith(("num_batches_tracked", "relative_position_index", "attn_mask"))


def inputs(rows: int = 2) -> np.ndarray:
    """Smooth random pictures in [-1, 1], [rows, PIXELS, PIXELS, 3]."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(-1, 1, (rows, 8, 8, 3)).repeat(8, axis=1).repeat(8, axis=2)
    return np.clip(coarse + rng.normal(0, 0.1, coarse.shape), -1, 1).astype(np.float32)


def load_original(clone: Path):
    """The original's modules (ANFL, MEFL, SwinTransformer), with stand-ins for what it imports."""
    import torch

    class DropPath(torch.nn.Identity):  # never drops: only evaluation is compared
        def __init__(self, rate):
            super().__init__()

    layers = types.ModuleType("timm.models.layers")
    layers.DropPath, layers.trunc_normal_ = DropPath, lambda tensor, std: tensor
    layers.to_2tuple = lambda x: (x, x)
    vision = types.ModuleType("torchvision")
    vision.models = types.ModuleType("torchvision.models")
    stand_ins = {
        "timm": types.ModuleType("timm"),
        "timm.models": types.ModuleType("timm.models"),
        "timm.models.layers": layers,
        "torchvision": vision,
        "torchvision.models": vision.models,
    }
    if not (clone / "model" / "MEFL.py").is_file():
        raise SystemExit(f"error: {clone} is no clone of ME-GraphAU: it has no model/MEFL.py")
    sys.path.insert(0, str(clone))
    with mock.patch.dict(sys.modules, stand_ins):
        from model import ANFL, MEFL
        from model.swin_transformer import SwinTransformer
    return ANFL, MEFL, SwinTransformer


def build(original, stage: int, backbone: str, *, tiny: bool = False):
    """The original's network without weights from files."""
    import torch

    anfl, mefl, swin = original
    module = {1: anfl, 2: mefl}[stage]
    if tiny:
        make = functools.partial(swin, img_size=PIXELS, **TINY_SWIN)
    else:
        make = functools.partial(getattr(module, backbone), pretrained=False)
    # Its own initial values, which take most of the time, are not wanted.
    undrawn = {"normal_": lambda x, *_, **__: x, "uniform_": lambda x, *_, **__: x}
    with mock.patch.object(module, backbone, make), mock.patch.multiple(torch.Tensor, **undrawn):
        return module.MEFARG(num_classes=12, backbone=backbone).eval()


def redraw(network) -> None:
    """Gives a torch network the weights of `redrawn`."""
    import torch

    state = network.state_dict()
    drawn = {
        key: torch.from_numpy(redrawn(key, tuple(state[key].shape)))
        for key in state
        if is_drawn(key)
    }
    network.load_state_dict({**state, **drawn})


class Here:
    """A tensor that stays where it is when it is sent to a GPU."""

    def __init__(self, tensor):
        self.tensor = tensor

    def to(self, device):
        return self.tensor


def run(original, network, stage: int, images: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of every stage of one network, by name."""
    import torch

    found, anfl = {}, original[0]

    def keep(name):
        return lambda module, args, output: found.__setitem__(name, output)

    network.backbone.register_forward_hook(keep("backbone"))
    network.global_linear.register_forward_hook(keep("image_map"))
    for unit, block in enumerate(network.head.class_linears):
        block.register_forward_hook(keep(f"unit{unit}"))
    network.head.gnn.register_forward_hook(keep("graph"))
    on_gpu = mock.patch.object(torch.Tensor, "get_device", lambda tensor: -1)
    if stage == 2:
        network.head.edge_extractor.register_forward_hook(keep("pairs"))
        gnn = network.head.gnn
        gnn.start, gnn.end = Here(gnn.start), Here(gnn.end)
        on_gpu = mock.patch.object(torch.Tensor, "get_device", lambda tensor: 0)

    normalize = anfl.normalize_digraph

    def keep_neighbours(neighbours):
        found["neighbours"] = neighbours
        return normalize(neighbours)

    x = ((images + 1) / 2 - np.float32(MEAN)) / np.float32(STD)
    x = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32))
    with torch.no_grad(), on_gpu, mock.patch.object(anfl, "normalize_digraph", keep_neighbours):
        output = network(x)
    found["unit_maps"] = torch.stack([found.pop(f"unit{unit}") for unit in range(12)], dim=1)
    if stage == 2:
        found["nodes"], found["edge_vectors"] = found.pop("graph")
        found["edge_features"] = found.pop("pairs").mean(dim=-2)
        found["probabilities"], found["edges"] = output
        for name in ("edge_vectors", "edge_features", "edges"):
            found[name] = found[name].reshape(len(images), 12, 12, -1)
    else:
        found["nodes"], found["probabilities"] = found.pop("graph"), output
    return {name: tensor.numpy() for name, tensor in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clone", type=Path, required=True, help="a clone of ME-GraphAU")
    options = parser.parse_args()
    original = load_original(options.clone)
    images = inputs()
    arrays, shapes = {}, {}
    for name, (stage, backbone, tiny) in CASES.items():
        network = build(original, stage, backbone, tiny=tiny)
        redraw(network)
        shapes[name] = {key: list(value.shape) for key, value in network.state_dict().items()}
        outputs = run(original, network, stage, images)
        if outputs["nodes"].shape[-1] > 128:  # most of a large file, and compared at other sizes
            del outputs["edge_vectors"], outputs["edge_features"], outputs["unit_maps"]
        arrays |= {f"{name}/{stage_name}": value for stage_name, value in outputs.items()}
    for name, backbone in BACKBONES.items():
        for stage in (1, 2):
            network = build(original, stage, backbone)
            state = network.state_dict()
            shapes[f"{name}_{stage}"] = {key: list(value.shape) for key, value in state.items()}
    arrays["shapes"] = np.frombuffer(json.dumps(shapes).encode(), np.uint8)
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT}: {len(arrays)} arrays, {OUT.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
