"""Describes a data set for TensorFlow Datasets (TFDS), which then opens the same shards.

The last step of a build writes `dataset_info.json`, `features.json` and `LICENSE`. With them

    import tensorflow_datasets as tfds
    tfds.builder_from_directory(DIR).as_data_source("train")

opens the folder, without TensorFlow and without a second copy of the images. TFDS usually stores
examples as tf.Example messages; `features.json` names `FaceRecord` below instead, which decodes our
records, so that training and TFDS read one format. TFDS takes four times as long to unpack a
tf.Example of the same fields as to unpack a record. Readers need this package installed beside
TFDS. A data set that was built without TFDS gets the files by

    python -m auface_jax.data.tfds_dataset DIR
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import tensorflow_datasets as tfds

from auface_jax import facs
from auface_jax.data.loading.pipeline import record_text
from auface_jax.data.record import NUM_UNITS, decode_image, decode_record
from auface_jax.data.shards import DatasetError, read_info

NAME = "auface_faces"
VERSION = "1.0.0"
_SHARD_NAME = "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}"  # name of a shard as a TFDS template

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
    """The TFDS features of a record, which decode the bytes of `record.encode_record`.

    image: uint8 [S, S, 3], black where the record has none
    labels: int8 [A], 1 present, 0 absent, -1 not coded
    intensities: float32 [A] in [0, 1], NaN where the source has none
    landmarks: float32 [M, 2] in pixels, [0, 2] where the source has none
    text: the record's one text
    """

    def deserialize_example_np(self, serialized_example: bytes, *, decoders: Any = None) -> dict:
        """Decodes an example to numpy arrays, str and int.

        Raises:
          RecordError: the bytes are damaged.
          NotImplementedError: `decoders` are given.
        """
        if decoders:
            raise NotImplementedError(
                "records have only one decoding: use as_data_source(split) without decoders, or "
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

    def deserialize_example(self, serialized_example: Any, *, decoders: Any = None) -> NoReturn:
        """Raises NotImplementedError: TensorFlow cannot read these records."""
        raise NotImplementedError(
            "TensorFlow has no reader of msgpack, so as_dataset(split) cannot read this data set: "
            "use as_data_source(split), which reads it in numpy"
        )


def features(size: int) -> FaceRecord:
    """Makes the features of a data set with images of `size` pixels."""
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
    """Writes the files beside the shards in `directory` by which TFDS opens them.

    Returns:
      The description that was written.

    Raises:
      DatasetError: the folder holds no data set.
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
    """Runs the command line; `arguments` replaces `sys.argv[1:]`."""
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
