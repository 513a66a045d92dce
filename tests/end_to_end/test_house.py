"""The architecture as laws: what imports what, and how long a function or a file may be."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "auface_jax"
COMMANDS = (
    *("train", "generate", "describe", "recognize", "reconstruct", "evaluate", "export"),
    *("reproduce", "cross_validate"),
)
# A package may import itself and those before it.
ORDER = (
    *("ops", "facs", "images", "faces", "parallel", "runs", "models", "pretrained", "data"),
    *("metrics", "generation", "recognition", "training", "evaluation", "reproduction"),
)
CLAUSE = re.compile(r"(What|How|Whether|Which|Whom|Whose|Where|When|Of|Those|That|As|So)\b")
FILES = {
    ".".join(path.with_suffix("").relative_to(ROOT).parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def imports(tree: ast.AST) -> set[str]:
    """The project's modules that a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    modules = set()
    for name in found:
        while name and name not in FILES:
            name = name.rpartition(".")[0]
        modules |= {name} - {"", "auface_jax"}
    return modules


def documented(tree: ast.AST):
    """The module, classes and functions of a file, with their docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield node, ast.get_docstring(node)


def test_loose_modules_are_commands_of_at_most_150_lines():
    loose = {path.stem: path for path in PACKAGE.glob("*.py")}
    assert loose.keys() == {"__init__", "__main__", *COMMANDS}
    long = {name: text.count("\n") for name, path in loose.items() if (text := path.read_text())}
    assert not {name: lines for name, lines in long.items() if lines > 150}


def test_packages_import_only_those_before_them_and_no_command():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} == {*ORDER}
    wrong = []
    for name, tree in TREES.items():
        here = name.split(".")[1] if "." in name else ""
        for other in imports(tree):
            there = other.split(".")[1]
            if there in COMMANDS and here != "__main__":
                wrong.append(f"{name} -> {other}, a command")
            elif here in ORDER and there in ORDER and ORDER.index(there) > ORDER.index(here):
                wrong.append(f"{name} -> {other}")
    assert not wrong, "\n".join(wrong)


def test_stage_one_reaches_few_modules():
    seen, todo = set(), ["auface_jax.training.tasks.vqgan"]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += imports(TREES[name])
    assert len(seen) <= 50, sorted(seen)


@pytest.mark.parametrize("name", FILES)
def test_files_and_functions_fit_on_pages(name):
    assert FILES[name].read_text().count("\n") <= 350
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= 80, f"{name}.{node.name} has {lines} lines"


@pytest.mark.parametrize("name", FILES)
def test_docstrings_stand_by_themselves(name):
    for node, doc in documented(TREES[name]):
        where = f"{name}:{getattr(node, 'lineno', 1)}"
        public = isinstance(node, ast.Module) or not node.name.startswith("_")
        if isinstance(node, ast.Module | ast.ClassDef) and public:
            assert doc, f"{where} has no docstring"
        assert not (doc and CLAUSE.match(doc)), f"{where} begins with a clause: {doc[:60]}"


def test_nearly_every_public_function_is_documented():
    docs = [
        bool(doc)
        for tree in TREES.values()
        for node, doc in documented(tree)
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    assert sum(docs) >= 0.9 * len(docs)


def test_loop_body_fits_on_half_a_page():
    [steps] = [
        node
        for node in ast.walk(TREES["auface_jax.training.loop"])
        if isinstance(node, ast.FunctionDef) and node.name == "steps"
    ]
    [loop] = [node for node in ast.walk(steps) if isinstance(node, ast.For)]
    assert loop.end_lineno - loop.lineno <= 36


def test_no_test_module_imports_another():
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert not re.search(r"^(from|import) .*\btest_\w+", path.read_text(), re.MULTILINE), path


def test_no_two_classes_have_one_name():
    """Networks are apart: a network's layers are named as in its paper."""
    places = {}
    for name, tree in TREES.items():
        if name.split(".")[1:2] not in (["models"], ["pretrained"]):
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(name)
    assert not {name: where for name, where in places.items() if len(where) > 1}
