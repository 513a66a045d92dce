"""Stage I's losses between features: the networks, the gradient, and the gate."""

import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from auface_jax.images import pixels
from auface_jax.models import quantizer
from auface_jax.pretrained import convert, vgg
from auface_jax.recognition.image_recognizer import load_recognizer
from auface_jax.runs import checkpoints
from auface_jax.training import loop
from auface_jax.training.log import read_lines
from auface_jax.training.losses import reconstruction
from auface_jax.training.losses.gate import WORST, Gate
from auface_jax.training.losses.networks import load_anatomical, load_perceptual
from auface_jax.training.tasks import vqgan as vqgan_task
from auface_jax.training.tasks.vqgan import VQGANTask
from tests.helpers import tiny
from tests.helpers.recognizer_runs import write_run


@pytest.fixture(scope="module")
def loss_run(tmp_path_factory):
    """A finished run of a recogniser whose role is `loss`."""
    return write_run(tmp_path_factory.mktemp("runs") / "loss", role="loss")


@pytest.fixture(scope="module")
def score_run(tmp_path_factory):
    """A finished run of a recogniser whose role is `score`."""
    return write_run(tmp_path_factory.mktemp("runs") / "score", role="score")


def config_of(loss_run, *, data="", perceptual=0.5, anatomical=2.0, **gate):
    config = tiny.stage1_config(data=data)
    config.loss.update({"perceptual": perceptual, "anatomical": anatomical})
    config.perceptual.network = config.anatomical.run = str(loss_run)
    config.anatomical.update(gate)
    return config


# --- The losses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [reconstruction.perceptual, reconstruction.anatomical])
def test_feature_losses_are_mean_squared_errors(loss):
    one, other = np.random.default_rng(0).normal(size=(2, 3, 12, 5)).astype(np.float32)
    assert loss(one, other) == pytest.approx(np.mean((one - other) ** 2), rel=1e-5)
    assert loss(one, one) == 0 and loss(one, other) == loss(other, one)


# --- The networks --------------------------------------------------------------------------------


def test_anatomical_features_are_the_recognisers_unit_nodes(loss_run):
    network, recognizer = load_anatomical(str(loss_run)), load_recognizer(loss_run)
    image = pixels.to_float(tiny.images(3))
    features = jax.jit(network.features)
    nodes = features(network.variables, image)
    want = jax.jit(lambda *inputs: recognizer.module.apply(*inputs).nodes)
    np.testing.assert_array_equal(nodes, want(recognizer.variables, image))
    assert nodes.shape[:2] == (3, 12) and network.fingerprint == recognizer.fingerprint
    # Batch statistics come from training, so that examples of a batch do not affect each other.
    alone = features(network.variables, image[:1])
    np.testing.assert_allclose(alone, nodes[:1], atol=1e-5)


def test_substitute_network_names_itself_and_returns_a_picture_map(loss_run):
    network = load_perceptual(str(loss_run))
    assert "substitute" in network.name and str(loss_run) in network.name
    image = pixels.to_float(tiny.images(2))
    features = jax.eval_shape(network.features, network.variables, image)
    assert features.shape[0] == 2 and features.ndim == 3 and features.dtype == jnp.float32


def test_vgg_features_come_from_fc2_on_normalised_images(monkeypatch, tmp_path):
    module = vgg.VGG16()
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    seen = {}

    class Narrow:  # drawing VGG16's 134 million weights would take longer than all of these tests
        def apply(self, variables, image):
            seen["image"] = image
            return {"relu5_3": image, "fc1": image + 1.0, "fc2": variables * image.mean((1, 2))}

    (tmp_path / convert.DESCRIPTION).write_text("{}")
    monkeypatch.setattr(
        convert, "load", lambda path, name: convert.Pretrained(name, Narrow(), 2.0, "print")
    )
    network = load_perceptual(str(tmp_path))
    image = pixels.to_float(tiny.images(2))
    found = network.features(network.variables, image)
    np.testing.assert_allclose(seen["image"], vgg.normalize(image))
    np.testing.assert_allclose(found, 2.0 * vgg.normalize(image).mean((1, 2)), rtol=1e-5)
    assert network.fingerprint == "print" and "VGG16" in network.name
    # The network itself has this layer width, and applying it needs no key for dropout.
    out = jax.eval_shape(module.apply, shapes, jnp.zeros((2, 64, 64, 3)))
    assert out["fc2"].shape == (2, 4096)


def test_missing_loss_network_error_states_the_cure(loss_run, score_run, tmp_path):
    loaders = {"perceptual.network": load_perceptual, "anatomical.run": load_anatomical}
    for option, load in loaders.items():
        with pytest.raises(checkpoints.CheckpointError, match=f"{option} is empty.*au_image_loss"):
            load("")
        with pytest.raises(checkpoints.CheckpointError, match="'score'.*configs/au_image_loss.py"):
            load(str(score_run))
    with pytest.raises(checkpoints.CheckpointError, match="neither converted weights nor a finish"):
        load_perceptual(str(tmp_path))
    with pytest.raises(checkpoints.CheckpointError, match="train it first"):
        load_anatomical(str(tmp_path / "none"))
    (tmp_path / convert.DESCRIPTION).write_text('{"format_version": 1, "network": "alexnet"}')
    with pytest.raises(convert.ConversionError, match="'alexnet', not 'vgg16'"):
        load_perceptual(str(tmp_path))


# --- The step ------------------------------------------------------------------------------------

KEY = jax.random.key(1)


def test_zero_loss_weights_load_no_network():
    config = tiny.stage1_config()
    assert config.loss.perceptual == config.loss.anatomical == 0
    config.perceptual.network = config.anatomical.run = "nowhere"
    task = VQGANTask.from_config(config, 10)
    assert task.load_frozen() == {} and task.fingerprints() == {}
    state = jax.eval_shape(task.init, jax.random.key(0), tiny.records(20))
    assert state.variables.keys() == {"codebooks"}


@functools.cache
def prepared(loss_run):
    """Prepares a task whose optimiser keeps every parameter, for reading the gradients of a step.

    Returns:
      the task, a state, the frozen networks, and the compiled step.
    """
    with pytest.MonkeyPatch.context() as patched:
        keep = lambda *_: optax.chain(optax.trace(0.0), optax.scale(0.0))  # noqa: E731
        patched.setattr(vqgan_task, "optimizer", keep)
        config = config_of(loss_run)
        config.gan.update({"weight": 0.5, "start_step": 0})
        task = VQGANTask.from_config(config, 10)
        state = tiny.awake(tiny.stage1_state(), task)
        state = state.replace(variables=state.variables | {"anatomical_gate": Gate.closed()})
        step = jax.jit(task.step).lower(state, task.load_frozen(), tiny.records(8), KEY).compile()
    return task, state, task.load_frozen(), step


@functools.cache
def gradients_of(loss_run, gate_open):
    """Runs one step and returns the gradient of the generator and the metrics."""
    _, state, frozen, step = prepared(loss_run)
    gate = Gate(jnp.float32(1), jnp.bool(gate_open))
    state = state.replace(variables=state.variables | {"anatomical_gate": gate})
    after, metrics = step(state, frozen, tiny.records(8), KEY)
    return after.opt_state["generator"][0].trace, metrics


@functools.cache
def wanted_of(loss_run):
    """Compiles the expected gradients as a function of the open gate and the adaptive weight.

    Returns:
      the gradient of the weighted sum, the two gradients whose norms the adaptive weight compares,
      and the loss of each network.
    """
    task, state, frozen, _ = prepared(loss_run)
    image, c = pixels.to_float(tiny.images(8)), task.config.loss
    networks = task.loss_networks

    def made_of(params):
        z = task.vqgan.encoder.apply({"params": params["encoder"]}, image)
        _, partial = quantizer.quantize(state.variables["codebooks"], z)
        z_q = quantizer.straight_through(z, partial[-1])
        return task.vqgan.decoder.apply({"params": params["decoder"]}, z_q), z, partial

    def through(name, made):
        features = functools.partial(networks[name].features, frozen[name])
        return jnp.square(features(image) - features(made)).mean()

    def between(made, gate_open):
        return (
            c.recon * jnp.abs(image - made).mean()
            + c.l2 * jnp.square(image - made).mean()
            + c.gradient * reconstruction.image_gradient(image, made)
            + c.perceptual * through("perceptual", made)
            + gate_open * c.anatomical * through("anatomical", made)
        )

    def adversarial(made):
        logits = task.discriminator.apply({"params": state.params["discriminator"]}, made)
        return -logits.mean()

    def total(params, gate_open, weight):
        made, z, partial = made_of(params)
        commit = c.commit * quantizer.commitment_loss(z, partial)
        return between(made, gate_open) + commit + weight * adversarial(made)

    @jax.jit
    def wanted(params, gate_open, weight):
        return (
            jax.grad(total)(params, gate_open, weight),
            jax.grad(lambda p: between(made_of(p)[0], gate_open))(params),
            jax.grad(lambda p: adversarial(made_of(p)[0]))(params),
            {name: through(name, made_of(params)[0]) for name in networks},
        )

    return functools.partial(wanted, state.params["generator"])


@pytest.mark.slow
@pytest.mark.parametrize("gate_open", [True, False])
def test_generator_gradient_is_that_of_the_weighted_sum_of_losses(loss_run, gate_open):
    found, metrics = gradients_of(loss_run, gate_open)
    weight = metrics["loss/adversarial_weight"]
    wanted, ours, theirs, parts = wanted_of(loss_run)(jnp.float32(gate_open), weight)
    size = float(optax.tree.norm(wanted))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * size), found, wanted)
    norms = [float(optax.tree.norm(g["decoder"]["conv_out"])) for g in (ours, theirs)]
    assert weight == pytest.approx(0.5 * norms[0] / (norms[1] + 1e-4), rel=1e-3)
    for name, value in parts.items():
        assert value > 0 and metrics[f"loss/{name}"] == pytest.approx(float(value), rel=1e-4)
    assert metrics["loss/anatomical_gate"] == gate_open


@pytest.mark.slow
def test_open_gate_changes_the_gradient(loss_run):
    opened, closed = (gradients_of(loss_run, gate_open)[0] for gate_open in (True, False))
    difference = optax.tree.norm(jax.tree.map(jnp.subtract, opened, closed))
    assert difference > 1e-3 * optax.tree.norm(closed)


# --- The gate ------------------------------------------------------------------------------------


def pass_through(values, **options):
    options = {"threshold": 0.1, "start_step": 0, "decay": 0.9} | options
    gate, states = Gate.closed(), []
    for step, value in enumerate(values):
        gate = gate.update(jnp.float32(value), jnp.int32(step), **options)
        states.append(bool(gate.open))
    return gate, states


def test_gate_opens_at_a_low_running_mean_and_stays_open():
    good, bad = [0.05] * 40, [1.5] * 40
    assert not any(pass_through(bad)[1])
    gate, states = pass_through(bad + good + bad)
    first = states.index(True)
    assert 41 < first < 80, "the gate follows the mean and not a single step"
    assert all(states[first:]) and float(gate.running_recon) > 0.1
    # One step with a low loss does not open the gate.
    assert not any(pass_through([1.5] * 40 + [0.0] + [1.5] * 20)[1])


def test_gate_stays_closed_before_its_start_step():
    states = pass_through([0.01] * 30, start_step=20)[1]
    assert states == [False] * 19 + [True] * 11
    assert WORST == 2.0 and not pass_through([0.01], threshold=0.1)[1][0]


@pytest.mark.slow
def test_gate_and_loss_network_survive_resuming(loss_run, tmp_path):
    data = str(tiny.build_data(tmp_path / "data"))
    own = shutil.copytree(loss_run, tmp_path / "loss")
    # The threshold is above every loss, so that the gate opens after four steps.
    config = config_of(own, data=data, threshold=10.0, start_step=4)
    config.perceptual.network = str(loss_run)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    loop.train(config, whole)
    lines = [line for line in read_lines(whole / "metrics.jsonl") if "loss" in line]
    assert [line["loss/anatomical_gate"] for line in lines] == [0, 0, 0, 0, 1, 1]
    assert read_lines(whole / "metrics.jsonl")[-1]["perceptual_network"].startswith("subst")
    fingerprint = load_recognizer(own).fingerprint
    assert checkpoints.load_meta(whole)["anatomical_network"] == fingerprint

    with tiny.killed_at(5):
        loop.train(config, killed)
    shutil.rmtree(own)
    write_run(own, role="loss", seed=1)
    with pytest.raises(checkpoints.CheckpointError, match="anatomical_network="):
        loop.train(config, killed)
    shutil.rmtree(own)
    shutil.copytree(loss_run, own)
    loop.train(config, killed)
    runs = (checkpoints.load_export(run) for run in (killed, whole))
    jax.tree.map(np.testing.assert_array_equal, *runs)
