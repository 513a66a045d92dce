"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Formats a table.

    Args:
      header: names of the columns.
      rows: cells of each row, in the order of the columns.

    Returns:
      The lines of the table without a final newline; "|" in a cell is escaped.
    """
    lines = [header, ["---"] * len(header), *rows]
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
