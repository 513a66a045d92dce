"""Order and random numbers of the training stream are pinned, since checkpoints rely on them."""

import pytest

from auface_jax.data.loading.stream_order import ExampleOrder, PositionGenerator


@pytest.mark.parametrize(
    ("length", "seed", "expected"),
    [
        (7, 0, [1, 2, 4, 5, 0, 5, 6, 2, 1]),
        (35, 5, [12, 9, 25, 15, 24, 31, 34, 5, 28]),
        (1000, 12345, [799, 124, 758, 603, 300, 199, 738, 708, 836]),
        (4096, 7, [3402, 84, 3230, 284, 2685, 186, 1844, 1427, 910]),
    ],
)
def test_order_is_the_pinned_one(length, seed, expected):
    order = ExampleOrder(length, seed)
    positions = (0, 1, 2, 3, length - 1, length, length + 1, 5 * length + 3, 123_456_789)
    assert [order[position] for position in positions] == expected


@pytest.mark.parametrize("length", [1, 2, 7, 100])
def test_every_epoch_has_each_record_once_in_another_order(length):
    order = ExampleOrder(length, seed=3)
    epochs = [
        [order[position] for position in range(epoch * length, (epoch + 1) * length)]
        for epoch in range(4)
    ]
    assert all(sorted(epoch) == list(range(length)) for epoch in epochs)
    assert length < 7 or len({tuple(epoch) for epoch in epochs}) == 4


def test_random_numbers_of_positions_are_the_pinned_ones():
    generator = PositionGenerator(seed=5)
    pinned = {
        0: [0.18317231802353529, 0.10267621187801401],
        1: [0.6023757625669979, 0.12510918853550235],
        2: [0.08061048541083882, 0.32022886621644353],
        1000: [0.3200896858295089, 0.6706536630224336],
        123_456_789: [0.2022335305753039, 0.7630883729602085],
    }
    for position, expected in pinned.items():
        assert generator.at(position).random(2).tolist() == expected
    # Whole numbers leave half of a word behind, which must not reach the next position.
    generator.at(7).integers(0, 10, dtype="int32")
    assert generator.at(1).random(2).tolist() == pinned[1]
    assert PositionGenerator(seed=6).at(1).random(2).tolist() != pinned[1]
