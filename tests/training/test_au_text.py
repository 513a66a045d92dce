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
from auface_jax.facs.wording import DICTIONARY_ONLY, Wording
from auface_jax.models import t5
from auface_jax.models.au_text_recognizer import LAYERS, AUQueryHead, AUTextHead
from auface_jax.models.bert import BertEncoder
from auface_jax.pretrained import convert
from auface_jax.recognition import text_reader
from auface_jax.recognition.text_reader import load_text_reader
from auface_jax.runs import checkpoints, config_files
from auface_jax.training import loop
from auface_jax.training.state import parameter_count
from auface_jax.training.tasks.au_text import AUTextTask
from auface_jax.training.tasks.registry import make_task
from tests.helpers import tiny
from tests.helpers.converted import write_converted

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
    defaults = {"per_row": 5, "wording": Wording(0.5, 0.5), "group": 1, "seed": 0, "batch_size": 8}
    options = defaults | options
    return texts.training_iterator(data, tokenizer=TOKENIZER, buckets=BUCKETS, **options)


def test_epoch_has_five_texts_of_each_label_vector(data):
    epoch = 5 * len(texts.label_vectors(data, "train"))
    iterator = stream(data, wording=DICTIONARY_ONLY, batch_size=epoch)
    first, second = next(iterator), next(iterator)
    for batch in (first, second):
        counts = np.unique(batch["labels"], axis=0, return_counts=True)[1]
        np.testing.assert_array_equal(counts, 5)
        np.testing.assert_array_equal(batch["degrees"], 0)
    assert not np.array_equal(first["labels"], second["labels"])
    dictionary = facs.load_dictionary()
    labels, text = first["labels"][0], TOKENIZER.decode(first["text_tokens"][0])
    choices = [dictionary.constructs[name] for name in facs.constructs(labels)]
    assert any(text.startswith(start) for start in (choices or [dictionary.neutral])[0])


def test_stream_uses_the_words_of_the_given_dictionary(data):
    own = facs.load_dictionary()
    constructs = {name: [f"Satz {n} zu {name}" for n in range(5)] for name in own.constructs}
    other = dataclasses.replace(own, constructs=constructs, neutral=["nichts"] * 5)
    batch = next(stream(data, wording=DICTIONARY_ONLY, dictionary=other))
    for labels, tokens in zip(batch["labels"], batch["text_tokens"], strict=True):
        said = TOKENIZER.decode(tokens)
        names = facs.constructs(labels)
        assert all(f"zu {name}" in said for name in names) if names else said == "nichts"


def test_stated_degrees_come_with_the_texts(data):
    wording = Wording(0.0, 1.0, degrees=1.0)
    batch = next(stream(data, wording=wording, batch_size=40))
    stated = batch["degrees"] > 0
    np.testing.assert_array_equal(stated, batch["labels"] == 1)
    assert batch["degrees"].max() == 5


def test_random_label_vectors_take_the_place_of_the_data_s(data):
    known = {bytes(row) for row in texts.label_vectors(data, "train")}
    labels = next(stream(data, random_rows=1.0, batch_size=40))["labels"]
    assert all(1 <= row.sum() <= 7 for row in labels)
    assert sum(bytes(row) not in known for row in labels) > 20


def test_texts_that_speak_of_no_face_state_no_unit(data):
    batch = next(stream(data, unrelated=1.0, batch_size=20))
    assert not batch["labels"].any() and not batch["degrees"].any()
    assert len(set(texts.unrelated_texts())) == len(texts.unrelated_texts()) > 100


def test_paraphrases_differ_between_epochs(data):
    epoch = 5 * len(texts.label_vectors(data, "train"))
    iterator = stream(data, wording=Wording(0.0, 1.0), batch_size=epoch)
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
    one = texts.load_split(data, "test", TOKENIZER, BUCKETS, kind="paraphrase")
    two = texts.load_split(data, "test", TOKENIZER, BUCKETS, kind="paraphrase")
    assert one["texts"] == two["texts"] and len(one["texts"]) == len(one["labels"])
    assert len(texts.load_split(data, "test", TOKENIZER, BUCKETS, limit=2)["texts"]) == 2


def test_invalid_stream_options_are_rejected(data):
    with pytest.raises(ValueError, match="texts.per_row is 0 and data.group 0"):
        stream(data, per_row=0, group=0)
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
    assert len(kernels) == LAYERS + 1 == 5  # units and degrees read the same hidden layers
    assert kernels == [(6, 8), (8, 8), (8, 8), (8, 12), (8, 72)]


@pytest.mark.parametrize("head", [AUTextHead(width=8), AUQueryHead(width=8)])
def test_heads_ignore_padding(head):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 5, 6)).astype(np.float32)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    variables = head.init(jax.random.key(0), features, mask)
    read = head.apply(variables, features, mask)
    assert read.units.shape == (2, 12) and read.degrees.shape == (2, 12, 6)
    features[0, 3:] = 1e3
    jax.tree.map(np.testing.assert_array_equal, head.apply(variables, features, mask), read)
    short = head.apply(variables, features[:1, :3], mask[:1, :3])
    np.testing.assert_allclose(short.units, read.units[:1], atol=1e-5)
    np.testing.assert_allclose(short.degrees, read.degrees[:1], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "open", "quickstart"])
def test_every_preset_builds_a_state_and_a_step(preset, monkeypatch):
    if preset == "paper":  # whose weights are not here
        large = convert.Pretrained("t5", t5.T5Encoder(**t5.SIZES["t5-large"]), {"params": {}}, "")
        monkeypatch.setattr(text_reader, "load_text_encoder", lambda *_, **__: large)
    made = config_files.load_config_file(tiny.CONFIGS / "au_text.py", preset)
    if preset == "paper":
        made.data.tokenizer = ""  # T5's is not here either
    task = make_task(made, made.num_steps)
    assert isinstance(task, AUTextTask)
    length, batch_size = made.data.buckets[0], made.batch_size
    batch = {
        "labels": jax.ShapeDtypeStruct((batch_size, 12), jnp.int8),
        "degrees": jax.ShapeDtypeStruct((batch_size, 12), jnp.int8),
        "text_tokens": jax.ShapeDtypeStruct((batch_size, length), jnp.int32),
        "text_mask": jax.ShapeDtypeStruct((batch_size, length), jnp.bool_),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
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
            "warmup_steps": 1,
            "lr_decay_fraction": 0.2,
        }
    )
    task = AUTextTask(made, num_steps=150)
    rng = np.random.default_rng(0)
    labels = (rng.random((64, 12)) < 0.3).astype(np.int8)
    tokens = np.where(labels == 1, np.arange(12) + 100, 7).astype(np.int32)
    batch = {"labels": labels, "text_tokens": tokens, "text_mask": np.ones_like(tokens, bool)}
    batch["degrees"] = np.where(labels == 1, 1 + np.arange(12) % 5, 0).astype(np.int8)
    state, step = jax.jit(task.init)(jax.random.key(0), batch), jax.jit(task.step)
    for number in range(150):
        state, metrics = step(state, {}, batch, jax.random.key(number))
    assert metrics["f1"] > 0.98
    found = task.predict({"params": state.params}, tokens, batch["text_mask"])
    degrees = task._reader({"params": state.params}).read_tokens(tokens, batch["text_mask"])[1]
    assert (degrees == batch["degrees"])[labels == 1].mean() > 0.98
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
def test_published_encoder_is_loaded_and_not_trained(data, tmp_path):
    made = config(data)
    fields = {"d_model": 16, "d_ff": 16, "num_layers": 2, "num_heads": 2, "max_length": 128}
    fields["vocab_size"] = TOKENIZER.vocab_size
    module = BertEncoder(**fields)
    variables = jax.device_get(
        module.init(jax.random.key(5), jnp.zeros((1, 4), jnp.int32), jnp.ones((1, 4), bool))
    )
    weights = write_converted(tmp_path / "bert", "bert", fields, variables)
    made.model.update({"text_weights": str(weights), "train_text": False, "text_layers": 1})
    figures = loop.train(made, tmp_path / "run")
    assert "eval/f1" in figures
    assert set(checkpoints.load_export(tmp_path / "run")["params"]) == {"head"}
    text = "The chin is pushed up."
    before = load_text_reader(tmp_path / "run").probabilities([text])
    embedding = variables["params"]["embedding"]
    embedding["embedding"] = -embedding["embedding"]
    write_converted(tmp_path / "bert", "bert", fields, variables)
    assert not np.allclose(load_text_reader(tmp_path / "run").probabilities([text]), before)
