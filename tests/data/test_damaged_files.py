"""Damaged files of every format raise the documented error and no other."""

import io
import json
import pickle
import struct
import zlib

import ml_collections
import numpy as np
import pytest
import tokenizers
from absl import flags
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_collections import config_flags
from PIL import Image
from safetensors.numpy import save as safetensors_bytes

from auface_jax.data import shards, tokenizer
from auface_jax.data.build import builder
from auface_jax.data.record import RecordError, decode_image, decode_record, encode_record
from auface_jax.data.sources.base import SourceError
from auface_jax.data.sources.folder import FolderFaces
from auface_jax.facs import descriptions
from auface_jax.images.files import ImageFileError, read_rgb
from auface_jax.parallel import sharding
from auface_jax.pretrained import weight_files
from auface_jax.pretrained.weight_files import WeightFileError
from auface_jax.runs import checkpoints, config_page, presets, run_config
from auface_jax.runs.checkpoints import CheckpointError
from auface_jax.training import guard
from auface_jax.training.config_check import ConfigError, check_config
from auface_jax.training.log import read_lines
from auface_jax.training.tasks.registry import make_task
from tests.helpers import tiny
from tests.helpers.small_dataset import write_folder


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """Draws `whole` with a few bytes changed, inserted or deleted; or other bytes altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["change", "insert", "cut", "end"])):
            case "change" if place < len(data):
                data[place] = draw(st.integers(0, 255))
            case "insert":
                data[place:place] = draw(
                    st.sampled_from([b"\0", b'"', b"[", b"{" * 50, b"-1", b"9" * 5000, b"\xff\xfe"])
                    | st.binary(max_size=8)
                )
            case "cut":
                del data[place : place + draw(st.integers(1, 50))]
            case "end":
                del data[place:]
    return bytes(data)


def survives(whole: bytes, load, *errors, examples=None):
    """Feeds damaged copies of `whole` to `load`, which may raise `errors` and nothing else."""

    limits = {} if examples is None else {"max_examples": examples}

    @settings(suppress_health_check=list(HealthCheck), **limits)
    @given(damaged(whole))
    def feed(data):
        try:
            load(data)
        except errors as error:
            assert str(error)

    feed()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def record(folder):
    """Bytes of a record, as a build writes it."""
    labels = write_folder(folder / "faces", people=3, frames=3, size=16)
    builder.build(
        folder / "set", source="folder", labels=str(labels), size=16, processes=1, progress=False
    )
    return encode_record(shards.ShardReader(folder / "set", "train")[0])


def written(path, load):
    """Wraps `load`, a function of a path, as a function of the bytes of the file."""

    def load_bytes(data):
        path.write_bytes(data)
        return load(path)

    return load_bytes


def test_damaged_records_raise_record_errors(record):
    def load(data):
        found = decode_record(data)
        decode_image(found, 16)

    survives(record, load, RecordError)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_damaged_images_raise_image_file_errors(folder, form):
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    Image.fromarray(noise).save(whole, form)
    path = folder / f"image.{form.lower()}"
    survives(whole.getvalue(), written(path, read_rgb), ImageFileError)


def test_picture_that_would_fill_memory_is_refused(folder):
    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(99))), chunk(b"IEND", b"")]
    (folder / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(ImageFileError, match="cannot be read as an image|pixels, at most"):
        read_rgb(folder / "large.png")


def test_damaged_dictionaries_raise_dictionary_errors():
    whole = json.dumps(
        {
            "schema_version": 1,
            "language": "en",
            "neutral": ["a", "b", "c", "d", "e"],
            "constructs": {"AU1": ["f", "g", "h", "i", "j"]},
        }
    ).encode()

    def load(data):
        descriptions.parse_dictionary(data, source="damaged")

    survives(whole, load, descriptions.DictionaryError)


def test_damaged_tables_raise_source_errors(folder):
    labels = write_folder(folder / "table", people=2, frames=2, size=8)

    def load(path):
        FolderFaces(labels=str(path), size=16, uncoded_units="absent")

    path = labels.with_name("damaged.csv")
    survives(labels.read_bytes(), written(path, load), SourceError)


def test_damaged_safetensors_raise_weight_file_errors(folder):
    whole = safetensors_bytes({"a.weight": np.ones((2, 3), np.float32), "b": np.zeros(4, np.int8)})

    def load(path):
        source = weight_files.open_source(path)
        for key in source.shapes:
            assert source.read(key).shape == source.shape(key)

    survives(whole, written(folder / "x.safetensors", load), WeightFileError)


def test_damaged_weight_indices_raise_weight_file_errors(folder):
    shard = folder / "sharded" / "one.safetensors"
    shard.parent.mkdir()
    shard.write_bytes(safetensors_bytes({"a": np.ones(2, np.float32)}))
    whole = json.dumps({"weight_map": {"a": "one.safetensors"}}).encode()
    path = shard.with_name("model.safetensors.index.json")
    survives(whole, written(path, weight_files.open_source), WeightFileError)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/outside.safetensors"])
def test_weight_index_cannot_name_files_outside_its_folder(tmp_path, name):
    path = tmp_path / "weights" / "model.safetensors.index.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"weight_map": {"a": name}}))
    (tmp_path / "outside.safetensors").write_bytes(safetensors_bytes({"a": np.ones(2)}))
    with pytest.raises(WeightFileError, match="names files outside of its folder"):
        weight_files.open_source(path)


class Opened:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_pickles_are_not_opened(folder, suffix):
    if suffix == ".pth":
        pytest.importorskip("torch")
    path = folder / f"pickle{suffix}"
    path.write_bytes(pickle.dumps({"state_dict": Opened()}))
    with pytest.raises(WeightFileError):
        weight_files.open_source(path)


def test_damaged_tokenizers_raise_value_errors(folder):
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "brow": 3, "raised": 4}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    place = folder / "tokenizer"
    place.mkdir()
    backend.save(str(place / "tokenizer.json"))
    settings_file = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    (place / "tokenizer_config.json").write_text(json.dumps(settings_file))
    assert tokenizer.load_tokenizer(str(place)).encode_batch(["brow raised"], (4,))[0][0, 0] == 3

    def load(path):
        found = tokenizer.load_tokenizer(str(path.parent))
        found.encode_batch(["brow raised"], (16,))

    for name in ("tokenizer.json", "tokenizer_config.json"):
        whole = (place / name).read_bytes()
        survives(whole, written(place / name, load), ValueError, examples=40)
        (place / name).write_bytes(whole)


CONFIGS = {name: tiny.load_config(name) for name in ("stage1", "stage2", "au_image", "au_text")}


@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_config_override_is_refused_or_works(data):
    """A flag may set any leaf to any value: it is refused with a message, or it works."""
    config = CONFIGS[data.draw(st.sampled_from(sorted(CONFIGS)))].copy_and_resolve_references()
    leaf = data.draw(st.sampled_from(sorted(config_page.flatten(config.to_dict()))))
    value = data.draw(
        st.sampled_from(["", "0", "-1", "nan", "inf", "-inf", "1e400", "9" * 400, "None", "True"])
        | st.sampled_from(["(1, 2)", "()", "(nan,)", "[", "'a'", "1.5", "__import__('os')", "\0"])
        | st.text(max_size=10)
    )
    found = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config.lock(), flag_values=found)
    try:
        found(["train", f"--config.{leaf}={value}"])
    except flags.Error as error:
        assert str(error)
        return
    try:
        check_config(found.config)
        sharding.make_mesh(found.config.mesh)
        guard.Guard(found.config.guard)
        make_task(found.config, found.config.num_steps)
    except ValueError as error:
        assert str(error)


def test_all_illegal_numbers_of_a_config_are_listed():
    config = tiny.load_config("stage2")
    config.batch_size, config.optimizer.b1, config.loss.quantizer_weights = 0, 1.5, (1.0, -2.0)
    config.optimizer.learning_rate = float("nan")
    with pytest.raises(ConfigError) as refused:
        check_config(config)
    assert str(refused.value).splitlines()[1:] == [
        "  batch_size=0: expected 1 or more",
        "  loss.quantizer_weights=(1.0, -2.0): expected 0 or more",
        "  optimizer.b1=1.5: expected a share, from 0 to 1",
        "  optimizer.learning_rate=nan: expected a finite number",
    ]


PAGES = [p.stem for p in sorted(tiny.CONFIGS.glob("*.py")) if "def get_config(" in p.read_text()]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_presets_pass_the_config_check(name, preset):
    check_config(tiny.load_config(name, preset))


# --- A run's own files ---------------------------------------------------------------------------


def test_damaged_reports_raise_value_errors(folder):
    whole = b'{"step": 1, "loss": 0.5}\n{"step": 2, "loss": NaN}\n{"step": 3, "lo'

    def load(path):
        assert all(isinstance(line["step"], int) for line in read_lines(path))

    survives(whole, written(folder / "metrics.jsonl", load), ValueError)


def test_damaged_run_configs_raise_checkpoint_errors(folder):
    config = ml_collections.ConfigDict({"task": "vqgan", "data": {"size": 8, "buckets": (1, 2)}})
    (folder / "run").mkdir()

    def load(path):
        run_config.write_config(config, folder / "run")

    whole = config.to_json_best_effort().encode()
    survives(whole, written(folder / "run" / "config.json", load), CheckpointError)


@pytest.mark.parametrize("name", ["config.json", "meta.json"])
def test_damaged_exports_raise_checkpoint_errors(folder, name):
    run = folder / f"of-{name}"
    (run / "export").mkdir(parents=True)
    files = {
        "config.json": {"task": "vqgan", "model": {"num_quantizers": 2}},
        "meta.json": {"x": "y"},
    }
    files["meta.json"]["format_version"] = checkpoints.FORMAT_VERSION
    for file, content in files.items():
        (run / "export" / file).write_text(json.dumps(content))

    def load(path):
        checkpoints.load_config(run)
        checkpoints.load_meta(run)

    survives(
        json.dumps(files[name]).encode(), written(run / "export" / name, load), CheckpointError
    )
