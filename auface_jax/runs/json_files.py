"""JSON files that hold an object, and are there whole or not at all."""

import json
import pathlib
from typing import Any


def read_object(path: pathlib.Path, error: type[ValueError]) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      error: it holds something else, or is damaged.
      OSError: it cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as fault:
        raise error(f"{path} is damaged, it is not JSON: {fault}") from fault
    if not isinstance(content, dict):
        raise error(f"{path} is damaged: a JSON {type(content).__name__}, not an object")
    return content


def write_object(path: pathlib.Path, content: dict[str, Any], *, indent: int | None = 2) -> None:
    """Writes or replaces a file in one step, whoever reads or kills meanwhile."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=indent) + "\n")
    temporary.rename(path)
