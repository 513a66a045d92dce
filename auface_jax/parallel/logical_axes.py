"""Logical names of the dimensions of large parameters, by the path of the parameter.

`sharding.py` lays parameters out by these names and a config's `mesh.rules`. The names are not kept
in boxes around each parameter, as Linen could keep them: weights of frozen networks come from
files, and optimizers, averages and checkpoints hold plain arrays, while a path is the same in all.

    embed   residual stream of a transformer
    heads   all heads of an attention layer together
    mlp     hidden layer of a feed-forward network
    vocab   codes of a codebook, or vocabulary of a text

The models name activations themselves, by `nn.with_logical_constraint`, where XLA would not find
the layout by itself: `batch`, and the last three.
"""

import re

# End of a parameter's path -> names of its last dimensions. Convolutions have no names: activations
# of an image are far larger than their weights, so that only the storage of weights is split.
LOGICAL_AXES = tuple(
    (re.compile(rf"(^|/){pattern}$"), names)
    for pattern, names in (
        (r"(qkv|query|key|value|key_value)/kernel", ("embed", "heads")),
        (r"\w*attention/out/kernel", ("heads", "embed")),
        (r"(mlp|level_mlps_\d+)/in/kernel", ("embed", "mlp")),  # layers.GatedMLP
        (r"(mlp|level_mlps_\d+)/out/kernel", ("mlp", "embed")),
        (r"(feed_forward|block_\d+)/(hidden|gate)/kernel", ("embed", "mlp")),  # T5, CLIP
        (r"(feed_forward|block_\d+)/out/kernel", ("mlp", "embed")),
        (r"embedding/embedding", ("vocab", "embed")),  # of texts
        (r"(code_embedding|level_embedding|head)", ("vocab", "embed")),  # of each level
        (r"head/Dense_[02]/kernel", ("embed", "mlp")),  # AUTextHead
        (r"head/Dense_1/kernel", ("mlp", "embed")),
    )
)


def logical_axes(path: str, dimensions: int) -> tuple[str | None, ...]:
    """Returns the names of a parameter's dimensions, None for dimensions without, such as layers.

    Args:
      path: path of the parameter, or of an optimizer's moment of it, with "/" between names.
      dimensions: number of dimensions.
    """
    for pattern, names in LOGICAL_AXES:
        if pattern.search(path) and len(names) <= dimensions:
            return (None,) * (dimensions - len(names)) + names
    return (None,) * dimensions
