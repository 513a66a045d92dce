"""Names of the two layouts of image tokens in a sequence, which `maskgit` describes."""

LAYOUTS = ("flat", "depth")


def check_layout(layout: str) -> None:
    """Raises a ValueError unless `layout` is one of `LAYOUTS`."""
    if layout not in LAYOUTS:
        raise ValueError(f"token layout {layout!r} is not one of {', '.join(LAYOUTS)}")
