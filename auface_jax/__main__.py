"""The console script `auface`, and `python -m auface_jax`: one entry for all commands."""

import importlib
import sys

# Command -> its module and what it does, in the order in which `auface --help` lists them.
COMMANDS = {
    "train": (
        "train",
        "train a run from a config page: auface train --config stage2.py:quickstart",
    ),
    "generate": ("generate", "draw a person's face from a description of action units"),
    "describe": ("describe", "print the description of a set of action units"),
    "recognize": ("recognize", "read action units from pictures, videos or texts"),
    "reconstruct": ("reconstruct", "pass pictures through Stage I's tokens and measure the loss"),
    "evaluate": ("evaluate", "measure a run, or the pictures of any other system"),
    "export": ("export", "write a finished run as files that other programs load"),
    "reproduce": ("reproduce", "train and evaluate what the paper's tables compare"),
    "cross-validate": ("cross_validate", "train a recogniser once a fold of people"),
    "build-data": ("data.build.__main__", "build a data set from a source of faces"),
    "count-data": ("data.statistics.__main__", "count what a data set holds and write its card"),
    "convert": ("pretrained.convert", "convert published weights for this project"),
    "faces": ("faces.sheet", "draw sheets of open faces to look at"),
}


def usage() -> str:
    """The text of `auface --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: auface COMMAND ...",
            "",
            *lines,
            "",
            "auface COMMAND --help lists a command's options.",
        ]
    )


def main() -> None:
    """Runs the command that the first argument names with the arguments after it."""
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("--help", "-h"):
        print(usage())
        return
    if name not in COMMANDS:
        sys.exit(f"auface: {name!r} is not a command\n\n{usage()}")
    command = importlib.import_module(f"auface_jax.{COMMANDS[name][0]}")
    sys.argv = [f"auface {name}", *arguments]
    command.main()


if __name__ == "__main__":
    main()
