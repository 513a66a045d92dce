"""ME-GraphAU (Luo et al., IJCAI 2022), an image recogniser of action units with a graph of units.

    image -> backbone -> one vector a position            [B, N, D]
          -> a linear block for each unit (AFG)           [B, A, N, D], mean over N: nodes [B, A, D]
    stage 1 (ANFL): each node exchanges messages with its nearest nodes, which depend on the face
    stage 2 (MEFL): every ordered pair of units has an edge vector, computed from the image regions
                    that both units attend to (GEM); a gated graph network of two layers updates
                    nodes and edges
          -> cosine with a learned vector of each unit (SC)     [B, A] in [0, 1]

Stage 2 starts from the backbone, linear blocks and cosine vectors of stage 1. Its edges also
predict the activation of their two units.
"""

import functools
from collections.abc import Mapping
from typing import Any

import einops
import flax.struct
import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from auface_jax.models import resnet, swin
from auface_jax.models.resnet import BatchNorm, ResNet
from auface_jax.models.swin import Swin

BACKBONES = (*resnet.SIZES, *swin.SIZES)

# Mean and standard deviation of RGB in [0, 1] that the published backbones were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Initial values of the linear layers of the original, scaled by the number of outputs.
_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


@flax.struct.dataclass
class Recognition:
    """Output of the recogniser for B faces.

    Attributes:
      probabilities: cosines in [0, 1], float32, taken as probabilities; 0.5 and more is present.
      nodes: vectors of the units between graph network and cosine, 0 or more: the anatomical
        feature of Stage I's loss.
      edges: logits, float32, that the first and the second unit of a pair are absent and absent,
        absent and present, present and absent, present and present; None in stage 1.
    """

    probabilities: Float[Array, "B A"]
    nodes: Float[Array, "B A D"]
    edges: Float[Array, "B A A 4"] | None


class LinearBlock(nn.Module):
    """Linear layer, batch normalisation over examples and positions, ReLU."""

    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N C"], train: bool) -> Float[Array, "B N D"]:
        x = nn.Dense(self.width, dtype=self.dtype, kernel_init=_fan_out, name="fc")(x)
        return nn.relu(BatchNorm(use_running_average=not train, dtype=self.dtype, name="bn")(x))


def nearest_nodes(nodes: Float[Array, "B A D"], neighbours: int) -> Float[Array, "B A A"]:
    """Returns the graph of nearest nodes: 1 from each unit to its `neighbours` nearest, else 0.

    Nearness is the dot product. A unit is a candidate for itself, and all units that tie for the
    last place are neighbours. The graph is discontinuous in the nodes, so no gradient passes.
    """
    nodes = jax.lax.stop_gradient(nodes)
    similarity = jnp.einsum("bid,bjd->bij", nodes, nodes)
    threshold = jax.lax.top_k(similarity, neighbours)[0][..., -1:]
    return (similarity >= threshold).astype(nodes.dtype)


class NearestGraph(nn.Module):
    """Graph network of stage 1 (ANFL): ReLU(x + BN(Â V x + U x)).

    Â = Δ^-1/2 A Δ^-1/2, where A is the graph of nearest nodes and Δ the number of neighbours of
    each unit.

    Attributes:
      neighbours: number of nearest nodes.
    """

    neighbours: int

    @nn.compact
    def __call__(self, x: Float[Array, "B A D"], *, train: bool) -> Float[Array, "B A D"]:
        width = x.shape[-1]
        graph = nearest_nodes(x, self.neighbours)
        scale = jax.lax.rsqrt(graph.sum(-1))  # [B, A]
        graph = scale[:, :, None] * graph * scale[:, None, :]
        dense = functools.partial(nn.Dense, width, kernel_init=_fan_out)
        messages = graph @ dense(name="V")(x) + dense(name="U")(x)
        norm = BatchNorm(use_running_average=not train, axis=1, name="bn")
        return nn.relu(x + norm(messages))


class Projections(nn.Module):
    """Projections for attention with one head: queries of one map, keys and values of another."""

    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, asking: Float[Array, "... N D"], answering: Float[Array, "... M D"]
    ) -> tuple[Array, Array, Array]:
        """Returns queries [..., N, D/2], scaled, keys [..., M, D/2], and values [..., M, D]."""
        dense = functools.partial(nn.Dense, dtype=self.dtype, kernel_init=_fan_out)
        half = self.width // 2
        queries = dense(half, name="q")(asking) * half**-0.5
        return queries, dense(half, name="k")(answering), dense(self.width, name="v")(answering)


class EdgeFeatures(nn.Module):
    """Graph edge modelling (GEM): a vector for every ordered pair of units.

    The map of each unit first attends to the map of the image (FAM). Then, for the pair (i, j), the
    map of j attends to that of i (ARM). Batch normalisation has its own statistics for each pair.
    """

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, unit_maps: Float[Array, "B A N D"], image_map: Float[Array, "B N D"], *, train: bool
    ) -> Float[Array, "B A A D"]:
        width, units = unit_maps.shape[-1], unit_maps.shape[1]
        q, k, v = Projections(width, self.dtype, name="of_image")(unit_maps, image_map)
        weights = _softmax(jnp.einsum("bind,bmd->binm", q, k))
        maps = jnp.einsum("binm,bmd->bind", weights, v)
        q, k, v = Projections(width, self.dtype, name="of_units")(maps, maps)
        weights = _softmax(jnp.einsum("bjnd,bimd->bijnm", q, k))
        pairs = jnp.einsum("bijnm,bimd->bijnd", weights, v)
        pairs = nn.Dense(width, dtype=self.dtype, kernel_init=_fan_out, name="proj")(pairs)
        pairs = einops.rearrange(pairs, "b i j n d -> b (i j) n d")
        pairs = BatchNorm(use_running_average=not train, axis=1, dtype=self.dtype, name="bn")(pairs)
        return einops.reduce(pairs, "b (i j) n d -> b i j d", "mean", i=units)


class GatedLayer(nn.Module):
    """Layer of a residual gated graph network (Bresson & Laurent 2017) with edge vectors.

    An edge (i, j) leads from unit j to unit i. e <- e + ReLU(BN(A xᵢ + B xⱼ + E e)), then
    x <- ReLU(x + BN(U xᵢ + mean over j of g (V xⱼ))), the gate g a softmax over j of sigmoid(e).
    """

    @nn.compact
    def __call__(
        self, nodes: Float[Array, "B A D"], edges: Float[Array, "B A A D"], *, train: bool
    ) -> tuple[Float[Array, "B A D"], Float[Array, "B A A D"]]:
        units, width = nodes.shape[1:]

        def linear(name, x):
            init = nn.initializers.normal((2.0 / width) ** 0.5)
            return nn.Dense(width, use_bias=False, kernel_init=init, name=name)(x)

        def norm(name, x):
            return BatchNorm(use_running_average=not train, axis=1, name=name)(x)

        change = linear("A", nodes)[:, :, None] + linear("B", nodes)[:, None] + linear("E", edges)
        change = norm("bn_edges", einops.rearrange(change, "b i j d -> b (i j) d"))
        edges = edges + nn.relu(einops.rearrange(change, "b (i j) d -> b i j d", i=units))
        gates = jax.nn.softmax(jax.nn.sigmoid(edges), axis=2)
        messages = jnp.einsum("bijd,bjd->bid", gates, linear("V", nodes)) / units
        nodes = nn.relu(nodes + norm("bn_nodes", linear("U", nodes) + messages))
        return nodes, edges


class AURecognizer(nn.Module):
    """Both stages of ME-GraphAU on one backbone.

    Attributes:
      backbone: a `ResNet` or a `Swin`.
      width: width D of the nodes; in the original a quarter of a ResNet's features, or half of a
        Swin's.
      units: number of action units A.
      stage: 1 or 2; shared layers have the same names, so one tree of variables may serve both.
      neighbours: number of nearest nodes in stage 1.
      dtype: of backbone, linear blocks and edge maps; graph networks and outputs are float32.
    """

    backbone: nn.Module
    width: int
    stage: int = 2
    units: int = 12
    neighbours: int = 4
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.image_block = LinearBlock(self.width, self.dtype)
        # The weights of all units are stacked: a twelfth of the operations to compile.
        self.unit_blocks = nn.vmap(
            LinearBlock,
            in_axes=(None, None),
            out_axes=1,
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True},
            axis_size=self.units,
        )(self.width, self.dtype)
        if self.stage == 1:
            self.nearest_graph = NearestGraph(self.neighbours)
        elif self.stage == 2:
            self.edge_features = EdgeFeatures(self.dtype)
            self.gated_layers = [GatedLayer(), GatedLayer()]
            self.edge_classifier = nn.Dense(4, kernel_init=nn.initializers.xavier_uniform())
        else:
            raise ValueError(f"stage is {self.stage}, expected 1 (nearest nodes) or 2 (edges)")
        self.centres = self.param(
            "centres", nn.initializers.xavier_uniform(), (self.units, self.width)
        )

    def __call__(self, image: Float[Array, "B H W 3"], *, train: bool = False) -> Recognition:
        """Recognises units in images in [-1, 1].

        With `train`, batch statistics are used and updated (`mutable`).
        """
        image_map, unit_maps = self.unit_maps(image, train=train)
        nodes = unit_maps.astype(jnp.float32).mean(2)
        if self.stage == 1:
            nodes = self.nearest_graph(nodes, train=train)
            return Recognition(self.classify(nodes), nodes, None)
        edges = self.edge_features(unit_maps, image_map, train=train).astype(jnp.float32)
        for layer in self.gated_layers:
            nodes, edges = layer(nodes, edges, train=train)
        return Recognition(self.classify(nodes), nodes, self.edge_classifier(edges))

    def unit_maps(
        self, image: Float[Array, "B H W 3"], *, train: bool = False
    ) -> tuple[Float[Array, "B N D"], Float[Array, "B A N D"]]:
        """Computes the map of the whole image, and that of each unit."""
        mean, std = jnp.asarray(IMAGENET_MEAN), jnp.asarray(IMAGENET_STD)
        x = self.backbone((image * 0.5 + 0.5 - mean) / std, train=train)
        image_map = self.image_block(einops.rearrange(x, "b h w c -> b (h w) c"), train)
        return image_map, self.unit_blocks(image_map, train)

    def classify(self, nodes: Float[Array, "B A D"]) -> Float[Array, "B A"]:
        """Computes the cosine of each node with its unit's centre; no entry is negative (SC)."""
        centres = _normalized(nn.relu(self.centres))
        return (_normalized(nodes.astype(jnp.float32)) * centres).sum(-1)


def make_recognizer(
    backbone: str,
    *,
    stage: int = 2,
    width: int = 0,
    dtype: jnp.dtype = jnp.float32,
    backbone_fields: Mapping[str, Any] | None = None,
) -> AURecognizer:
    """Creates the recogniser on a backbone of `BACKBONES`.

    Args:
      backbone: name of the backbone.
      stage: 1 or 2.
      width: width D of the nodes; 0 takes a quarter of a ResNet's features, or half of a Swin's, as
        the original does.
      dtype: of the computation.
      backbone_fields: fields of `ResNet` or `Swin` that replace the published ones, such as fewer
        channels for small images.

    Raises:
      ValueError: the backbone is unknown; the message lists those that exist.
    """
    # Fields of modules are hashed, so JSON's lists become tuples.
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in (backbone_fields or {}).items()
    }
    if backbone in resnet.SIZES:
        network = ResNet(**{**resnet.SIZES[backbone], **fields}, dtype=dtype)
        original = network.features // 4
    elif backbone in swin.SIZES:
        network = Swin(**{**swin.SIZES[backbone], **fields}, dtype=dtype)
        original = network.features // 2
    else:
        raise ValueError(f"backbone {backbone!r} is not one of {', '.join(BACKBONES)}")
    return AURecognizer(backbone=network, width=width or original, stage=stage, dtype=dtype)


def _softmax(scores: Float[Array, "... M"]) -> Float[Array, "... M"]:
    """Computes a softmax in float32 and returns it in the type of `scores`."""
    return jax.nn.softmax(scores.astype(jnp.float32)).astype(scores.dtype)


def _normalized(x: Float[Array, "... D"]) -> Float[Array, "... D"]:
    """Normalises vectors to x / |x|; 0 stays 0, with a finite gradient."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-24))
