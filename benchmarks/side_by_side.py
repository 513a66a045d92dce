"""Interleaved measurement of the entries of a benchmark, and of another program.

Every round measures all entries, so that other work on the machine disturbs all of them alike. The
other program runs before and after the entries and writes a JSON file of `results`, each with a
`name`.
"""

import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

FLOOR = 0.25  # least duration of an entry's round in seconds


@dataclasses.dataclass
class Entry:
    """Program that is measured repeatedly.

    Attributes:
      name: name in the output.
      run: function of the carried value, which returns the carried value of the next call.
      carried: the carried value.
      rounds: seconds of a call, in each round.
      calls: number of calls in a round.
    """

    name: str
    run: Callable[[Any], Any]
    carried: Any
    rounds: list[float] = dataclasses.field(default_factory=list, init=False)
    calls: int = dataclasses.field(default=0, init=False)

    def measure(self) -> None:
        """Measures a round; the first call compiles and warms up the program."""
        if not self.calls:
            self._timed(1)
            self.calls = max(1, round(FLOOR / self._timed(1)))
        self.rounds.append(self._timed(self.calls))

    def _timed(self, calls: int) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            self.carried = jax.block_until_ready(self.run(self.carried))
        return (time.perf_counter() - began) / calls

    @property
    def seconds(self) -> float:
        """Seconds of a call, the median of the rounds."""
        return statistics.median(self.rounds)

    def result(self) -> dict[str, Any]:
        """Returns the printed figures, to which subclasses add others."""
        return {
            "entry": self.name,
            "seconds": round(self.seconds, 5),
            "fastest_seconds": round(min(self.rounds), 5),
        }


Results = dict[str, dict[str, Any]]  # by name


def measure(
    make_entries: Callable[[], Sequence[Entry]],
    compare: Callable[[Results, list[Results]], list[dict[str, Any]]],
    *,
    rounds: int,
    peers: Sequence[str] = (),
) -> None:
    """Prints a line of JSON for each entry, then those of `compare`.

    Args:
      make_entries: function that is called after the first run of the peers.
      compare: function of the results of the entries and of each run of the peers -> more lines.
      rounds: number of rounds.
      peers: another program and its options, which runs before and after.
    """
    jax.config.update("jax_enable_compilation_cache", False)
    runs = [run_peers(peers)] if peers else []
    entries = make_entries()
    for _ in range(rounds):
        for entry in entries:
            entry.measure()
    results = {entry.name: entry.result() for entry in entries}
    for result in results.values():
        print(json.dumps(result), flush=True)
    if peers:
        runs.append(run_peers(peers))
    for line in compare(results, runs):
        print(json.dumps(line), flush=True)


def run_peers(peers: Sequence[str]) -> Results:
    """Runs another program, whose output goes to stderr."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "peers.json")
        command = [sys.executable, *peers, "--json", str(out)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return {row["name"]: row for row in json.loads(out.read_text())["results"]}
