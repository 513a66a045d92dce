"""Table of ME-GraphAU's released checkpoints, of both stages and every backbone.

    python -m auface_jax.pretrained.convert me_graphau CHECKPOINT.pth weights/me-graphau

The network itself is `models/me_graphau.py`.
"""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np

from auface_jax.models import resnet, swin
from auface_jax.models.me_graphau import make_recognizer
from auface_jax.pretrained.tables import (
    BATCH_COUNTERS,
    Network,
    Rule,
    batch_norm_rules,
    conv_rules,
    linear_rules,
    norm_rules,
)
from auface_jax.pretrained.weight_files import Source, WeightFileError

# The released networks read the centre of faces that are aligned and resized to 256 px.
IMAGE_SIZE, CROP = 256, 224


def fields(source: Source) -> dict[str, str | int]:
    """Reads backbone and stage off the keys of a checkpoint.

    Raises:
      WeightFileError: the keys belong to no known backbone, or to neither stage.
    """
    keys = source.shapes
    if "backbone.patch_embed.proj.weight" in keys:
        blocks = [_count(keys, rf"backbone\.layers\.{level}\.blocks") for level in range(4)]
        found = {"width": keys["backbone.patch_embed.proj.weight"][0], "depths": tuple(blocks)}
        sizes = {
            name: {part: of_size[part] for part in found} for name, of_size in swin.SIZES.items()
        }
    else:
        blocks = [_count(keys, rf"backbone\.layer{level}") for level in range(1, 5)]
        bottleneck = "backbone.layer1.0.conv3.weight" in keys
        found, sizes = {"bottleneck": bottleneck, "depths": tuple(blocks)}, resnet.SIZES
    backbones = [name for name, of_size in sizes.items() if of_size == found]
    stages = [
        stage
        for stage, key in ((1, "head.gnn.U.weight"), (2, "head.edge_fc.weight"))
        if key in keys
    ]
    if len(backbones) != 1 or len(stages) != 1:
        raise WeightFileError(
            f"{source.name} is not a checkpoint of ME-GraphAU: its blocks by resolution are "
            f"{blocks}, expected those of {', '.join((*resnet.SIZES, *swin.SIZES))}; of the keys "
            f"head.gnn.U.weight (stage 1) and head.edge_fc.weight (stage 2) it has {len(stages)}, "
            "expected one"
        )
    return {"backbone": backbones[0], "stage": stages[0]}


def _count(keys, prefix: str) -> int:
    """Returns the number of numbered modules under a prefix."""
    return len({match[1] for key in keys if (match := re.match(rf"{prefix}\.(\d+)\.", key))})


def stack_units(source: Source) -> Source:
    """Stacks the tensors of the units' linear blocks to one tensor [A, ...] in order.

    Keys such as `head.class_linears.3.fc.weight` become `head.class_linears.fc.weight`. Incomplete
    sets stay as they are, and the table reports them.
    """
    by_name: dict[str, dict[int, str]] = {}
    for key in source.shapes:
        if match := re.fullmatch(r"head\.class_linears\.(\d+)\.(.+)", key):
            by_name.setdefault(f"head.class_linears.{match[2]}", {})[int(match[1])] = key
    stacks = {
        name: [keys[unit] for unit in sorted(keys)]
        for name, keys in by_name.items()
        if sorted(keys) == list(range(len(keys)))
        and len({source.shapes[key] for key in keys.values()}) == 1
    }
    stacked = {key for keys in stacks.values() for key in keys}
    shapes = {key: shape for key, shape in source.shapes.items() if key not in stacked}
    shapes |= {name: (len(keys), *source.shapes[keys[0]]) for name, keys in stacks.items()}

    def read(key: str) -> np.ndarray:
        return (
            np.stack([source.read(k) for k in stacks[key]]) if key in stacks else source.read(key)
        )

    return dataclasses.replace(source, shapes=shapes, read=read)


def linear_each(array: np.ndarray) -> np.ndarray:
    """Transposes stacked torch linear layers [A, out, in] to kernels [A, in, out]."""
    return array.swapaxes(-1, -2)


def _projections(source: str, target: str) -> tuple[Rule, ...]:
    """Returns the rules of queries, keys and values of an attention."""
    return linear_rules(rf"head\.edge_extractor\.{source}\.linear_([qkv])", rf"{target}/\1")


RESNET_RULES = (
    *conv_rules(r"backbone\.conv1", "backbone/conv1"),
    *batch_norm_rules(r"backbone\.bn1", "backbone/bn1"),
    *conv_rules(r"backbone\.layer(\d)\.(\d+)\.conv(\d)", r"backbone/layer\1_\2/conv\3"),
    *batch_norm_rules(r"backbone\.layer(\d)\.(\d+)\.bn(\d)", r"backbone/layer\1_\2/bn\3"),
    *conv_rules(r"backbone\.layer(\d)\.0\.downsample\.0", r"backbone/layer\1_0/skip_conv"),
    *batch_norm_rules(r"backbone\.layer(\d)\.0\.downsample\.1", r"backbone/layer\1_0/skip_bn"),
)


def _block(level: int, source: str, target: str, rules) -> tuple[Rule, ...]:
    """Returns the rules of a module of all blocks at one resolution; the original counts from 0."""
    return rules(
        rf"backbone\.layers\.{level}\.blocks\.(\d+)\.{source}",
        rf"backbone/layer{level + 1}_\1/{target}",
    )


SWIN_RULES = (
    *conv_rules(r"backbone\.patch_embed\.proj", "backbone/patches"),
    *norm_rules(r"backbone\.patch_embed\.norm", "backbone/patches_norm"),
    *norm_rules(r"backbone\.norm", "backbone/norm"),
    *(
        rule
        for level in range(4)
        for rule in (
            *_block(level, "norm1", "norm1", norm_rules),
            *_block(level, "norm2", "norm2", norm_rules),
            *_block(level, r"attn\.qkv", "attention/qkv", linear_rules),
            *_block(level, r"attn\.proj", "attention/out", linear_rules),
            *_block(level, r"mlp\.fc1", "hidden", linear_rules),
            *_block(level, r"mlp\.fc2", "out", linear_rules),
            Rule(
                rf"backbone\.layers\.{level}\.blocks\.(\d+)\.attn\.relative_position_bias_table",
                rf"params/backbone/layer{level + 1}_\1/attention/bias_table",
            ),
            # The original merges after a resolution, this package before the next.
            *norm_rules(
                rf"backbone\.layers\.{level}\.downsample\.norm", f"backbone/merge{level + 1}_norm"
            ),
            *linear_rules(
                rf"backbone\.layers\.{level}\.downsample\.reduction", f"backbone/merge{level + 1}"
            ),
        )
    ),
)

HEAD_RULES = (
    *linear_rules(r"global_linear\.fc", "image_block/fc"),
    *batch_norm_rules(r"global_linear\.bn", "image_block/bn"),
    Rule(r"head\.class_linears\.fc\.weight", "params/unit_blocks/fc/kernel", linear_each),
    Rule(r"head\.class_linears\.fc\.bias", "params/unit_blocks/fc/bias"),
    *batch_norm_rules(r"head\.class_linears\.bn", "unit_blocks/bn"),
    Rule(r"head\.sc", "params/centres"),
    # Stage 1.
    *linear_rules(r"head\.gnn\.([UV])", r"nearest_graph/\1"),
    *batch_norm_rules(r"head\.gnn\.bnv", "nearest_graph/bn"),
    # Stage 2.
    *_projections("FAM", "edge_features/of_image"),
    *_projections("ARM", "edge_features/of_units"),
    *linear_rules(r"head\.edge_extractor\.edge_proj", "edge_features/proj"),
    *batch_norm_rules(r"head\.edge_extractor\.bn", "edge_features/bn"),
    *(
        rule
        for layer in range(2)
        for rule in (
            *linear_rules(rf"head\.gnn\.([ABEUV]){layer + 1}", rf"gated_layers_{layer}/\1"),
            *batch_norm_rules(rf"head\.gnn\.bnv{layer + 1}", f"gated_layers_{layer}/bn_nodes"),
            *batch_norm_rules(rf"head\.gnn\.bne{layer + 1}", f"gated_layers_{layer}/bn_edges"),
        )
    ),
    *linear_rules(r"head\.edge_fc", "edge_classifier"),
)

NETWORK = Network(
    module=make_recognizer,
    inputs=(jax.ShapeDtypeStruct((1, CROP, CROP, 3), jnp.float32),),
    fields=fields,
    rules=(*RESNET_RULES, *SWIN_RULES, *HEAD_RULES),
    ignored=(
        BATCH_COUNTERS,
        r"backbone\..*\.attn\.relative_position_index",
        r"backbone\..*\.attn_mask",
    ),
    prepare=stack_units,
)
