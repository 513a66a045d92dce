"""`row_padding` pads rows of 2,048 entries and multiples, on a CPU alone."""

import jax

from auface_jax.ops.row_padding import PADDING, row_padding


def test_row_padding_is_for_multiples_of_a_large_power_of_two():
    assert [row_padding(length) for length in (1024, 2000, 4096)] == [0, 0, PADDING]


def test_row_padding_is_for_cpus(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert row_padding(4096) == 0
