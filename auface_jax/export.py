"""Exports a finished Stage II run, Stage I and encoders included, for other programs.

    python -m auface_jax.export --run runs/stage2-quickstart --out exported

writes
    checkpoint/            all weights, for Orbax: restorable on any number of devices
    weights.safetensors    the same arrays by their paths, params/maskgit/…, stage1/…, encoders/…
    generate.jax           the drawing program: `jax.export`, for CPU, CUDA and TPU
    tokenizer.json         the text tokenizer, for the package tokenizers
    config.json            the run's config, under "run", and the program's arguments

and, until all of them are complete, the empty file `unfinished`.

`generate.jax` needs jax alone, neither Flax nor this package; docs/guide/generate.md shows how.
"""

import argparse

from auface_jax.generation.exported import export_run
from auface_jax.runs.checkpoints import CheckpointError


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.export",
        description="Writes a finished Stage II run as files that other programs load.",
    )
    parser.add_argument("--run", required=True, help="such as runs/stage2-quickstart")
    parser.add_argument("--out", required=True, help="the folder to write")
    parser.add_argument("--batch", type=int, default=1, help="pictures drawn at once (default 1)")
    options = parser.parse_args(arguments)
    if options.batch < 1:
        parser.error(f"--batch {options.batch}: at least 1")
    try:
        folder = export_run(options.run, options.out, batch=options.batch)
    except (CheckpointError, ValueError, OSError) as error:
        parser.error(str(error))
    for path in sorted(folder.iterdir()):
        size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
        print(f"{path.relative_to(folder)}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
