"""Presets: their choice on a machine, their folders, and the sizes of their networks."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.generation.stages import build_model
from auface_jax.models.vqgan import VQGAN
from auface_jax.parallel import sharding
from auface_jax.pretrained import convert, vgg
from auface_jax.recognition.image_recognizer import Recognizer
from auface_jax.runs import config_files, presets
from auface_jax.training.losses import networks
from auface_jax.training.state import parameter_count
from auface_jax.training.tasks.registry import make_task
from tests.helpers import tiny


def test_choose_falls_back_to_quickstart_and_states_the_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    preset, reason = presets.choose("", "configs/stage2.py", weights=("weights/t5-large",))
    assert preset == "quickstart"
    for part in ("datasets/bp4d-autext", "weights/t5-large", "GPU", "--config configs/stage2.py:"):
        assert part in reason
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert presets.choose("", "configs/stage2.py")[0] == "open"
    presets.PAPER_DATA.mkdir(parents=True)
    assert presets.choose("", "configs/stage1.py")[0] == "paper"
    assert presets.choose("", "configs/stage2.py", weights=("weights/t5-large",))[0] == "open"
    assert presets.choose("quickstart", "configs/stage1.py")[0] == "quickstart"


def test_unknown_preset_error_lists_the_legal_ones():
    with pytest.raises(ValueError, match="'papr' is not one of paper, open, quickstart"):
        presets.choose("papr", "configs/stage1.py")


def test_unknown_task_error_lists_the_legal_ones():
    config = tiny.stage1_config()
    config.task = "gan"
    with pytest.raises(ValueError, match="'gan' is not one of vqgan, maskgit, au_probe"):
        make_task(config, 1)


@pytest.mark.parametrize(
    ("workdir", "sibling"),
    [
        ("runs/stage2-quickstart", "runs/stage1-quickstart"),
        ("runs/mine", "runs/mine-stage1"),
        ("elsewhere/stage2-a/stage2", "elsewhere/stage2-a/stage1"),
    ],
)
def test_sibling_run_lies_beside_its_run(workdir, sibling):
    assert presets.sibling_run(Path(workdir), "stage2", "stage1") == Path(sibling)


def test_data_folder_differs_for_different_data():
    configs = [tiny.load_config("au_probe").unlock().data for _ in range(6)]
    configs[1].people = 7
    configs[2].update({"source": "folder", "labels": "faces/labels.csv"})
    configs[3].update({"source": "folder", "labels": "faces/labels.csv", "threshold": 0.5})
    configs[4].dir = "my/records"
    configs[5].novel_rows = 10
    folders = [presets.data_folder(config) for config in configs]
    assert len(set(folders)) == 6
    assert folders[4] == Path("my/records")


@pytest.fixture
def abstract_loss_networks(tmp_path, monkeypatch):
    """Replaces the networks of the paper's losses by shapes without values."""
    config = config_files.load_config_file(tiny.CONFIGS / "au_image_loss.py", "paper")
    size, crop = config.data.size, config.model.crop
    mef, vgg16 = make_task(config, config.num_steps).recognizer(2), vgg.VGG16()

    def variables(module, side):
        return jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))

    recognizer = Recognizer("run", mef, variables(mef, crop), size, crop, "loss", "")
    monkeypatch.setattr(networks, "load_recognizer", lambda run, role: recognizer)
    converted = convert.Pretrained("vgg16", vgg16, variables(vgg16, 32), "")
    monkeypatch.setattr(convert, "load", lambda folder, name: converted)
    monkeypatch.chdir(tmp_path)
    Path("weights/vgg16").mkdir(parents=True)
    Path("weights/vgg16", convert.DESCRIPTION).touch()


def test_paper_preset_of_stage1_has_the_published_sizes_and_losses():
    config = config_files.load_config_file(tiny.CONFIGS / "stage1.py", "paper")
    vqgan = VQGAN(**config.model)
    assert (vqgan.grid**2, vqgan.num_quantizers, vqgan.codebook_size) == (256, 8, 8192)
    assert (
        vqgan.grid**2 * vqgan.num_quantizers == 2048
        and vqgan.num_quantizers * vqgan.codebook_size == 65_536
    )
    assert all(config.loss[name] > 0 for name in ("recon", "commit", "perceptual", "anatomical"))
    assert config.gan.weight > 0 and not config.model.patch_skip
    assert (config.batch_size, config.num_steps) == (240, 150_000)
    assert config.optimizer.learning_rate == 3e-4

    def parameters(module, *shape):
        return parameter_count(jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape)))

    assert parameters(vqgan.encoder, 1, 256, 256, 3) == 19_799_936
    assert parameters(vqgan.decoder, 1, 16, 16, 256) == 19_798_915


@pytest.mark.slow
@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("name", ["stage1", "au_probe"])
def test_every_preset_builds_a_state_and_a_step(name, preset, request):
    if (name, preset) == ("stage1", "paper"):
        request.getfixturevalue("abstract_loss_networks")
    config = config_files.load_config_file(tiny.CONFIGS / f"{name}.py", preset)
    task, size = make_task(config, config.num_steps), config.data.size
    if name == "stage1":
        assert config.model.image_size == size

    def batch(count):
        image = jax.ShapeDtypeStruct((count, size, size, 3), jnp.uint8)
        labels = jax.ShapeDtypeStruct((count, 12), jnp.int8)
        intensities = jax.ShapeDtypeStruct((count, 12), jnp.float32)
        units = {"labels": labels, "intensities": intensities}
        return {"image": image, "reference": image, **units}

    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(task.init, key, batch(task.init_examples))
    assert parameter_count(state.params) > 10_000
    frozen = task.load_frozen()
    after, metrics = jax.eval_shape(task.step, state, frozen, batch(config.batch_size), key)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    jax.tree.map(
        lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(f"{a} {b}"),
        after,
        state,
    )
    assert all(metric.shape == () for metric in metrics.values())


@pytest.mark.parametrize(
    ("preset", "layout", "sequence", "ids"),
    [
        ("paper", "flat", 2048, 65_536),
        ("open", "depth", 64, 4096),
        ("quickstart", "depth", 64, 1024),
    ],
)
def test_stage2_model_of_every_preset_has_its_full_size(preset, layout, sequence, ids):
    stage1 = config_files.load_config_file(tiny.CONFIGS / "stage1.py", preset)
    config = config_files.load_config_file(tiny.CONFIGS / "stage2.py", preset)
    tokenizer = {"tokenizer": config.data.tokenizer}  # the text encoder's own
    assert config.data.to_dict() == stage1.data.to_dict() | tokenizer
    vqgan = VQGAN(**stage1.model)
    model = build_model(config, vqgan, load_tokenizer("").vocab_size)
    positions, size, length = vqgan.grid**2, vqgan.image_size, config.data.buckets[0]
    assert config.model.transformer.layout == layout
    assert (positions * vqgan.num_quantizers if layout == "flat" else positions) == sequence
    assert vqgan.num_quantizers * vqgan.codebook_size == ids

    def init(key):
        tokens = jnp.zeros((1, positions, vqgan.num_quantizers), jnp.int32)
        return model.init_with_output(
            key,
            tokens,
            tokens == 0,
            text_tokens=jnp.zeros((1, length), jnp.int32),
            text_mask=jnp.ones((1, length), bool),
            reference=jnp.zeros((1, size, size, 3)),
            reference_latents=jnp.zeros((1, positions, vqgan.latent_dim)),
            # Only models with pre-trained encoders read these features.
            text_features=jnp.zeros((1, length, 1024)),
            appearance=jnp.zeros((1, 512)),
            structure=jnp.zeros((1, 256, 1024)),
            drop_text=jnp.zeros(1, bool),
            drop_reference=jnp.zeros(1, bool),
        )

    logits, variables = jax.eval_shape(init, jax.random.key(0))
    assert logits.shape == (1, positions, vqgan.num_quantizers, vqgan.codebook_size)
    assert logits.dtype == jnp.float32
    leaves = jax.tree.leaves(variables["params"])
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)
    assert parameter_count(leaves) > ids * config.model.transformer.d_model
    mesh = sharding.make_mesh(config.mesh)
    sharding.check_batch_size(config.batch_size, mesh)
