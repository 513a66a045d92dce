"""Laws of CLIP's image encoder, and parity with Hugging Face's and with OpenCLIP's."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from auface_jax.images.pixels import to_float
from auface_jax.models import clip_vision
from auface_jax.models.clip_vision import CLIPVision
from auface_jax.pretrained import convert
from auface_jax.pretrained.clip_vision import NETWORK
from auface_jax.pretrained.weight_files import from_arrays
from tests.helpers.parity import assert_parity, import_torch, redraw

# Heads of 64, as every published size has them.
TINY = {
    "image_size": 32,
    "patch_size": 8,
    "width": 128,
    "hidden": 160,
    "num_layers": 3,
    "num_heads": 2,
}


def pictures(rows=2, size=32, darkest=0, brightest=255):
    """Returns random images, coarse and fine, uint8."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(darkest, brightest, (rows, size // 8, size // 8, 3))
    fine = coarse.repeat(8, axis=1).repeat(8, axis=2) + rng.normal(0, 8, (rows, size, size, 3))
    return np.clip(fine, 0, 255).astype(np.uint8)


@functools.cache
def tiny(**fields):
    module = CLIPVision(**{**TINY, "activation": "quick_gelu", **fields})
    x = module.prepare(to_float(jnp.asarray(pictures())))
    return module, jax.jit(module.init)(jax.random.key(0), x), x


# --- Laws ----------------------------------------------------------------------------------------


def test_tokens_are_patches_in_raster_order():
    module, variables, x = tiny()
    tokens = module.apply(variables, x)
    assert tokens.shape == (2, 16, 128) and tokens.dtype == jnp.float32
    # Without blocks a token depends on its own patch alone.
    bare = CLIPVision(**{**TINY, "activation": "gelu", "num_layers": 1})
    variables = bare.init(jax.random.key(0), x)
    changed = bare.apply(variables, x.at[:, 8:16, 24:32].add(1.0)) != bare.apply(variables, x)
    assert changed.any(-1).any(0).nonzero()[0].tolist() == [4 + 3]


def test_bfloat16_compute_keeps_float32_weights_and_output():
    module, variables, x = tiny()
    low, low_variables, _ = tiny(dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(low_variables)} == {jnp.dtype(jnp.float32)}
    output, expected = low.apply(variables, x), module.apply(variables, x)
    assert output.dtype == jnp.float32
    assert 0 < np.abs(output - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("name", clip_vision.SIZES)
def test_parameter_counts_and_tokens_of_published_sizes(name):
    size = clip_vision.SIZES[name]
    module = CLIPVision(**size, activation="gelu")
    image = jax.ShapeDtypeStruct((2, size["image_size"], size["image_size"], 3), jnp.float32)
    output, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), image)
    width, blocks = size["width"], size["num_layers"] - 1
    tokens = (size["image_size"] // size["patch_size"]) ** 2
    in_block = 4 * width**2 + 4 * width + 8 * width**2 + 5 * width + 4 * width
    outside = 3 * size["patch_size"] ** 2 * width + width + (tokens + 1) * width + 2 * width
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == blocks * in_block + outside
    assert output.shape == (2, tokens, width)


def test_other_image_sizes_and_unset_fields_are_refused():
    module, variables, x = tiny()
    with pytest.raises(ValueError, match="24 x 32 px, expected 32 a side"):
        module.apply(variables, x[:, :24])
    other = CLIPVision(**{**TINY, "num_heads": None, "activation": None})
    with pytest.raises(ValueError, match=r"activation is None, .*num_heads is None.*--field"):
        other.init(jax.random.key(0), x)


# --- The input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "size"), [(256, 224), (128, 224), (256, 336)])
def test_prepare_images_resizes_as_pillow(side, size):
    from PIL import Image

    images = pictures(size=side)
    ours = clip_vision.prepare_images(to_float(jnp.asarray(images)), size)
    resized = [Image.fromarray(image).resize((size, size), Image.BICUBIC) for image in images]
    pixels = np.asarray(ours) * clip_vision.STD + clip_vision.MEAN
    difference = np.abs(pixels * 255 - np.stack([np.asarray(image) for image in resized]))
    # Pillow rounds to whole numbers after each of its two passes.
    assert difference.max() < 1.5 and difference.mean() < 0.5


@pytest.mark.parity
def test_input_parity_with_hugging_face():
    import_torch()
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    images = pictures(size=256)
    theirs = np.stack(CLIPImageProcessorPil()(list(images))["pixel_values"]).transpose(0, 2, 3, 1)
    module = CLIPVision(**clip_vision.SIZES["ViT-L/14"], activation="quick_gelu")
    ours = np.asarray(jax.jit(module.prepare)(to_float(jnp.asarray(images))))
    assert ours.shape == theirs.shape == (2, 224, 224, 3)
    difference = np.abs(ours - theirs) * clip_vision.STD * 255  # Pillow rounds twice, as above
    assert difference.max() < 1.5 and difference.mean() < 0.5


@pytest.mark.parity
def test_input_parity_with_torch(record_property):
    torch = import_torch()
    # Without overshoot beyond black and white, which torch does not cut off.
    images = to_float(pictures(size=256, darkest=90, brightest=165))
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(np.array(images).transpose(0, 3, 1, 2)),
        size=(224, 224),
        mode="bicubic",
        antialias=True,
    )
    theirs = (theirs.numpy().transpose(0, 2, 3, 1) + 1) / 2
    theirs = (theirs - clip_vision.MEAN) / clip_vision.STD
    ours = clip_vision.prepare_images(images, 224)
    assert_parity(record_property, "CLIP's input", "224 px", ours, theirs)


# --- Parity --------------------------------------------------------------------------------------


def hugging_face(activation, whole=False):
    """Makes a tiny image encoder of Hugging Face's, alone or in a whole CLIP, at random weights."""
    import_torch()
    from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=TINY["width"],
        intermediate_size=TINY["hidden"],
        num_hidden_layers=TINY["num_layers"],
        num_attention_heads=TINY["num_heads"],
        image_size=TINY["image_size"],
        patch_size=TINY["patch_size"],
        hidden_act=activation,
    )
    if whole:
        text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
                "num_attention_heads": 2, "vocab_size": 11}  # fmt: skip
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=config.to_dict()))
    else:
        model = CLIPVisionModel(config)
    return model.eval(), redraw(model)


def stages_of(module, variables, x):
    """Returns tokens before and after every block, and the output, by name."""

    @jax.jit
    def run(variables, x):
        kept = lambda m, _: isinstance(m, (clip_vision.Block, nn.LayerNorm))  # noqa: E731
        tokens, state = module.apply(variables, x, capture_intermediates=kept)
        return tokens, flatten_dict(state["intermediates"], sep="/")

    with jax.default_matmul_precision("highest"):
        tokens, inner = run(variables, x)
    found = {f"block {i}": inner[f"block_{i}/__call__"][0] for i in range(module.num_layers - 1)}
    return {"before the blocks": inner["first_norm/__call__"][0], **found, "tokens": tokens}


@pytest.mark.parity
@pytest.mark.parametrize("activation", clip_vision.ACTIVATIONS)
def test_parity_with_hugging_face(record_property, activation):
    theirs, state = hugging_face(activation)
    import torch

    source = from_arrays(state)
    ours, variables = convert.to_variables(
        NETWORK, source, activation=activation, num_heads=TINY["num_heads"]
    )
    assert ours == CLIPVision(**TINY, activation=activation)
    x = ours.prepare(to_float(jnp.asarray(pictures())))
    with torch.no_grad():
        pixels = torch.from_numpy(np.asarray(x).transpose(0, 3, 1, 2).copy())
        states = theirs(pixel_values=pixels, output_hidden_states=True).hidden_states
    assert len(states) == TINY["num_layers"] + 1
    expected = dict(
        zip(("before the blocks", "block 0", "block 1"), (s.numpy() for s in states), strict=False)
    )
    expected["tokens"] = states[-2][:, 1:].numpy()  # the penultimate layer's, without the class
    found = stages_of(ours, variables, x)
    assert found.keys() == expected.keys()
    for stage, there in expected.items():
        assert_parity(record_property, f"CLIP, {activation}", stage, found[stage], there)


@pytest.mark.parity
@pytest.mark.parametrize("whole", [False, True])
def test_saved_folder_converts_with_or_without_the_text_encoder(tmp_path, whole):
    model, state = hugging_face("gelu", whole)
    model.save_pretrained(tmp_path / "saved")
    folder = convert.convert("clip_vision", tmp_path / "saved", tmp_path / "converted")
    loaded = convert.load(folder, "clip_vision")
    assert loaded.module == CLIPVision(**TINY, activation="gelu")
    prefix = "vision_model." if whole else ""
    query, key, value = (
        state[f"{prefix}encoder.layers.1.self_attn.{name}_proj.weight"].T for name in "qkv"
    )
    fused = loaded.variables["params"]["block_1"]["attention"]["qkv"]["kernel"]
    np.testing.assert_array_equal(fused, np.concatenate([query, key, value], axis=1))


@functools.cache
def open_clip(quick_gelu):
    """Makes a tiny CLIP of OpenCLIP's, image and text, at random weights, and its configuration."""
    import_torch()
    package = pytest.importorskip("open_clip", reason="run `make test-parity`")
    config = {
        "embed_dim": 24,
        "quick_gelu": quick_gelu,
        "vision_cfg": {
            "image_size": TINY["image_size"],
            "layers": TINY["num_layers"],
            "width": TINY["width"],
            "patch_size": TINY["patch_size"],
            "mlp_ratio": TINY["hidden"] / TINY["width"],
        },
        "text_cfg": {"context_length": 7, "vocab_size": 11, "width": 64, "heads": 1, "layers": 4},
    }
    model = package.CLIP(**config).eval()
    return model, redraw(model), config


@pytest.mark.parity
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_parity_with_open_clip(record_property, tmp_path, quick_gelu):
    theirs, state, config = open_clip(quick_gelu)
    import torch

    preprocessing = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.5, 0.125]}
    save_file(state, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing})
    )
    loaded = convert.load(convert.convert("clip_vision", tmp_path, tmp_path / "converted"))
    activation = "quick_gelu" if quick_gelu else "gelu"
    assert loaded.module == CLIPVision(
        **TINY,
        activation=activation,
        mean=tuple(preprocessing["mean"]),
        std=tuple(preprocessing["std"]),
    )
    expected, visual = {}, theirs.visual
    stages = {"before the blocks": visual.ln_pre}
    stages |= {f"block {i}": visual.transformer.resblocks[i] for i in range(2)}
    for name, layer in stages.items():
        layer.register_forward_hook(
            lambda _, __, out, name=name: expected.__setitem__(name, out.numpy())
        )
    x = loaded.module.prepare(to_float(jnp.asarray(pictures())))
    with torch.no_grad():
        visual(torch.from_numpy(np.asarray(x).transpose(0, 3, 1, 2).copy()))
    expected["tokens"] = expected["block 1"][:, 1:]
    found = stages_of(loaded.module, loaded.variables, x)
    for stage, there in expected.items():
        assert_parity(record_property, f"OpenCLIP, {activation}", stage, found[stage], there)


# --- What is refused -----------------------------------------------------------------------------


def weights(**changed):
    """Returns weights of a tiny image encoder under the original keys; None removes one."""
    width, hidden = TINY["width"], TINY["hidden"]
    shapes = {
        "class_embedding": (width,),
        "positional_embedding": (17, width),
        "conv1.weight": (width, 3, 8, 8),
        "proj": (width, 24),
        **{f"{norm}.{leaf}": (width,) for norm in ("ln_pre", "ln_post") for leaf in LEAVES},
    }
    for i in range(TINY["num_layers"]):
        block = f"transformer.resblocks.{i}"
        shapes |= {f"{block}.ln_{n}.{leaf}": (width,) for n in (1, 2) for leaf in LEAVES}
        shapes |= {
            f"{block}.attn.in_proj_weight": (3 * width, width),
            f"{block}.attn.in_proj_bias": (3 * width,),
            f"{block}.attn.out_proj.weight": (width, width),
            f"{block}.attn.out_proj.bias": (width,),
            f"{block}.mlp.c_fc.weight": (hidden, width),
            f"{block}.mlp.c_fc.bias": (hidden,),
            f"{block}.mlp.c_proj.weight": (width, hidden),
            f"{block}.mlp.c_proj.bias": (width,),
        }
    shapes = {key: shape for key, shape in {**shapes, **changed}.items() if shape is not None}
    return {f"visual.{key}": np.zeros(shape, np.float32) for key, shape in shapes.items()}


LEAVES = ("weight", "bias")


def test_weights_without_configuration_convert_with_given_fields(tmp_path, capsys):
    save_file(weights(), tmp_path / "w.safetensors")
    arguments = ["clip-vision", str(tmp_path / "w.safetensors"), str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        convert.main(arguments)
    assert "activation is None" in capsys.readouterr().err
    convert.main([*arguments, "--field", "activation=gelu", "--field", "num_heads=2"])
    assert "clip_vision, " in capsys.readouterr().out
    loaded = convert.load(tmp_path / "out", "clip_vision")
    assert loaded.module == CLIPVision(**TINY, activation="gelu")


def test_missing_and_unknown_keys_are_named():
    arrays = weights(**{"ln_pre.bias": None, "transformer.resblocks.0.ls_1.gamma": (128,)})
    with pytest.raises(convert.ConversionError) as caught:
        convert.to_variables(NETWORK, from_arrays(arrays), activation="gelu", num_heads=2)
    message = str(caught.value)
    assert "2 faults" in message and "'params/first_norm/bias'" in message
    assert "'transformer.resblocks.0.ls_1.gamma'" in message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06, not 1e-05"),
        ({"model_cfg": {"vision_cfg": {"act_kwargs": {"approximate": "tanh"}}}}, "sets act_kwargs"),
    ],
)
def test_unknown_variant_of_clip_is_refused(config, message):
    source = dataclasses.replace(from_arrays(weights()), config=config)
    with pytest.raises(ValueError, match=message):
        NETWORK.fields(source)
