"""Options of the command `generate` that do not go together, as sentences."""

import argparse

from auface_jax.generation.output_paths import ending

_OWN_COMMAND = "give the text or the units of that line to a command of its own, without --jobs"
# Options that --jobs excludes -> the way to have the same.
_INSTEAD_IN_CSV = {
    "--num": "write a line for each picture, with a seed of its own",
    "--seed": "write it in the column seed",
    "--explain": _OWN_COMMAND,
    "--to-aus": _OWN_COMMAND,
    "--to-text": _OWN_COMMAND,
}


def csv_faults(given: argparse.Namespace, out: str) -> list[str]:
    """Finds options that have no effect on the pictures of a CSV."""
    faults = [
        f"{name} {value} has no effect with --jobs: {_INSTEAD_IN_CSV[name]}"
        for name in _INSTEAD_IN_CSV
        if (value := getattr(given, name[2:].replace("-", "_"))) is not None
    ]
    if not out:
        faults.append("--jobs writes to a folder: name it by --out")
    elif ending(out):
        faults.append(f"--jobs writes to a folder; --out {out} has an ending")
    return faults


def out_faults(given: argparse.Namespace, out: str) -> list[str]:
    """Finds options that do not go with the kind of output."""
    kind, faults = ending(out), []
    if kind not in ("", ".png", ".gif"):
        faults.append(
            f"--out {out} ends in {kind}: name a .png, a .gif, or a folder, which is a name "
            "without such an ending"
        )
    elif kind == ".gif":
        if given.num is not None:
            faults.append(
                f"--num {given.num} has no effect on a GIF, which shows one picture: leave it "
                "out, and choose the picture by --seed"
            )
    elif given.to_aus is not None or given.to_text is not None:
        faults.append(f"--to-aus and --to-text make a GIF; --out {out} is none")
    return faults
