"""What becomes of a person in a build: a split, a reference, records; many people at a time."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator

import numpy as np

from auface_jax import facs
from auface_jax.data.records import Record, encode_image, encode_record, record_id
from auface_jax.data.samples import ONLY_IMAGE, Sample, Source, stable_seed

# How the libraries under numpy, scipy and numba are told their number of threads.
_THREAD_COUNTS = (
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def split_people(
    subjects: tuple[str, ...], *, fractions: tuple[float, float, float], seed: int
) -> dict[str, str]:
    """A split for each subject, in the order of `subjects`; at least one person in each split.

    Raises:
      ValueError: Fewer than three people, or fractions that are not three positive numbers of
        sum 1.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"fractions are {tuple(fractions)}, expected three positive numbers of sum 1 "
            "(train, val, test)"
        )
    if len(subjects) < 3:
        raise ValueError(
            f"{len(subjects)} people with two images or more, expected at least 3: one each for "
            "train, val and test"
        )
    val, test = (max(1, round(fraction * len(subjects))) for fraction in fractions[1:])
    val = min(val, len(subjects) - 2)
    test = min(test, len(subjects) - 1 - val)
    # Sorted first, so that the order of a table's lines has no say in who is tested.
    order = np.random.default_rng(stable_seed(seed, "split")).permutation(sorted(subjects))
    held_out = dict.fromkeys(order[:test], "test") | dict.fromkeys(order[test : test + val], "val")
    return {subject: held_out.get(subject, "train") for subject in subjects}


def choose_reference(samples: list[Sample], seed: int) -> int:
    """Index of a person's reference among the person's samples (the paper's rule).

    A random image with no active unit, seeded per person; where there is none, the first.
    """
    neutral = [index for index, sample in enumerate(samples) if not (sample.labels == 1).any()]
    if not neutral:
        return 0
    rng = np.random.default_rng(stable_seed(seed, "reference", samples[0].subject))
    return int(rng.choice(neutral))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PersonResult:
    """What became of a person.

    Attributes:
      records: Bytes of the records, the reference's first.
      faults, left_out: See `Loaded`.
    """

    records: list[bytes] = dataclasses.field(default_factory=list)
    faults: list[str] = dataclasses.field(default_factory=list)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)


class PersonRecords:
    """Makes the records of one person, as bytes; runs in any process."""

    def __init__(self, source: Source, *, seed: int, image_format: str):
        self._source, self._seed, self._image_format = source, seed, image_format

    def __call__(self, subject: str, split: str) -> PersonResult:
        """The person's records; none where fewer than two images can be used."""
        loaded = self._source.load_person(subject)
        samples, left_out = loaded.samples, loaded.left_out
        if loaded.faults:
            return PersonResult(faults=loaded.faults)
        if len(samples) < 2:
            return PersonResult(
                left_out=left_out + [(_name(sample), ONLY_IMAGE) for sample in samples]
            )
        chosen = choose_reference(samples, self._seed)
        reference = _name(samples[chosen])
        samples.insert(0, samples.pop(chosen))
        records = [self._record(sample, reference, split) for sample in samples]
        return PersonResult(records=records, left_out=left_out)

    def _record(self, sample: Sample, reference: str, split: str) -> bytes:
        return encode_record(
            Record(
                image=encode_image(sample.image, self._image_format),
                subject=sample.subject,
                task=sample.task,
                frame=sample.frame,
                source=self._source.name,
                labels=sample.labels,
                intensities=sample.intensities,
                landmarks=sample.landmarks,
                reference=reference,
                constructs=facs.constructs(np.maximum(sample.labels, 0)),
                variant_seed=stable_seed(self._seed, "text", _name(sample)),
                split=split,
                exact=self._source.exact,
            )
        )


_process_work: PersonRecords | None = None  # a pool process's own copy, so that it is sent once


def _start_process(work: PersonRecords) -> None:
    global _process_work
    _process_work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the builder, who ends its pool
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone: a killed build leaves no orphans."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _in_process(subject: str, split: str) -> PersonResult:
    return _process_work(subject, split)


def each_person(
    work: PersonRecords, splits: dict[str, str], processes: int
) -> Iterator[PersonResult]:
    """What `work` makes of each person, in order; a few people ahead, never all of them."""
    processes = min(processes, len(splits))
    if processes == 1:
        yield from itertools.starmap(work, splits.items())
        return
    with (
        _one_thread_each(),
        concurrent.futures.ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_process,
            initargs=(work,),
        ) as pool,
    ):
        waiting = collections.deque()
        try:
            for item in splits.items():
                waiting.append(pool.submit(_in_process, *item))
                if len(waiting) > 4 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Lets processes that start meanwhile compute on one thread each.

    They are as many as the cores already. A linear algebra library that starts a thread a core in
    each of them spends most of the machine on waiting: drawing faces took 2.7 times as long.
    """
    before = {name: os.environ.get(name) for name in _THREAD_COUNTS}
    os.environ.update(dict.fromkeys(_THREAD_COUNTS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def available_processes() -> int:
    """How many processes can run at once here: cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _name(sample: Sample) -> str:
    return record_id(sample.subject, sample.task, sample.frame)
