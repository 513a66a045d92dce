"""Runs every parity test and writes their measurements into docs/results/parity.md.

    make parity-table

A parity test compares a port with its original at random weights, stage by stage:
tests/helpers/parity.py.
"""

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "results" / "parity.md"
BEGIN, END = "<!-- parity table: begin -->", "<!-- parity table: end -->"
ORIGINALS = (
    "torch",
    "torchvision",
    "transformers",
    "open_clip_torch",
    "lpips",
    "pytorch-fid",
    "torch-fidelity",
)


def run_tests(arguments: list[str], report: Path) -> None:
    """Runs the tests that are marked or named as parity tests; exits if one fails."""
    options = ["-k", "parity", "-o", "junit_family=xunit1", f"--junitxml={report}"]
    command = [sys.executable, "-m", "pytest", *options, *arguments]
    if subprocess.run(command, cwd=ROOT).returncode:
        sys.exit(f"parity tests failed: {' '.join(command)}")


def read_figures(report: Path) -> dict[str, list[tuple[str, float, float]]]:
    """Returns network -> (stage, error, bound) of every comparison in a test report."""
    figures = defaultdict(list)
    for found in ElementTree.parse(report).iterfind(".//property[@name='parity']"):
        network, stage, error, bound = found.get("value").split("|")
        figures[network].append((stage, float(error), float(bound)))
    if not figures:
        sys.exit("no parity test ran: are the originals installed (make test-parity)?")
    return figures


def table(figures: dict[str, list[tuple[str, float, float]]]) -> str:
    """Formats the figures as Markdown, with the worst stage of each network."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ORIGINALS)
    lines = [
        f"Measured against {versions}.",
        "",
        "| network | comparisons | largest error | at | bound |",
        "|---|---|---|---|---|",
    ]
    for network, stages in sorted(figures.items()):
        stage, error, bound = max(stages, key=lambda figure: figure[1])
        lines.append(f"| {network} | {len(stages)} | {error:.1e} | {stage} | {bound:.0e} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    _, arguments = parser.parse_known_args()  # the rest is pytest's
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        run_tests(arguments, report)
        lines = table(read_figures(report))
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{lines}\n{END}{after}")
    print(lines)


if __name__ == "__main__":
    main()
