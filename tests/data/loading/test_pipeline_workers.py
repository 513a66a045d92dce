"""Worker processes make the same batches as the process itself."""

import contextlib
import multiprocessing
import os
import signal

import pytest

from auface_jax.data.loading import pipeline
from auface_jax.data.loading.stream import open_stream
from auface_jax.data.record import RecordError
from auface_jax.runs.run_config import write_config
from auface_jax.training.config_check import ConfigError, check_config
from tests.helpers import tiny
from tests.helpers.damaged_records import change_records
from tests.helpers.small_batches import BUCKETS, SIZE, assert_same_batches, build_set, take


@pytest.fixture
def batches(directory, tokenizer):
    """Makes iterators over a data set, which are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(folder=directory, **options):
            iterator = pipeline.training_iterator(
                folder, 4, 3, tokenizer, BUCKETS, size=SIZE, **options
            )
            return stack.enter_context(contextlib.closing(iterator))

        yield make


@pytest.mark.slow
def test_batches_and_state_are_equal_for_any_number_of_workers(batches):
    alone, helped = batches(), batches(workers=2)
    next(alone)
    helped.set_state(alone.get_state())  # a run goes on that had none
    given = take(helped, 9)  # more than their slots hold
    assert_same_batches(given, take(alone, 9))
    assert helped.get_state() == alone.get_state() == {"next_index": 10}
    processes = multiprocessing.active_children()
    assert len(processes) == 2
    for process in processes:  # as a scheduler does that tells all of a run to stop
        os.kill(process.pid, signal.SIGTERM)
    assert_same_batches(take(helped, 8), take(alone, 8))

    resumed = batches()  # and with none one that had two
    resumed.set_state(helped.get_state())
    assert_same_batches(take(resumed, 2), take(alone, 2))

    processes[0].kill()
    with pytest.raises(ChildProcessError, match=r"is gone \(exit code -9;"):
        take(helped, 20)
    assert multiprocessing.active_children() == []
    assert_same_batches(given, take_again(alone, 1, 9))  # no batch is a worker's memory
    helped.close()
    with pytest.raises(ValueError, match="closed iterator"):
        next(helped)


def take_again(iterator, first: int, count: int) -> list[dict]:
    iterator.set_state({"next_index": first})
    return take(iterator, count)


@pytest.mark.slow
def test_worker_names_corrupt_records_and_counts_skipped_ones(batches, tmp_path, tokenizer):
    damaged = build_set(tmp_path)
    shard = damaged / "train-00001-of-00007.array_record"

    def cut(records):
        records[3] = records[3][:40]

    change_records(shard, cut)
    with pytest.raises(RecordError, match=f"{shard.name} record 3: not a record") as caught:
        take(batches(damaged, workers=1), 20)
    assert "in a worker process of the data pipeline" in caught.value.__notes__[0]
    assert multiprocessing.active_children() == []

    lines, expected_lines = [], []
    skipped = pipeline.SkippedRecords(lines.append)
    alone = batches(damaged, skipped=pipeline.SkippedRecords(expected_lines.append))
    assert_same_batches(take(batches(damaged, workers=1, skipped=skipped), 20), take(alone, 20))
    assert len(skipped) == 1 and lines == expected_lines


def test_batch_fits_its_slot_for_any_text_length(directory, tokenizer):
    for buckets in (BUCKETS, BUCKETS[-1:], (8,)):
        stream = open_stream(directory, 5, 0, tokenizer, buckets, size=SIZE)
        sizes = [sum(array.nbytes for array in stream[n].values()) for n in range(9)]
        assert max(sizes) <= stream.max_bytes
        if len(buckets) == 1:
            assert max(sizes) == stream.max_bytes


@pytest.mark.parametrize("workers", [-1, 1.5, "2", True])
def test_illegal_number_of_workers_is_refused(batches, workers):
    with pytest.raises(ValueError, match="workers is .*expected a whole number"):
        batches(workers=workers)


def test_run_may_continue_with_another_number_of_workers(tmp_path):
    config = tiny.load_config("au_probe")
    assert config.data.workers == 0
    write_config(config, tmp_path)
    config.data.workers = 2
    write_config(config, tmp_path)
    config.data.workers = -2
    with pytest.raises(ConfigError, match="data.workers=-2: expected 0 or more"):
        check_config(config)
