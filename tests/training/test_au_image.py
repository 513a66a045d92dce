"""The task of the image recogniser: losses, the two stages, augmentation, and chosen people."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from auface_jax.data.loading import chosen_people, pipeline
from auface_jax.data.shards import DatasetError, ShardReader, read_info
from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.models.me_graphau import make_recognizer
from auface_jax.parallel import sharding
from auface_jax.recognition.image_recognizer import build_recognizer, centre_crop
from auface_jax.runs import checkpoints
from auface_jax.training import loop
from auface_jax.training.losses import units
from auface_jax.training.tasks.au_image import AUImageTask, augment
from auface_jax.training.tasks.registry import make_task
from tests.helpers import tiny

FROZEN = {"unit_weights": np.ones(12, np.float32)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny.build_data(tmp_path_factory.mktemp("au_image") / "data")


def tiny_task(**changes):
    config = tiny.au_image_config()
    config.update(changes)
    return AUImageTask(config, config.num_steps)


# --- Losses --------------------------------------------------------------------------------------


def test_weighted_asymmetric_loss_equals_hand_computed_values():
    p = jnp.array([[0.9, 0.2, 0.5], [0.4, 0.6, 0.5]])
    labels = jnp.array([[1, 0, -1], [0, 1, 1]], jnp.int8)
    weights = jnp.array([1.0, 2.0, 0.5])
    terms = [np.log(0.9), 2 * 0.2 * np.log(0.8)]
    terms += [0.4 * np.log(0.6), 2 * np.log(0.6), 0.5 * np.log(0.5)]
    loss, gradient = jax.value_and_grad(units.weighted_asymmetric)(p, labels, weights)
    assert loss == pytest.approx(-np.sum(terms) / 5, rel=1e-6)
    # The factor p of an absent unit is a constant: d/dp [-p log(1 - p)] counts the log alone.
    assert gradient[0, 1] == pytest.approx(2 * 0.2 / 0.8 / 5, rel=1e-6)
    assert gradient[0, 2] == 0


def test_weighted_asymmetric_loss_is_finite_for_confident_wrong_answers():
    p = jnp.array([[0.0, 1.0]])
    labels = jnp.array([[1, 0]], jnp.int8)
    loss, gradient = jax.value_and_grad(units.weighted_asymmetric)(p, labels, jnp.ones(2))
    assert np.isfinite(loss) and loss > 10 and np.isfinite(gradient).all()


def test_unit_weights_are_inverse_rates_with_mean_one():
    labels = np.array([[1, 1, -1, 0], [1, 0, -1, 0], [1, 0, -1, -1], [1, 1, -1, -1]], np.int8)
    # Rates: 1; 1/2; none, since never coded; 1/2, since a unit that never occurs counts once.
    np.testing.assert_allclose(units.unit_weights(labels), np.array([1, 2, 0, 2]) * 3 / 5)


def test_edge_cross_entropy_encodes_the_presence_of_both_units():
    labels = jnp.array([[1, 0, -1]], jnp.int8)
    logits = jnp.zeros((1, 3, 3, 4))
    gradient = jax.grad(units.edge_cross_entropy)(logits, labels)
    classes = np.where(gradient.min(-1) < 0, gradient.argmin(-1), -1)
    np.testing.assert_array_equal(classes[0], [[3, 2, -1], [1, 0, -1], [-1, -1, -1]])
    assert units.edge_cross_entropy(logits, labels) == pytest.approx(np.log(4))


# --- Training ------------------------------------------------------------------------------------


def bright_corners(count=16):
    """Makes pictures in which one corner shows AU1 and another AU4; no other unit occurs."""
    batch = tiny.records(count)
    batch["labels"][:] = 0
    batch["labels"][:, 0], batch["labels"][:, 2] = np.arange(count) % 2, np.arange(count) // 2 % 2
    batch["image"] = (batch["image"] // 2).astype(np.uint8)
    batch["image"][batch["labels"][:, 0] == 1, :6, :6] += 120
    batch["image"][batch["labels"][:, 2] == 1, -6:, -6:] += 120
    return batch


def parts_that_moved(before, after):
    """Returns the names of the modules whose parameters differ."""
    return {
        name
        for name in before.params
        if any(
            not np.array_equal(a, b)
            for a, b in zip(
                jax.tree.leaves(before.params[name]),
                jax.tree.leaves(after.params[name]),
                strict=True,
            )
        )
    }


def parts_with_moments(state):
    """Returns the names of the modules whose first moments in Adam are not zero."""
    moments = state.opt_state[1][0].mu
    return {name for name in moments if any(map(np.any, jax.tree.leaves(moments[name])))}


@pytest.mark.slow
def test_two_stages_train_in_turn_and_learn_visible_units():
    task = tiny_task(num_steps=160, stage1_steps=80)
    task.config.learning_rates.update({"stage1": 5e-3, "stage2": 5e-3})
    batch = bright_corners()
    steps = {name: jax.jit(getattr(task, name)) for name in ("step", "stage2_step")}
    states, seen = [], []
    state = jax.jit(task.init)(jax.random.key(0), batch)
    for number in range(160):
        states.append(state)
        step = steps[task.step_fn(number + 1).__name__]
        state, metrics = step(state, FROZEN, batch, jax.random.key(number))
        seen.append(jax.device_get(metrics))
    # Stage 1 trains everything except the edge modules; stage 2 starts from its parameters.
    edges = {"edge_features", "gated_layers_0", "gated_layers_1", "edge_classifier"}
    assert parts_with_moments(states[80]) == set(state.params) - edges
    assert parts_that_moved(*states[80:82]) >= edges | {"backbone", "unit_blocks", "centres"}
    assert all(metrics["edges_loss"] == 0 for metrics in seen[:80])
    assert 0 < seen[-1]["edges_loss"] < seen[80]["edges_loss"]
    assert set(task.export(state)["params"]) == set(state.params) - {"nearest_graph"}
    records = batch | {"subjects": ["a"] * 16}
    evaluation = task.evaluate(state, FROZEN, {"test": records})
    assert evaluation.figures["au_f1_AU1"] == 1 and evaluation.figures["au_f1_AU4"] == 1
    assert evaluation.figures["au_f1"] == 1  # units that never occur are left out of the mean
    assert evaluation.figures["au_f1_always"] == pytest.approx(2 / 3)


def test_step_fn_follows_the_stage():
    for stage1_steps, expected in ((3, [1, 1, 1, 2, 2, 2]), (0, [2] * 6), (6, [1] * 6)):
        task = tiny_task(stage1_steps=stage1_steps)
        names = [task.step_fn(number).__name__ for number in range(1, 7)]
        assert names == [{1: "step", 2: "stage2_step"}[stage] for stage in expected]


def test_learning_rate_restarts_with_each_stage():
    task = tiny_task(num_steps=100, stage1_steps=60)
    task.config.learning_rates.update({"stage1": 2.0, "stage2": 1.0})
    task.config.optimizer.update({"warmup_steps": 10, "lr_decay_fraction": 0.5})
    rates = [float(task.learning_rate(step)) for step in (0, 9, 29, 45, 59, 60, 69, 79, 90, 99)]
    expected = [0.2, 2.0, 2.0, 1.0, 2 / 30, 0.1, 1.0, 1.0, 0.5, 0.05]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("stage1_steps", "last"), [(0, 2), (6, 1)])
def test_single_stage_has_only_its_own_parameters(stage1_steps, last):
    task = tiny_task(stage1_steps=stage1_steps)
    batch = tiny.records(4)
    state = jax.eval_shape(task.init, jax.random.key(0), batch)
    assert ("nearest_graph" in state.params) == (last == 1)
    assert ("edge_features" in state.params) == (last == 2)
    step = task.step_fn(1)
    after = jax.eval_shape(step, state, FROZEN, batch, jax.random.key(0))[0]
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), s) for s in (state, after)]
    assert shapes[0] == shapes[1]
    assert set(task.export(state)["params"]) == set(state.params)


@pytest.mark.slow
def test_batch_statistics_cover_the_global_batch():
    task = tiny_task(stage1_steps=0)
    batch = tiny.records(4)
    batch = {name: batch[name] for name in ("image", "labels")}
    rng = jax.random.key(1)
    state = jax.jit(task.init)(jax.random.key(0), batch)
    one, _ = jax.jit(task.stage2_step)(state, FROZEN, batch, rng)
    mesh, rules = sharding.make_mesh(task.config.mesh), task.config.mesh.rules
    assert mesh.shape["data"] == 2
    with sharding.mesh_context(mesh, rules):
        shardings = sharding.state_shardings(state, mesh, rules)
        step = jax.jit(task.stage2_step, out_shardings=(shardings, None))
        placed = jax.device_put(state, shardings)
        two, _ = step(placed, FROZEN, sharding.put_batch(batch, mesh, rules), rng)
    before, *after = (jax.tree.leaves(s.variables["batch_stats"]) for s in (state, one, two))
    for start, alone, shared in zip(before, *after, strict=True):
        assert not np.array_equal(start, alone)
        np.testing.assert_allclose(shared, alone, rtol=1e-4, atol=1e-5)


def test_invalid_settings_are_rejected():
    with pytest.raises(ValueError, match="role='test' is not one of loss, score"):
        tiny_task(role="test")
    with pytest.raises(ValueError, match="stage1_steps=9 is not between 0 .* num_steps=6"):
        tiny_task(stage1_steps=9)


# --- Pictures ------------------------------------------------------------------------------------


def augment_config(**changes):
    still = {"shift": 0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
    return ml_collections.ConfigDict(still | changes)


def test_augment_is_the_identity_at_zero_and_keeps_the_range():
    image = jnp.asarray(tiny.images(6) / 127.5 - 1, jnp.float32)
    same = augment(jax.random.key(0), image, 16, augment_config())
    np.testing.assert_allclose(same, image, atol=1e-6)
    strong = augment_config(brightness=0.9, contrast=0.9, saturation=0.9)
    other = augment(jax.random.key(0), image, 16, strong)
    assert np.abs(other - image).mean() > 0.05 and np.abs(other).max() <= 1


def test_random_crop_is_a_part_of_its_picture():
    image = jnp.asarray(tiny.images(8) / 127.5 - 1, jnp.float32)
    crops = np.asarray(augment(jax.random.key(3), image, 12, augment_config()))
    corners = set()
    for picture, crop in zip(np.asarray(image), crops, strict=True):
        corners |= {
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.allclose(picture[top : top + 12, left : left + 12], crop, atol=1e-5)
        }
    assert len(corners) > 4
    np.testing.assert_array_equal(centre_crop(image, 12), image[:, 2:14, 2:14])
    with pytest.raises(ValueError, match="16 x 16 px are smaller than the 20 px"):
        centre_crop(image, 20)


# --- People --------------------------------------------------------------------------------------


def people_config(**changes):
    return ml_collections.ConfigDict({"train": "", "test": "", "half": ""} | changes)


def test_people_reader_returns_all_records_of_the_chosen_people(dataset):
    info = read_info(dataset)
    names = [list(info["people"][split])[0] for split in ("test", "train", "val")]
    reader = chosen_people.PeopleReader(dataset, names)
    ids = [record.id for record in reader]
    everything = [record for split in info["people"] for record in ShardReader(dataset, split)]
    assert ids == [r.id for name in names for r in everything if r.subject == name]
    assert reader.counts == [sum(r.subject == name for r in everything) for name in names]
    assert len({reader.where(index) for index in range(len(reader))}) == len(reader)
    split = pipeline.load_split(dataset, "test", load_tokenizer(), (256,), people=names, limit=6)
    assert sorted(set(split["subjects"])) == sorted(names) and len(split["labels"]) == 6


def test_halves_share_nobody_and_keep_the_test_people(dataset):
    everybody = list(read_info(dataset)["people"]["train"])
    first, second = (
        chosen_people.chosen_people(dataset, people_config(half=half))
        for half in ("first", "second")
    )
    assert not set(first["train"]) & set(second["train"])
    assert set(first["train"]) | set(second["train"]) == set(everybody)
    assert first["test"] == second["test"] == list(read_info(dataset)["people"]["test"])
    assert chosen_people.chosen_people(dataset, people_config()) == {}
    assert chosen_people.chosen_people(dataset, None) == {}


def test_error_names_every_invalid_person(dataset, tmp_path):
    someone = list(read_info(dataset)["people"]["train"])[0]
    with pytest.raises(DatasetError, match="'Ann' is not in the set\n.*'Bob' is not in the set"):
        chosen_people.chosen_people(dataset, people_config(train=f"Ann {someone}, Bob"))
    with pytest.raises(DatasetError, match=f"{someone} .1 people. would be trained on and tested"):
        chosen_people.chosen_people(dataset, people_config(test=someone))
    with pytest.raises(DatasetError, match="people.half='third' is none of"):
        chosen_people.chosen_people(dataset, people_config(half="third"))
    names = tmp_path / "people.txt"
    names.write_text(f"{someone}\n")
    assert chosen_people.parse_people(str(names)) == [someone]
    many = [f"BP4D-F{n:03}" for n in range(400)]  # longer than the longest legal file name
    assert chosen_people.parse_people(", ".join(many)) == many


@pytest.mark.slow
def test_run_trains_on_its_people_and_exports_its_role(dataset, tmp_path):
    config = tiny.au_image_config(data=str(dataset))
    info = read_info(dataset)
    test = list(info["people"]["train"])[0]
    config.people.train = " ".join([*list(info["people"]["train"])[1:], *info["people"]["test"]])
    config.people.test = test
    config.people.half = ""
    labels = chosen_people.training_labels(config, limit=7)
    assert labels.shape == (7, 12)
    figures = loop.train(config, tmp_path / "run")
    assert 0 <= figures["eval/au_f1"] <= 1 and {"eval/au_f1_AU24"} <= figures.keys()
    exported = checkpoints.load_config(tmp_path / "run")
    assert exported.role == "score" and exported.people.test == test
    assert make_task(exported, exported.num_steps).stages == (1, 2)


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """A run without interruption, and its figures."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, loop.train(tiny.au_image_config(data=str(dataset)), workdir)


@pytest.mark.slow
def test_run_killed_in_either_stage_resumes_bit_for_bit(dataset, whole, tmp_path):
    config = tiny.au_image_config(data=str(dataset))
    assert config.stage1_steps == 3 and config.checkpoint_every == 2

    for step in (3, 5):  # the last checkpoint is of stage 1, then of stage 2
        with tiny.killed_at(step):
            loop.train(config, tmp_path)
    np.testing.assert_equal(loop.train(config, tmp_path), whole[1])
    runs = (checkpoints.load_export(workdir) for workdir in (tmp_path, whole[0]))
    jax.tree.map(np.testing.assert_array_equal, *runs)


def test_loss_recogniser_differs_in_seed_people_and_backbone():
    score, loss = tiny.load_config("au_image"), tiny.load_config("au_image_loss")
    assert (score.role, loss.role) == ("score", "loss")
    assert score.seed != loss.seed and score.people.half != loss.people.half
    assert score.model.backbone != loss.model.backbone
    assert score.data == loss.data


@pytest.mark.parametrize("name", ["au_image", "au_image_loss"])
@pytest.mark.parametrize("preset", ["open", "paper"])
def test_larger_presets_use_the_published_backbones(name, preset):
    model = tiny.load_config(name, preset).model
    assert not model.backbone_fields
    published = make_recognizer(model.backbone, dtype=jnp.dtype(model.dtype))
    assert build_recognizer(model, 2) == published
