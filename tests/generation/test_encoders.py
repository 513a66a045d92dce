"""Stage II with pre-trained encoders: loading of their weights, and the training step."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from auface_jax.data.loading import pipeline
from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.generation.encoders import Encoders, load_encoders
from auface_jax.images.pixels import to_float
from auface_jax.models import clip_vision, quantizer, t5
from auface_jax.models.vqgan import VQGAN
from auface_jax.pretrained import arcface, convert, embedded, hub
from auface_jax.pretrained.weight_files import WeightFileError
from auface_jax.training import run_data
from auface_jax.training.state import parameter_count
from auface_jax.training.tasks.maskgit import MaskGITTask
from tests.helpers import tiny
from tests.helpers.converted import write_converted

T5_FIELDS = tiny.TEXT_FIELDS | {"vocab_size": load_tokenizer("").vocab_size, "d_model": 24}
CLIP_FIELDS = {
    "image_size": 16,
    "patch_size": 8,
    "width": 64,
    "hidden": 32,
    "num_layers": 2,
    "num_heads": 1,
    "activation": "gelu",
}
FIELDS = {
    "text": ("t5", T5_FIELDS),
    "structure": ("clip_vision", CLIP_FIELDS),
    "appearance": ("arcface", {"depths": (1, 1, 1, 1)}),
}


def random_leaves(network, module, seed=0):
    rng = np.random.default_rng(seed)
    leaves = convert.find_network(network).abstract_leaves(module)
    return {
        path: np.abs(rng.normal(0, 0.2, leaf.shape)).astype(np.float32) + 0.01
        if path.endswith("/var")
        else rng.normal(0, 0.2, leaf.shape).astype(np.float32)
        for path, leaf in leaves.items()
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Writes converted folders of random weights."""
    folders = {}
    for name, (network, fields) in FIELDS.items():
        folder = tmp_path_factory.mktemp(name)
        module = convert.find_network(network).module(**fields)
        leaves = random_leaves(network, module)
        write_converted(folder, network, fields, leaves, f"{name:_<64}")
        folders[f"{name}_weights"] = str(folder)
    return folders


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(tiny.build_data(tmp_path_factory.mktemp("encoders") / "data"))


# --- Where weights come from ---------------------------------------------------------------------


def published_t5(folder):
    """Writes a T5 of random weights as Hugging Face publishes it."""
    d, inner, ff = 8, 8, 12
    block = "encoder.block.0.layer"
    shapes = {
        "shared.weight": (30, d),
        f"{block}.0.SelfAttention.q.weight": (inner, d),
        f"{block}.0.SelfAttention.k.weight": (inner, d),
        f"{block}.0.SelfAttention.v.weight": (inner, d),
        f"{block}.0.SelfAttention.o.weight": (d, inner),
        f"{block}.0.SelfAttention.relative_attention_bias.weight": (32, 2),
        f"{block}.0.layer_norm.weight": (d,),
        f"{block}.1.DenseReluDense.wi.weight": (ff, d),
        f"{block}.1.DenseReluDense.wo.weight": (d, ff),
        f"{block}.1.layer_norm.weight": (d,),
        "encoder.final_layer_norm.weight": (d,),
    }
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    arrays = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"feed_forward_proj": "relu"}))
    return folder


def test_converted_published_and_cached_weights_are_the_same_network(tmp_path, monkeypatch):
    published = published_t5(tmp_path / "published")
    converted = convert.convert("t5", published, tmp_path / "converted")
    cache = tmp_path / "cache" / "models--someone--small-t5"
    published_t5(cache / "snapshots" / "abc")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    assert hub.download("someone/small-t5", cache=tmp_path / "cache") == cache / "snapshots" / "abc"
    monkeypatch.setattr(hub, "download", functools.partial(hub.download, cache=tmp_path / "cache"))
    found = [
        hub.load_pretrained(where, "t5", dtype=jnp.bfloat16)
        for where in (str(converted), str(published), "hf:someone/small-t5")
    ]
    for other in found:
        assert other.module == found[0].module and other.module.dtype == jnp.bfloat16
        assert other.fingerprint == found[0].fingerprint
        jax.tree.map(np.testing.assert_array_equal, other.variables, found[0].variables)


def test_missing_weights_are_named_with_the_cure(tmp_path):
    with pytest.raises(WeightFileError, match=r"convert t5 SOURCE weights/no.* hf:OWNER/NAME"):
        hub.load_pretrained("weights/no", "t5")
    with pytest.raises(
        WeightFileError, match=r"hf:a/b: the hub cannot be reached.*hf download a/b"
    ):
        hub.download("a/b", cache=tmp_path)
    with pytest.raises(WeightFileError, match="hf:a/b/c cannot be downloaded"):
        hub.load_pretrained("hf:a/b/c", "t5")


def test_tokenizer_with_more_tokens_than_t5_is_refused(weights):
    config = tiny.stage2_config()
    config.model.text_weights = weights["text_weights"]
    with pytest.raises(ValueError, match="has 99999 tokens, and the text encoder "):
        load_encoders(config, vocab_size=99_999)


def test_embedded_encoder_and_another_tokenizer_are_refused():
    config = tiny.stage2_config()
    config.model.text_weights = "embedded"
    with pytest.raises(ValueError, match="data.tokenizer='' has"):
        load_encoders(config, load_tokenizer("").vocab_size)


# --- What the step makes of them -----------------------------------------------------------------


def test_embedded_encoder_adds_what_the_text_says_of_each_unit():
    config = tiny.stage2_config()
    config.model.text_weights = config.data.tokenizer = "embedded"
    tokenizer = load_tokenizer("embedded")
    encoders, variables, fingerprints = load_encoders(config, tokenizer.vocab_size)
    assert fingerprints["text_weights"] == embedded.load().fingerprint
    texts = ["The chin rises.", "The brows are drawn down and together, and the lids are tense."]
    made = {}
    for length in (24, 32):
        tokens, mask = tokenizer.encode_batch(texts, (length,))
        out = encoders.encode_text(variables, tokens, mask)
        assert out["text_features"].shape == (2, length + 12, 384)
        np.testing.assert_array_equal(out["text_mask"][:, :length], mask)
        assert out["text_mask"][:, length:].all()
        made[length] = np.asarray(out["text_features"][:, length:])
    np.testing.assert_allclose(made[24], made[32], atol=1e-4)  # padding says nothing
    other = np.abs(made[24][0] - made[24][1]).mean(-1)
    assert other.min() > 0.01  # of every unit the two texts say something else


@pytest.mark.slow
def test_stage_two_makes_a_step_on_the_embedded_encoder(data):
    config = tiny.stage2_config(data=data)
    config.model.text_weights = config.data.tokenizer = "embedded"
    task = tiny.stage2_task(config)
    stream = pipeline.training_iterator(
        data, 4, 0, task.text_tokenizer, (64, 128), size=tiny.IMAGE_SIZE, group=2
    )
    batch = run_data.model_inputs(next(stream))
    state = jax.jit(task.init)(jax.random.key(0), batch)
    assert "text" not in state.params and "text_norm" in state.params
    after, metrics = jax.jit(task.step)(state, task.load_frozen(), batch, jax.random.key(1))
    assert np.isfinite(metrics["loss"]) and np.isfinite(metrics["loss_units"])
    kernel = lambda params: params["text_in"]["kernel"]  # noqa: E731
    assert not np.array_equal(kernel(after.params), kernel(state.params))


def test_arcface_input_accounts_for_the_margin(monkeypatch):
    images = to_float(jnp.asarray(tiny.images(2)).repeat(4, 1).repeat(4, 2))  # 64 px
    wide = jnp.pad(images, ((0, 0), (16, 16), (16, 16), (0, 0)))  # margin: a quarter of the crop
    seen = []
    monkeypatch.setattr(
        arcface.ArcFace, "apply", lambda self, variables, x: seen.append(x) or jnp.ones((2, 512))
    )
    network = arcface.ArcFace(depths=(0, 0, 0, 0))
    plain = Encoders(appearance=network).encode_reference({"appearance": {}}, images)
    Encoders(appearance=network, margin=0.25).encode_reference({"appearance": {}}, wide)
    inside = np.s_[:, 40:90, 30:80]  # where both have pixels of the face
    np.testing.assert_allclose(seen[1][inside], seen[0][inside], atol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(plain["appearance"], axis=-1), 512**0.5, rtol=1e-6)


def frozen_config(weights, data):
    config = tiny.stage2_config(data=data)
    config.model.update(weights)
    config.augment.update({"shift": 0, "tint": 0.0})
    config.optimizer.muon_lr_multiplier = 0.0  # what is compared is there before any update
    return config


@pytest.mark.slow
def test_cached_references_give_the_same_loss(weights, data):
    config = frozen_config(weights, data)
    batch = next(
        pipeline.training_iterator(
            data, 4, 0, load_tokenizer(""), (64,), size=tiny.IMAGE_SIZE, flip=True
        )
    )
    batch = run_data.model_inputs(batch)
    assert (batch["reference_row"] % 2).any()  # some are mirrored
    key, losses = jax.random.key(1), {}
    for cached in (False, True):
        config.cache_references = cached
        task = tiny.stage2_task(config)
        frozen = task.load_frozen()
        assert set(frozen["encoders"]) == {"text", "structure", "appearance"}
        assert ("references" in frozen) == cached
        state = tiny.random_state(task, batch)
        names = {path[0] for path in flatten_dict(state.params)}
        assert not names & {"text", "face"}  # no small network beside a pre-trained one
        step = jax.jit(task.step)
        _, metrics = step(state, frozen, batch, key)
        losses[cached] = {name: float(value) for name, value in metrics.items()}
    assert losses[True] == pytest.approx(losses[False], rel=1e-5)
    # The features are those of the example's own reference.
    other = batch | {"reference_row": np.roll(batch["reference_row"], 1)}
    _, metrics = step(state, frozen, other, key)
    assert float(metrics["grad_norm"]) != pytest.approx(losses[True]["grad_norm"], rel=1e-5)


def test_augmented_references_cannot_be_cached(weights, data):
    config = frozen_config(weights, data)
    config.cache_references = True
    config.augment.tint = 0.1
    with pytest.raises(ValueError, match=r"cache_references=True .*tint=0.1"):
        tiny.stage2_task(config).load_frozen()


@pytest.fixture(scope="module")
def published():
    """Returns the encoders at their published sizes, and the shapes of their variables."""
    encoders = Encoders(
        text=t5.T5Encoder(**t5.SIZES["t5-large"]),
        structure=clip_vision.CLIPVision(**clip_vision.SIZES["ViT-L/14"], activation="quick_gelu"),
        appearance=arcface.ArcFace(**arcface.SIZES["r100"]),
    )
    tokens = jax.ShapeDtypeStruct((1, 8), jnp.int32)
    inputs = {
        "text": (tokens, jax.ShapeDtypeStruct((1, 8), jnp.bool_)),
        "structure": (jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32),),
        "appearance": (jax.ShapeDtypeStruct((1, 112, 112, 3), jnp.float32),),
    }
    return encoders, {
        name: jax.eval_shape(getattr(encoders, name).init, jax.random.key(0), *arrays)
        for name, arrays in inputs.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["open", "paper"])
def test_published_encoders_fit_stage_two_at_full_size(preset, published):
    encoders, variables = published
    config = tiny.load_config("stage2", preset)
    stage1_config = tiny.load_config("stage1", preset)
    vqgan = VQGAN(**stage1_config.model)
    config.model.text_weights = config.model.structure_weights = "given"
    config.model.appearance_weights = "given"
    config.data.tokenizer = ""

    def shapes(module, *inputs):
        return jax.eval_shape(module.init, jax.random.key(0), *inputs)

    size, length, rows = config.data.size, config.data.buckets[-1], config.batch_size
    assert parameter_count(variables["text"]) == 334_939_648  # of the whole T5-large's 738 million
    params = {
        "encoder": shapes(vqgan.encoder, jnp.zeros((1, size, size, 3)))["params"],
        "decoder": shapes(vqgan.decoder, jnp.zeros((1, vqgan.grid, vqgan.grid, vqgan.latent_dim)))[
            "params"
        ],
    }
    books = jax.ShapeDtypeStruct(
        (vqgan.num_quantizers, vqgan.codebook_size, vqgan.latent_dim), jnp.float32
    )
    books = quantizer.Codebooks(books, books, books)
    stage1 = vqgan, {"params": params, "codebooks": books}
    tokenizer = load_tokenizer("")
    task = MaskGITTask(config, config.num_steps, tokenizer, *stage1, encoders, variables, {})

    def struct(shape, dtype):
        return jax.ShapeDtypeStruct((rows, *shape), dtype)

    batch = {
        "image": struct((size, size, 3), jnp.uint8),
        "reference": struct((size, size, 3), jnp.uint8),
        "labels": struct((12,), jnp.int8),
        "text_tokens": struct((length,), jnp.int32),
        "text_mask": struct((length,), jnp.bool_),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(task.init, key, batch)
    frozen = {"stage1": task.stage1_weights, "encoders": variables}
    after, metrics = jax.eval_shape(task.step, state, frozen, batch, key)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert state.params["text_in"]["kernel"].shape == (1024, 512)
    assert state.params["structure_in"]["kernel"].shape == (1024, 512)
    assert all(metric.shape == () for metric in metrics.values())
