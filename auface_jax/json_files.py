"""JSON files that must hold an object."""

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
