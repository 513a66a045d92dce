"""The task of the text recogniser: batches, the network, frozen encoders, and runs."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from auface_jax import facs
from auface_jax.data.loading import pipeline, texts
from auface_jax.data.shards import DatasetError
from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.models.au_text_recognizer import LAYERS, AUTextHead
from auface_jax.pretrained import convert
from auface_jax.recognition.text_reader import load_text_reader
from auface_jax.runs import checkpoints, config_files
from auface_jax.training import loop
from auface_jax.training.state import parameter_count
from auface_jax.training.tasks.au_text import AUTextTask
from auface_jax.training.tasks.registry import make_task
from tests.helpers import tiny

TOKENIZER = load_tokenizer("")
BUCKETS = (64, 128)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.build_data(tmp_path_factory.mktemp("au_text") / "data")


def config(data="", **options):
    made = tiny.au_text_config(data=str(data))
    made.update(options)
    return made


# --- Batches -------------------------------------------------------------------------------------


def test_label_vectors_are_the_distinct_ones_of_the_records(data):
    records = pipeline.load_split(data, "train", TOKENIZER, BUCKETS)
    vectors = texts.label_vectors(data, "train")
    assert {v.tobytes() for v in vectors} == {v.tobytes() for v in records["labels"]}
    assert len(vectors) == len(np.unique(vectors, axis=0))
    assert set(np.unique(vectors)) <= {0, 1}


def stream(data, **options):
    options = {"per_row": 5, "paraphrased": 0.5, "group": 1, "seed": 0, "batch_size": 8} | options
    return texts.training_iterator(data, tokenizer=TOKENIZER, buckets=BUCKETS, **options)


def test_epoch_without_paraphrase_has_five_texts_for_each_label_vector(data):
    epoch = 5 * len(texts.label_vectors(data, "train"))
    iterator = stream(data, paraphrased=0.0, batch_size=epoch)
    first, second = next(iterator), next(iterator)
    pairs = []
    for batch in (first, second):
        said = [TOKENIZER.decode(tokens) for tokens in batch["text_tokens"]]
        pairs.append(sorted(zip(map(bytes, batch["labels"]), said, strict=True)))
        counts = np.unique(batch["labels"], axis=0, return_counts=True)[1]
        np.testing.assert_array_equal(counts, 5)
    assert pairs[0] == pairs[1]  # epochs differ in their order alone
    assert not np.array_equal(first["labels"], second["labels"])
    dictionary = facs.load_dictionary()
    labels, text = first["labels"][0], TOKENIZER.decode(first["text_tokens"][0])
    choices = [dictionary.constructs[name] for name in facs.constructs(labels)]
    assert any(text.startswith(start) for start in (choices or [dictionary.neutral])[0])


def test_stream_uses_the_words_of_the_given_dictionary(data):
    own = facs.load_dictionary()
    constructs = {name: [f"Satz {n} zu {name}" for n in range(5)] for name in own.constructs}
    other = dataclasses.replace(own, constructs=constructs, neutral=["nichts"] * 5)
    batch = next(stream(data, paraphrased=0.0, dictionary=other))
    for labels, tokens in zip(batch["labels"], batch["text_tokens"], strict=True):
        said = TOKENIZER.decode(tokens)
        names = facs.constructs(labels)
        assert all(f"zu {name}" in said for name in names) if names else said == "nichts"


def test_paraphrases_differ_between_epochs(data):
    epoch = 5 * len(texts.label_vectors(data, "train"))
    iterator = stream(data, paraphrased=1.0, batch_size=epoch)
    one, two = ({bytes(tokens) for tokens in next(iterator)["text_tokens"]} for _ in range(2))
    assert len(one & two) < 0.2 * epoch


@pytest.mark.parametrize("group", [1, 3])
def test_stream_resumes_from_a_state(data, group):
    whole = stream(data, batch_size=4, group=group)
    next(whole), next(whole)
    state, third = whole.get_state(), next(whole)
    resumed = stream(data, batch_size=4, group=group)
    resumed.set_state(state)
    np.testing.assert_array_equal(next(resumed)["text_tokens"], third["text_tokens"])


def test_processes_share_the_batches_of_one_stream(data):
    whole = stream(data, batch_size=4, group=3)
    parts = [stream(data, batch_size=2, group=3, process_index=i, process_count=2) for i in (0, 1)]
    for _ in range(9):
        batch, dealt = next(whole), [next(part) for part in parts]
        for name in batch:  # all processes pad texts to the same length
            joined = np.concatenate([part[name] for part in dealt])
            np.testing.assert_array_equal(joined, batch[name])


def test_batches_of_a_group_are_sorted_by_length_without_loss(data):
    drawn = next(stream(data, batch_size=32))
    grouped = stream(data, batch_size=8, group=4)
    batches = [next(grouped) for _ in range(4)]
    lengths = [batch["text_mask"].sum(1) for batch in batches]
    in_order = sorted(lengths, key=lambda found: (found.min(), found.max()))
    assert all(a.max() <= b.min() for a, b in itertools.pairwise(in_order))
    for batch, found in zip(batches, lengths, strict=True):
        length = batch["text_tokens"].shape[1]
        assert length == min(bucket for bucket in BUCKETS if bucket >= found.max())
        assert batch["text_mask"].shape == batch["text_tokens"].shape

    def said(batch):
        examples = zip(batch["labels"], batch["text_tokens"], batch["text_mask"], strict=True)
        return [(bytes(labels), bytes(tokens[mask])) for labels, tokens, mask in examples]

    assert sorted(said(drawn)) == sorted(pair for batch in batches for pair in said(batch))


def test_load_split_is_deterministic_and_respects_its_limit(data):
    one = texts.load_split(data, "test", TOKENIZER, BUCKETS, paraphrased=0.5)
    two = texts.load_split(data, "test", TOKENIZER, BUCKETS, paraphrased=0.5)
    assert one["texts"] == two["texts"] and len(one["texts"]) == len(one["labels"])
    assert len(texts.load_split(data, "test", TOKENIZER, BUCKETS, limit=2)["texts"]) == 2


def test_invalid_stream_options_are_rejected(data):
    with pytest.raises(ValueError, match="texts.per_row is 0, .*1.5 and texts.group 0"):
        stream(data, per_row=0, paraphrased=1.5, group=0)
    with pytest.raises(DatasetError, match="has no split 'dev'"):
        texts.label_vectors(data, "dev")


# --- The network ---------------------------------------------------------------------------------


def test_head_has_four_layers_and_ignores_padding():
    head = AUTextHead(width=8)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 5, 6)).astype(np.float32)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    variables = head.init(jax.random.key(0), features, mask)
    kernels = [p["kernel"].shape for p in variables["params"].values()]
    assert len(kernels) == LAYERS == 4
    assert kernels == [(6, 8), (8, 8), (8, 8), (8, 12)]
    logits = head.apply(variables, features, mask)
    features[0, 3:] = 1e6
    np.testing.assert_array_equal(head.apply(variables, features, mask), logits)
    short = head.apply(variables, features[:1, :3], mask[:1, :3])
    np.testing.assert_allclose(short, logits[:1], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "open", "quickstart"])
def test_every_preset_builds_a_state_and_a_step(preset):
    made = config_files.load_config_file(tiny.CONFIGS / "au_text.py", preset)
    task = make_task(made, made.num_steps)
    assert isinstance(task, AUTextTask)
    length, batch_size = made.data.buckets[0], made.batch_size
    batch = {
        "labels": jax.ShapeDtypeStruct((batch_size, 12), jnp.int8),
        "text_tokens": jax.ShapeDtypeStruct((batch_size, length), jnp.int32),
        "text_mask": jax.ShapeDtypeStruct((batch_size, length), jnp.bool_),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    if preset == "paper":  # only the tokenizer of this preset needs a file
        assert made.model.text_encoder.vocab_size == 32_128
    state = jax.eval_shape(task.init, key, batch)
    encoder = jax.eval_shape(
        task.recognizer.encoder.init, key, batch["text_tokens"], batch["text_mask"]
    )["params"]
    frozen = {"encoder": encoder} if preset == "paper" else {}
    assert set(state.params) == ({"head"} if preset == "paper" else {"encoder", "head"})
    assert parameter_count(encoder) > (300_000_000 if preset == "paper" else 100_000)
    after, metrics = jax.eval_shape(task.step, state, frozen, batch, key)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert all(metric.shape == () for metric in metrics.values())


def test_task_learns_the_units_of_words(data):
    """The texts have twelve words, one for each unit, alone or together."""
    made = config(data)
    made.optimizer.update(
        {
            "learning_rate": 5e-3,
            "muon_lr_multiplier": 0.0,
            "warmup_steps": 1,
            "lr_decay_fraction": 0.2,
        }
    )
    task = AUTextTask(made, num_steps=150)
    rng = np.random.default_rng(0)
    labels = (rng.random((64, 12)) < 0.3).astype(np.int8)
    tokens = np.where(labels == 1, np.arange(12) + 100, 7).astype(np.int32)
    batch = {"labels": labels, "text_tokens": tokens, "text_mask": np.ones_like(tokens, bool)}
    state, step = jax.jit(task.init)(jax.random.key(0), batch), jax.jit(task.step)
    for number in range(150):
        state, metrics = step(state, {}, batch, jax.random.key(number))
    assert metrics["f1"] > 0.98
    found = task.predict({"params": state.params}, tokens, batch["text_mask"])
    assert found.dtype == np.float32 and ((found > 0.5) == (labels == 1)).mean() > 0.98


# --- Runs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "au_text"
    return workdir, loop.train(config(data), workdir)


@pytest.mark.slow
def test_run_reports_each_figure_and_loads_as_a_text_reader(run, data):
    workdir, figures = run
    for name in ("f1", "f1_new_rows", "f1_paraphrased", "f1_other_words"):
        assert f"eval/{name}" in figures
    assert {f"eval/f1_other_words_AU{n}" for n in facs.AU_NUMBERS} <= set(figures)
    assert "eval/f1_other_words_second_person" in figures
    reader = load_text_reader(workdir)
    assert reader.thresholds.shape == (12,) and reader.thresholds.dtype == np.float32
    found = reader.probabilities(["Your chin is up.", "", "眉", "smile " * 500])
    assert found.shape == (4, 12) and ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(reader.probabilities(["Your chin is up."])[0], found[0], atol=1e-5)
    assert reader.probabilities([]).shape == (0, 12)


@pytest.mark.slow
def test_killed_run_resumes_bit_for_bit(run, data, tmp_path):
    workdir, figures = run
    made = config(data)

    with tiny.killed_at(made.checkpoint_every + 1):
        loop.train(made, tmp_path / "run")
    assert not checkpoints.has_export(tmp_path / "run")
    np.testing.assert_equal(loop.train(config(data), tmp_path / "run"), figures)
    ours, theirs = checkpoints.load_export(tmp_path / "run"), checkpoints.load_export(workdir)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_runs_of_other_tasks_are_rejected_as_text_readers(data, tmp_path):
    with pytest.raises(checkpoints.CheckpointError, match="does not exist"):
        load_text_reader(tmp_path / "none")
    made = tiny.au_probe_config(data=str(data))
    checkpoints.save_export(tmp_path, {"params": {"x": np.zeros(1)}}, made, {"text_tokenizer": ""})
    with pytest.raises(
        checkpoints.CheckpointError, match="task au_probe, and a run of the task au_text is needed"
    ):
        load_text_reader(tmp_path)


@pytest.mark.slow
def test_text_reader_rejects_another_tokenizer(run, tmp_path):
    workdir, _ = run
    made = checkpoints.load_config(workdir)
    weights = checkpoints.load_export(workdir)
    checkpoints.save_export(tmp_path, weights, made, {"text_tokenizer": "f" * 64})
    with pytest.raises(checkpoints.CheckpointError, match="tokenizer ffffffffffff.*is now"):
        load_text_reader(tmp_path)


@pytest.mark.slow
def test_published_encoder_is_loaded_and_not_trained(data, tmp_path, monkeypatch):
    made = config(data)
    fields = tiny.TEXT_FIELDS | {"vocab_size": TOKENIZER.vocab_size}
    with made.unlocked():
        made.model.text_encoder.vocab_size = TOKENIZER.vocab_size
    made.model.text_weights = "weights/t5-tiny"
    network = convert.find_network("t5")
    module = network.module(**fields)
    variables = jax.device_get(
        jax.jit(module.init)(
            jax.random.key(5), jnp.zeros((1, 4), jnp.int32), jnp.ones((1, 4), bool)
        )
    )

    def load(folder, name, **wanted):
        assert (folder, name) == ("weights/t5-tiny", "t5") and wanted == fields
        return convert.Pretrained("t5", module, variables, "0" * 64)

    monkeypatch.setattr(convert, "load", load)
    figures = loop.train(made, tmp_path / "run")
    assert "eval/f1" in figures
    exported = checkpoints.load_export(tmp_path / "run")
    assert set(exported["params"]) == {"head"}
    reader = load_text_reader(tmp_path / "run")
    before = reader.probabilities(["The chin is pushed up."])
    embedding = variables["params"]["embedding"]
    embedding["embedding"] = -embedding["embedding"]
    text = "The chin is pushed up."
    assert not np.allclose(load_text_reader(tmp_path / "run").probabilities([text]), before)
