"""TensorFlow Datasets reads the same records as our own reader, without TensorFlow."""

import importlib.util
import shutil
import subprocess
import sys

import grain
import numpy as np
import pytest
import tensorflow_datasets as tfds

from auface_jax.data import tfds_dataset
from auface_jax.data.build.builder import build
from auface_jax.data.loading.pipeline import record_text
from auface_jax.data.record import REFERENCES, RecordError, decode_image
from auface_jax.data.shards import ShardReader
from tests.helpers.small_dataset import write_folder
from tests.helpers.tiny import command_environment

SIZE = 16


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    labels = write_folder(folder / "faces", size=SIZE)
    options = {"source": "folder", "labels": str(labels), "size": SIZE, "shard_records": 5}
    build(folder / "built", **options, processes=1, progress=False)
    return (folder / "built").rename(folder / "set")  # a set may move


@pytest.fixture(scope="module")
def builder(directory):
    return tfds.builder_from_directory(directory)


@pytest.mark.parametrize("split", ["train", "val", "test", REFERENCES])
def test_examples_equal_the_records(directory, builder, split):
    records = ShardReader(directory, split)
    source = builder.as_data_source(split)
    assert len(source) == len(records) == builder.info.splits[split].num_examples
    for example, record in zip(source, records, strict=True):
        assert example.keys() == builder.info.features.keys()
        np.testing.assert_array_equal(example["image"], decode_image(record, SIZE))
        np.testing.assert_array_equal(example["labels"], record.labels)
        assert np.isnan(example["intensities"]).all() and example["landmarks"].shape == (0, 2)
        assert example["text"] == record_text(record)
        assert tuple(example["constructs"]) == record.constructs
        for name in ("subject", "task", "frame", "source", "reference", "exact"):
            assert example[name] == getattr(record, name), name
        for name in ("image", "labels", "intensities", "landmarks"):
            assert example[name].dtype == builder.info.features[name].np_dtype, name


def test_slices_and_batches_have_the_records_in_order(directory, builder):
    names = [r.id for r in ShardReader(directory, "train")]

    def ids(source):
        return [f"{e['subject']}/{e['task']}/{e['frame']}" for e in source]

    half = builder.as_data_source("train[50%:]")
    assert ids(half) == names[-len(half) :] and len(half) == round(len(names) / 2)
    source = builder.as_data_source("train")
    assert ids(source.__getitems__([7, 0, 3])) == [names[7], names[0], names[3]]
    shuffled = grain.MapDataset.source(source).seed(0).shuffle()
    assert sorted(ids(shuffled)) == sorted(names) != ids(shuffled)


def test_description_names_splits_units_and_licence(builder):
    info = builder.info
    assert set(info.splits) == {"train", "val", "test", REFERENCES}
    assert "2603.18588" in info.citation and "AU1, 2, 4, 6" in info.description
    assert "terms of their source" in str(info.redistribution_info.license)
    assert info.features["image"].shape == (SIZE, SIZE, 3)
    assert info.features["labels"].shape == (12,)


@pytest.mark.slow
def test_opening_does_not_import_tensorflow(directory):
    program = f"""
import sys
import tensorflow_datasets as tfds
source = tfds.builder_from_directory({str(directory)!r}).as_data_source("train")
assert source[0]["image"].shape == ({SIZE}, {SIZE}, 3)
assert "tensorflow" not in sys.modules
print(len(source))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=command_environment()
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == str(len(ShardReader(directory, "train")))


def test_command_describes_a_data_set_built_without_tfds(directory, builder, tmp_path, capsys):
    files = ("dataset_info.json", "features.json", "LICENSE")
    bare = shutil.copytree(directory, tmp_path / "bare", ignore=shutil.ignore_patterns(*files))
    assert not (bare / files[0]).exists()
    tfds_dataset.main([str(bare)])
    assert f"train {builder.info.splits['train'].num_examples}" in capsys.readouterr().out
    for name in files:
        assert (bare / name).read_bytes() == (directory / name).read_bytes(), name


def test_build_without_tfds_names_the_command(tmp_path, monkeypatch, capsys):
    labels = write_folder(tmp_path / "faces", size=SIZE)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    options = {"source": "folder", "labels": str(labels), "size": SIZE, "processes": 1}
    build(tmp_path / "set", **options, progress=False)
    assert f"auface_jax.data.tfds_dataset {tmp_path / 'set'}" in capsys.readouterr().out
    assert not (tmp_path / "set" / "dataset_info.json").exists()


def test_what_cannot_be_read_is_refused(builder, directory, tmp_path):
    features = builder.info.features
    with pytest.raises(RecordError, match="not a record"):
        features.deserialize_example_np(b"\x81")
    source = builder.as_data_source("train", decoders={"image": tfds.decode.SkipDecoding()})
    with pytest.raises(NotImplementedError, match="without decoders"):
        source[0]
    with pytest.raises(NotImplementedError, match="as_data_source"):
        features.deserialize_example(b"")
    with pytest.raises(SystemExit, match="holds no data set"):
        tfds_dataset.main([str(tmp_path)])
