"""The last step of a build: all shards are written, and the data set says what is in it."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
from array_record.python import array_record_module

from auface_jax import facs
from auface_jax.data.build.build_folder import read_references
from auface_jax.data.build.plan import WITHHELD, Plan
from auface_jax.data.build.unseen import units_of
from auface_jax.data.record import REFERENCES, SCHEMA_VERSION, SPLITS
from auface_jax.data.shards import INFO_NAME, TEST_LIST_NAME, WRITER_OPTIONS, ShardReader
from auface_jax.data.sources.base import Source, SourceError, count_reasons, listed, stable_seed

TEST_SAMPLES = 2_000  # the paper's


def finish(partial: Path, plan: Plan, notes: list[dict], source: Source, options: dict) -> dict:
    """Gathers the references, lists the test samples, writes `dataset.json`.

    Args:
      partial: The folder that holds the shards.
      plan: What was to be written.
      notes: What was, a note for each shard of the plan, in its order.
      source: Where the images came from.
      options: Of the build.

    Returns:
      What `dataset.json` holds.

    Raises:
      SourceError: Images are damaged, or a split lost all of its images; lists the reasons.
    """
    if faults := [fault for note in notes for fault in note["faults"]]:
        raise SourceError(listed(faults, "images that cannot be used"))
    left_out = [pair for one in plan.refused for pair in one.left_out]
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
        raise SourceError(listed(reasons, f"nobody is left in {', '.join(empty)}"))

    shards[REFERENCES] = _gather_references(partial, plan)
    info = {
        "schema_version": SCHEMA_VERSION,
        "source": source.name,
        "size": options["size"],
        "units": list(facs.AU_NUMBERS),
        "counts": {name: sum(s["records"] for s in shards[name]) for name in shards},
        "left_out": left_out,
        "held_out_rows": [units_of(code) for code in plan.held_out],
        "options": options,
        "fingerprint": digest.hexdigest(),
        "shards": shards,
        "people": people,
    }
    (partial / INFO_NAME).write_text(json.dumps(info, indent=1) + "\n")
    _list_test_samples(partial, info)
    return info


def _gather_references(partial: Path, plan: Plan) -> list[dict]:
    """The references that lie beside the shards, in shards of their own."""
    made = [data for shard in plan.shards for data in read_references(partial, shard)]
    total = math.ceil(len(made) / plan.shard_records)
    entries = []
    for number in range(total):
        start, stop = (len(made) * edge // total for edge in (number, number + 1))
        name = f"{REFERENCES}-{number:05d}-of-{total:05d}.array_record"
        digest = hashlib.sha256()
        writer = array_record_module.ArrayRecordWriter(str(partial / name), WRITER_OPTIONS)
        for data in made[start:stop]:
            writer.write(data)
            digest.update(b"%d:" % len(data) + data)
        writer.close()
        size = sum(map(len, made[start:stop]))
        entries.append(
            {"file": name, "records": stop - start, "bytes": size, "sha256": digest.hexdigest()}
        )
    return entries


def _list_test_samples(partial: Path, info: dict) -> None:
    """A plain seeded draw of `TEST_SAMPLES` records of test, or all of them, by place and name."""
    records = ShardReader(partial, "test", info=info)
    rng = np.random.default_rng(stable_seed(info["options"]["seed"], "test list"))
    count = min(TEST_SAMPLES, len(records))
    indices = sorted(rng.choice(len(records), count, replace=False).tolist())
    listing = {"split": "test", "indices": indices, "records": [records[i].id for i in indices]}
    (partial / TEST_LIST_NAME).write_text(json.dumps(listing, indent=1) + "\n")
