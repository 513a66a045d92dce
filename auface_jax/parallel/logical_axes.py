"""What the dimensions of the large parameters are, by the parameter's place in its network.

`sharding.py` lays parameters out by these names and a config's `mesh.rules`. They stand here and
not in boxes around each parameter, as Linen can keep them: weights of frozen networks come from
files, optimisers, averages and checkpoints hold plain arrays, and a place says the same of all.

    embed   the residual stream of a transformer
    heads   all of an attention's heads together
    mlp     the hidden layer of a feed-forward
    vocab   codes of a codebook, or tokens of a text

Activations are named in the models themselves, in `nn.with_logical_constraint`, where XLA would not
find the layout by itself: `batch`, and the last three.
"""

import re

# The end of a parameter's path -> its last dimensions. Networks of convolutions have no names: what
# they send for a picture is far larger than their weights, so only the weights' storage is split.
LOGICAL_AXES = tuple(
    (re.compile(rf"(^|/){place}$"), names)
    for place, names in (
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
    """The names of a parameter's dimensions, None for those without; of levels and layers, say.

    Args:
      path: of the parameter, or of an optimiser's moment of it: names with "/" between.
      dimensions: how many there are.
    """
    for place, names in LOGICAL_AXES:
        if place.search(path) and len(names) <= dimensions:
            return (None,) * (dimensions - len(names)) + names
    return (None,) * dimensions
