"""The last step of a build: gathers the references and writes `dataset.json`."""

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from array_record.python import array_record_module

from auface_jax import facs
from auface_jax.data.build.build_folder import read_references
from auface_jax.data.build.plan import WITHHELD, Plan
from auface_jax.data.build.unseen import units_of_code
from auface_jax.data.record import REFERENCES, SCHEMA_VERSION, SPLITS
from auface_jax.data.shards import INFO_NAME, TEST_LIST_NAME, WRITER_OPTIONS, ShardReader
from auface_jax.data.sources.base import (
    FaceSource,
    SourceError,
    count_reasons,
    format_faults,
    stable_seed,
)

TEST_SAMPLES = 2_000  # the paper's number


def finish(partial: Path, plan: Plan, notes: list[dict], source: FaceSource, options: dict) -> dict:
    """Gathers the references, draws the test samples, and writes `dataset.json`.

    Args:
      partial: folder of the shards.
      plan: the plan of the build.
      notes: the note of each shard of the plan, in the same order.
      source: source of the images.
      options: options of the build, as `dataset.json` holds them.

    Returns:
      The content of `dataset.json`.

    Raises:
      SourceError: images are damaged, or a split has lost all of its images; lists the reasons.
    """
    if faults := [fault for note in notes for fault in note["faults"]]:
        raise SourceError(format_faults(faults, "images that cannot be used"))
    left_out = [pair for person in plan.excluded for pair in person.left_out]
    left_out += [tuple(pair) for note in notes for pair in note["left_out"]]
    left_out = source.left_out | count_reasons(left_out)
    if plan.withheld:
        left_out[WITHHELD] = plan.withheld

    shards: dict[str, list[dict]] = {}
    people: dict[str, dict[str, int]] = {}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for note in notes:
        entry = {key: note[key] for key in ("file", "records", "bytes", "sha256")}
        shards.setdefault(note["split"], []).append(entry)
        digest.update(note["sha256"].encode())
        of_split = people.setdefault(note["split"], {})
        for subject, count in note["people"].items():
            if count:
                of_split[subject] = of_split.get(subject, 0) + count
    if empty := [split for split in SPLITS if not people[split]]:
        reasons = [f"{count} x {reason}" for reason, count in left_out.items()]
        raise SourceError(format_faults(reasons, f"nobody is left in {', '.join(empty)}"))

    shards[REFERENCES] = _write_references(partial, plan)
    info = {
        "schema_version": SCHEMA_VERSION,
        "source": source.name,
        "size": options["size"],
        "units": list(facs.AU_NUMBERS),
        "counts": {name: sum(s["records"] for s in shards[name]) for name in shards},
        "left_out": left_out,
        "held_out_rows": [units_of_code(code) for code in plan.held_out],
        "options": options,
        "fingerprint": digest.hexdigest(),
        "shards": shards,
        "people": people,
    }
    (partial / INFO_NAME).write_text(json.dumps(info, indent=1) + "\n")
    _write_test_list(partial, info)
    return info


def _write_references(partial: Path, plan: Plan) -> list[dict]:
    """Writes the references that lie beside the shards into shards of their own.

    Returns:
      The entry of each shard in `dataset.json`.
    """
    references = [data for shard in plan.shards for data in read_references(partial, shard)]
    total = math.ceil(len(references) / plan.shard_records)
    entries = []
    for number in range(total):
        start, stop = (len(references) * edge // total for edge in (number, number + 1))
        name = f"{REFERENCES}-{number:05d}-of-{total:05d}.array_record"
        entries.append({"file": name, **_write_records(partial / name, references[start:stop])})
    return entries


def _write_records(path: Path, records: Iterable[bytes]) -> dict:
    """Writes a file of records; returns their number, bytes and sha256."""
    digest, size, count = hashlib.sha256(), 0, 0
    writer = array_record_module.ArrayRecordWriter(str(path), WRITER_OPTIONS)
    for data in records:
        writer.write(data)
        digest.update(b"%d:" % len(data) + data)
        size += len(data)
        count += 1
    writer.close()
    return {"records": count, "bytes": size, "sha256": digest.hexdigest()}


def _write_test_list(partial: Path, info: dict) -> None:
    """Draws `TEST_SAMPLES` records of test, or all of them, and writes their positions and ids."""
    records = ShardReader(partial, "test", info=info)
    rng = np.random.default_rng(stable_seed(info["options"]["seed"], "test list"))
    count = min(TEST_SAMPLES, len(records))
    indices = sorted(rng.choice(len(records), count, replace=False).tolist())
    test_list = {"split": "test", "indices": indices, "records": [records[i].id for i in indices]}
    (partial / TEST_LIST_NAME).write_text(json.dumps(test_list, indent=1) + "\n")
