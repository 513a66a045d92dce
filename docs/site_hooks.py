"""MkDocs hooks: reference pages from docstrings, pages outside of `docs/`, and links to both.

Documents link to each other, and to the code, by their paths in the repository, so that they can be
read without the site. While the site is built, `on_page_markdown` turns these links into links
between pages.
"""

import json
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]

# Documents elsewhere in the repository -> their pages.
CARDS = sorted((ROOT / "data" / "cards").glob("*.md"))
OUTSIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "launch/README.md": "launch.md",
    "data/README.md": "data/index.md",
    "data/SCHEMA.md": "data/SCHEMA.md",
    "data/LICENCES.md": "data/LICENCES.md",
    "data/bp4d.md": "data/bp4d.md",
    **{f"data/cards/{card.name}": f"data/cards/{card.name}" for card in CARDS},
}
TOUR = "guide/tour.ipynb"

_LINK = re.compile(r"(!?\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\])\((?P<target>[^)\s]+)\)")


def modules() -> list[str]:
    """Dotted names of the package's modules, a package before its modules."""
    names = []
    for path in (ROOT / "auface_jax").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__main__":
            continue
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(names)


def reference_page(module: str) -> str:
    """Path of a module's reference page: `auface_jax.data.shards` -> `reference/data/shards.md`."""
    path = ROOT.joinpath(*module.split("."))
    inner = "/".join(module.split(".")[1:])
    return (
        posixpath.join("reference", inner, "index.md") if path.is_dir() else f"reference/{inner}.md"
    )


def on_files(files, config):
    """Adds the pages that do not lie in `docs/`."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    files.append(
        File.generated(
            config, TOUR.replace(".ipynb", ".md"), content=notebook_page(ROOT / "docs" / TOUR)
        )
    )
    for module in modules():
        content = f"# `{module}`\n\n::: {module}\n"
        page = File.generated(config, reference_page(module), content=content)
        page.inclusion = InclusionLevel.INCLUDED
        files.append(page)
    return files


def on_config(config):
    """Completes the navigation by the reference, a section for each package."""
    config["nav"] = [*config["nav"], {"API reference": reference_navigation()}]
    return config


def reference_navigation() -> list:
    """The reference's part of the navigation."""
    root: list = ["reference/index.md"]
    sections = {"auface_jax": root}
    for module in modules()[1:]:
        parent, _, name = module.rpartition(".")
        if ROOT.joinpath(*module.split(".")).is_dir():
            sections[module] = [reference_page(module)]
            sections[parent].append({name: sections[module]})
        else:
            sections[parent].append({name: reference_page(module)})
    return root


def on_page_markdown(markdown, page, config, files):
    """Turns links to files of the repository into links between pages."""
    source = page_source(page.file.src_uri)

    def replace(match: re.Match) -> str:
        target = match["target"]
        if re.match(r"[a-z]+:|#|/", target):
            return match[0]
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        wanted = page_of(path)
        if wanted is None:  # a file that the site does not have: its name stays
            return (
                f"`{path}`"
                if match["text"].strip("`") == posixpath.basename(path)
                else match["text"]
            )
        link = posixpath.relpath(wanted, posixpath.dirname(page.file.src_uri) or ".")
        return f"{match[1]}({link}{'#' + anchor if anchor else ''})"

    return _outside_code(markdown, lambda text: _LINK.sub(replace, text))


def page_source(page: str) -> str:
    """The path in the repository of a page's source."""
    for source, outside in OUTSIDE.items():
        if page == outside:
            return source
    return f"docs/{page}"


def page_of(path: str) -> str | None:
    """The page, or the picture, that shows a file of the repository; None if there is none."""
    if path in OUTSIDE:
        return OUTSIDE[path]
    if path == f"docs/{TOUR}":
        return TOUR.replace(".ipynb", ".md")
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("auface_jax/") and path.endswith(".py"):
        module = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        return reference_page(module) if module in modules() else None
    return None


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: its text and its code, without results."""
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def _outside_code(markdown: str, change) -> str:
    """Applies `change` to text outside of fenced and indented code."""
    lines, run, fenced = [], [], False

    def flush():
        if run:
            lines.append(change("\n".join(run)))
            run.clear()

    for line in markdown.split("\n"):
        fence = line.lstrip().startswith("```")
        if fence or fenced or line.startswith("    "):
            flush()
            lines.append(line)
            fenced ^= fence
        else:
            run.append(line)
    flush()
    return "\n".join(lines)
