"""The order of the endless training stream, and the random numbers of each of its positions.

Both are pure functions of a seed and a position, so that any process can compute any part of the
stream, and a run continues at the example where it stopped. Checkpoints rely on them: a change of
this module changes every training run.

Order. Position p is in epoch e = p // n of a data set of n records. The epoch's permutation of the
n records comes from `grain.experimental.index_shuffle`, a format-preserving cipher that takes
constant memory: record(p) = index_shuffle(p mod n, seed = s1 + e mod 2^32).

Random numbers. Position p has a Philox generator of its own, with key s3 and p in the highest word
of its counter, so that neighbouring positions share no number.

s1 and s3 are 32-bit seeds that `numpy.random.SeedSequence` derives from the seed of the stream.
"""

import grain
import numpy as np

# Numbers that keep the two uses of a stream's seed apart.
_ORDER, _CHOICES = 1, 3
_CIPHER_ROUNDS = 4


class ExampleOrder:
    """The record at each position of the stream: every record once an epoch, reshuffled each time.

    Args:
      length: number of records.
      seed: seed of the stream.
    """

    def __init__(self, length: int, seed: int):
        self._length = length
        self._seed = int(_derived_seed(seed, _ORDER))

    def __getitem__(self, position: int) -> int:
        """The number of the record at a position."""
        epoch, index = divmod(position, self._length)
        return grain.experimental.index_shuffle(
            index,
            max_index=self._length - 1,
            seed=(self._seed + epoch) % 2**32,
            rounds=_CIPHER_ROUNDS,
        )


class PositionGenerator:
    """A random generator that can start at the random numbers of any position of the stream.

    One instance belongs to one thread.

    Args:
      seed: seed of the stream.
    """

    def __init__(self, seed: int):
        self._generator = np.random.Generator(np.random.Philox(_derived_seed(seed, _CHOICES)))
        self._state = self._generator.bit_generator.state

    def at(self, position: int) -> np.random.Generator:
        """Returns the generator at the first random number of a position.

        It is one generator, which the next call moves: creating one for each position would take
        six times as long.
        """
        self._state["state"]["counter"][3] = position
        self._generator.bit_generator.state = self._state
        return self._generator


def _derived_seed(seed: int, purpose: int) -> np.uint32:
    return np.random.SeedSequence((seed, purpose)).generate_state(1)[0]
