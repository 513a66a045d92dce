"""A built data set as TensorFlow Datasets reads it: the same shards, and a description beside them.

`build` ends with it. It writes `dataset_info.json`, `features.json` and `LICENSE`, by which

    import tensorflow_datasets as tfds
    tfds.builder_from_directory(DIR).as_data_source("train")

opens the folder, without TensorFlow and without a second copy of the images. TFDS keeps examples as
tf.Example messages as a rule; `features.json` names `FaceRecord` below instead, which decodes our
records, so there is one format and one reader for Grain and for TFDS. A tf.Example of the same
fields takes TFDS four times as long to unpack as a record takes. Whoever reads a set so needs this
package installed beside TFDS. A folder that was built where there is no TFDS gets the files by

    python -m auface_jax.data.tfds_dataset DIR
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from auface_jax import facs
from auface_jax.data.loading.pipeline import record_text
from auface_jax.data.record import NUM_UNITS, decode_image, decode_record
from auface_jax.data.shards import DatasetError, read_info

NAME = "auface_faces"
VERSION = "1.0.0"
_SHARD_NAME = "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}"  # of our shards, as TFDS spells a template

_CITATION = """@article{auface2026,
  title = {A Novel {FACS}-Aligned Anatomical Text Description Paradigm for Fine-Grained Facial
           Behavior Synthesis},
  journal = {arXiv preprint arXiv:2603.18588},
}"""
_LICENCES = {
    "builtin": "Drawn faces: they show nobody, and no rights in them are claimed.",
    "ict": "Drawn faces of ICT-FaceKit's shapes, whose authors publish it under the MIT licence.",
}
_OTHER_LICENCE = (
    "The images belong to their owners and come under the terms of their source; a data set made "
    "of them may not go further than those terms allow."
)


class FaceRecord(tfds.features.FeaturesDict):
    """The features of a record; reads the msgpack bytes of `records.encode_record`.

    `image` is uint8 [S, S, 3], black where a label row is in no image of the source; `labels` int8
    [A] in {0, 1} or -1 where not coded, `intensities` float32 [A] in [0, 1] and `landmarks` float32
    [M, 2] in pixels, NaN and [0, 2] where the source has none. `text` is the record's one text.
    """

    def deserialize_example_np(self, serialized_example: bytes, *, decoders=None) -> dict:
        """An example as numpy arrays, str and int; RecordError for damaged bytes."""
        if decoders:
            raise NotImplementedError(
                "records have one decoding: take as_data_source(split) without decoders, or "
                "deserialize_method RAW_BYTES and auface_jax.data.record.decode_record"
            )
        record = decode_record(bytes(serialized_example))
        example = {name: getattr(record, name) for name in self if name != "text"}
        size = self["image"].shape[0]
        if record.image is None:
            example["image"] = np.zeros((size, size, 3), np.uint8)
        else:
            example["image"] = decode_image(record, size)
        example["text"] = record_text(record)
        if record.intensities is None:
            example["intensities"] = np.full(NUM_UNITS, np.nan, np.float32)
        if record.landmarks is None:
            example["landmarks"] = np.empty((0, 2), np.float32)
        example["constructs"] = list(record.constructs)
        return example

    def deserialize_example(self, serialized_example, *, decoders=None):
        """ExcludedPerson: TensorFlow has no reader of these records."""
        raise NotImplementedError(
            "this set is read by as_data_source(split), in numpy; as_dataset(split) would need a "
            "TensorFlow reader of msgpack, which there is none of"
        )


def features(size: int) -> FaceRecord:
    """The features of a set of images of `size` pixels."""
    return FaceRecord(
        {
            "image": tfds.features.Image(shape=(size, size, 3)),
            "subject": tfds.features.Text(),
            "task": tfds.features.Text(),
            "frame": np.int64,
            "source": tfds.features.Text(),
            "labels": tfds.features.Tensor(shape=(NUM_UNITS,), dtype=np.int8),
            "intensities": tfds.features.Tensor(shape=(NUM_UNITS,), dtype=np.float32),
            "landmarks": tfds.features.Tensor(shape=(None, 2), dtype=np.float32),
            "reference": tfds.features.Text(),
            "constructs": tfds.features.Sequence(tfds.features.Text()),
            "text": tfds.features.Text(),
            "exact": np.bool_,
        }
    )


def write_description(directory: str | Path) -> tfds.core.DatasetInfo:
    """Writes what TFDS needs beside the shards in `directory`; returns what it then knows.

    Raises:
      DatasetError: No data set there.
    """
    directory = Path(directory).absolute()
    info = read_info(directory)
    splits = [
        tfds.core.SplitInfo(
            name=name,
            shard_lengths=[shard["records"] for shard in shards],
            num_bytes=sum((directory / shard["file"]).stat().st_size for shard in shards),
            filename_template=tfds.core.ShardedFileTemplate(
                data_dir=directory,
                template=_SHARD_NAME,
                dataset_name=NAME,
                filetype_suffix="array_record",
            ),
        )
        for name, shards in info["shards"].items()
    ]
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=NAME,
        version=VERSION,
        data_dir=str(directory),
        module_name=__name__,
        release_notes={VERSION: f"records of schema version {info['schema_version']}"},
    )
    people = len(set().union(*info["people"].values()))
    described = tfds.core.DatasetInfo(
        builder=identity,
        description=(
            f"Faces of {people} people ({info['source']}, {info['size']} px) with the presence of "
            f"{NUM_UNITS} facial action units (AU{', '.join(map(str, facs.AU_NUMBERS))}) and a "
            "FACS description in words; `references` holds one reference "
            f"face of each. Fingerprint {info['fingerprint']}."
        ),
        features=features(info["size"]),
        disable_shuffling=True,
        citation=_CITATION,
        license=_LICENCES.get(info["source"], _OTHER_LICENCE),
    )
    described.set_file_format("array_record")
    described.set_splits(tfds.core.splits.SplitDict(splits))
    described.write_to_directory(directory)
    return described


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.data.tfds_dataset",
        description="Lets TensorFlow Datasets open a data set made by auface_jax.data.build.",
    )
    parser.add_argument("data", metavar="DIR", help="the folder of the data set")
    options = parser.parse_args(arguments)
    try:
        described = write_description(options.data)
    except (DatasetError, OSError) as error:
        sys.exit(f"error: {error}")
    splits = ", ".join(f"{name} {split.num_examples}" for name, split in described.splits.items())
    print(f'{options.data}: tfds.builder_from_directory("{options.data}") opens {splits}')


if __name__ == "__main__":
    main()
