"""Measuring entries in turn, beside another program."""

import json

import jax
import pytest

from benchmarks import side_by_side

PEERS = """
import json, pathlib, sys
said, times, json_flag, out = sys.argv[1:]
with open(times, "a") as file:
    file.write("peers ")
assert json_flag == "--json"
results = [{"name": said, "median_s": 1.0}, {"name": "other", "median_s": 2.0}]
pathlib.Path(out).write_text(json.dumps({"results": results}))
"""


@pytest.fixture
def cache_left_alone():
    before = jax.config.jax_enable_compilation_cache
    yield
    jax.config.update("jax_enable_compilation_cache", before)


def test_rounds_go_around_all_entries_between_two_runs_of_the_peers(
    tmp_path, monkeypatch, capfd, cache_left_alone
):
    monkeypatch.setattr(side_by_side, "FLOOR", 0.0)  # a call a round
    times = tmp_path / "times.txt"
    program = tmp_path / "peers.py"
    program.write_text(PEERS)

    def entry(name):
        def run(count):
            with times.open("a") as file:
                file.write(f"{name}{count} ")
            return count + 1

        return side_by_side.Entry(name, run, 0)

    def compare(results, runs):
        assert list(results) == ["a", "b"] and [run["said"]["median_s"] for run in runs] == [1, 1]
        return [{"entry": "a", "peer": "other"}]

    peers = [str(program), "said", str(times)]
    side_by_side.measure(lambda: [entry("a"), entry("b")], compare, rounds=2, peers=peers)
    # Each is called twice before its first round: to be compiled, and to count its calls.
    assert times.read_text().split() == "peers a0 a1 a2 b0 b1 b2 a3 b3 peers".split()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["entry"] for line in lines] == ["a", "b", "a"] and lines[-1]["peer"] == "other"
    assert 0 < lines[0]["fastest_seconds"] <= lines[0]["seconds"]


def test_without_peers_nothing_else_is_run(capfd, cache_left_alone):
    side_by_side.measure(lambda: [], lambda results, runs: [{"runs": runs}], rounds=1)
    assert json.loads(capfd.readouterr().out) == {"runs": []}
