"""Lines that a run prints to the terminal."""

from collections.abc import Mapping

import jax


def say(message: str) -> None:
    """A line to the terminal, from the first process only."""
    if jax.process_index() == 0:
        print(message, flush=True)


def table(title: str, values: Mapping[str, float | str]) -> str:
    """Figures and notes as an aligned text table."""
    width = max(map(len, values), default=0)
    shown = {k: v if isinstance(v, str) else f"{v:.4f}" for k, v in values.items()}
    lines = [f"  {name:<{width}}  {value:>10}" for name, value in shown.items()]
    return "\n".join([title, *lines])
