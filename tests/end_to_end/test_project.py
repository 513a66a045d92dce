"""Laws of a fresh clone: pins, packaging, commands that documents name, no stray paths."""

import importlib
import importlib.util
import operator
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import auface_jax
from auface_jax import __main__ as console
from auface_jax.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = sorted(m.name for m in pkgutil.walk_packages(auface_jax.__path__, "auface_jax."))

# Modules that import what the tests' own environment cannot have.
NEEDS_EXTRA = {"auface_jax.data.build.beam": "apache_beam"}

# A folder of one machine, or an address that packages come from.
STRAY = re.compile(
    r"(?<![\w.~-])/(?:home|root|Users|work|farm|tmp|mnt|opt)/\w"
    r"|file:/{3}|--(?:extra-)?index-url|pypi\.org/simple|files\.pythonhosted"
)


def tracked_files():
    # In a container the checkout may belong to another user, which git distrusts by default.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def documents():
    return [path for path in tracked_files() if path.suffix == ".md"]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_names(lines):
    """Names of the packages that requirement lines ask for."""
    return {canonical(re.match(r"[\w.-]+", line).group()) for line in lines}


def pinned(name):
    """The lines of a file of pins, which names no address."""
    text = (ROOT / name).read_text()
    assert "://" not in text
    lines = text.split("\n")[:-1]
    assert all("==" in line for line in lines)
    return lines


def load_page(path):
    """The module of a file in configs/."""
    spec = importlib.util.spec_from_file_location(f"configs_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def has_leaf(config, name):
    """Tells whether a config has a leaf or a node of this dotted name."""
    try:
        operator.attrgetter(name)(config)
    except AttributeError:
        return False
    return True


def test_constraints_pin_every_requirement_and_name_no_address():
    lines = pinned("constraints.txt")
    extras = dict(PYPROJECT["project"]["optional-dependencies"])
    # Beam has an environment and pins of its own, for the packages that building data needs.
    beam = requirement_names(pinned("constraints-beam.txt"))
    assert requirement_names(extras.pop("beam")) <= beam
    asked = requirement_names(
        PYPROJECT["project"]["dependencies"] + [line for group in extras.values() for line in group]
    )
    missing = asked - requirement_names(lines)
    assert not missing, (
        f"not in constraints.txt: {sorted(missing)}; compile it again (CONTRIBUTING.md)"
    )


def test_extras_exist():
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert {"dev", "tpu", "cuda", "tensorboard", "convert"} <= extras.keys()
    used = (ROOT / "Makefile").read_text() + (ROOT / "requirements-tpu.txt").read_text()
    named = {name for group in re.findall(r"\.\[([\w,]+)\]", used) for name in group.split(",")}
    assert named and named <= extras.keys()


def test_one_version_everywhere():
    citation = (ROOT / "CITATION.cff").read_text()
    versions = {
        auface_jax.__version__,
        PYPROJECT["project"]["version"],
        re.search(r"^version: (.+)$", citation, re.MULTILINE).group(1),
    }
    assert len(versions) == 1, versions


@pytest.mark.parametrize("name", MODULES)
def test_module_imports_and_says_what_it_is(name):
    if name in NEEDS_EXTRA:
        pytest.importorskip(NEEDS_EXTRA[name], reason="another environment: make test-beam")
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda p: p.name)
def test_config_imports_and_says_what_it_is(path):
    assert load_page(path).__doc__


def test_data_beside_the_code_is_packaged():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["*"]
    for path in tracked_files():
        inside = path.is_relative_to(ROOT / "auface_jax")
        if inside and path.suffix != ".py":
            assert any(fnmatch(path.name, pattern) for pattern in patterns), path


def test_package_map_names_every_package_and_command():
    listed, commands = auface_jax.__doc__.split("Commands")[0], auface_jax.__doc__.split("Commands")
    named = re.findall(r"^    (\w+) {2,}\S", listed, re.MULTILINE)
    folders = {path.name for path in (ROOT / "auface_jax").iterdir() if path.is_dir()}
    assert set(named) == folders - {"__pycache__"}
    loose = {path.stem for path in (ROOT / "auface_jax").glob("[a-z]*.py")}
    assert loose <= set(re.findall(r"\w+", commands[1]))


def test_every_package_is_listed_for_installation():
    folders = {path.parent for path in (ROOT / "auface_jax").rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert names | {"auface_jax.configs"} == set(PYPROJECT["tool"]["setuptools"]["packages"])


IMPORT_ALONE = """
import time
began = time.perf_counter()
import auface_jax
print(time.perf_counter() - began)
import sys
assert "jax" not in sys.modules
assert {"Generator", "Request", "Recognizer", "TextReader", "describe"} <= set(dir(auface_jax))
from auface_jax import describe
import numpy as np
print(describe(np.eye(12, dtype=np.int8)[6], np.random.default_rng(0)))
"""


def test_importing_the_package_loads_no_jax_and_describe_works(tmp_path):
    command = [sys.executable, "-c", IMPORT_ALONE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seconds, text = done.stdout.splitlines()
    assert float(seconds) < 0.3 and "lip" in text


def test_console_script_lists_every_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["auface", "--help"])
    console.main()
    listed = capsys.readouterr().out
    for name, (module, _) in console.COMMANDS.items():
        assert re.search(rf"^  {name} ", listed, re.MULTILINE)
        assert hasattr(importlib.import_module(f"auface_jax.{module}"), "main")
    monkeypatch.setattr(sys, "argv", ["auface", "drow"])
    with pytest.raises(SystemExit, match="'drow' is not a command"):
        console.main()


def test_no_machine_path_or_registry_in_tracked_files():
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode().split("\n"), start=1):
            if STRAY.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


def test_commands_of_the_documents_exist():
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"quickstart", "test", "lint", "clean"} <= targets
    readme = (ROOT / "README.md").read_text()
    assert "make quickstart" in readme and "make test" in readme
    for path in documents():
        text = path.read_text()
        for target in re.findall(r"(?:^|`|\$ )make ([a-z][\w-]*)", text, re.MULTILINE):
            assert target in targets, f"{path.name}: make {target}"
        for module in re.findall(r"python3? -m (auface_jax[\w.]*)", text):
            assert module in MODULES, f"{path.name}: python -m {module}"
        for command in re.findall(r"(?:^    |`)auface ([a-z][\w-]*)", text, re.MULTILINE):
            assert command in COMMANDS, f"{path.name}: auface {command}"
        for config in re.findall(r"--config[ =](\S+?\.py)", text):
            found = [folder for folder in (ROOT, ROOT / "configs") if (folder / config).is_file()]
            assert found, f"{path.name}: {config}"


def test_config_flags_of_the_documents_exist():
    configs = []
    for path in sorted((ROOT / "configs").glob("*.py")):
        module = load_page(path)
        if hasattr(module, "get_config"):
            configs.append(module.get_config("quickstart"))
    for path in documents():
        for flag in re.findall(r"--config\.([a-z][\w.]*\w)", path.read_text()):
            known = any(has_leaf(config, flag) for config in configs)
            assert known, f"{path.name}: --config.{flag}"


def test_links_between_documents_exist():
    for path in documents():
        for target in re.findall(r"\]\(([^)\s#]+)", path.read_text()):
            if not re.match(r"[a-z]+:", target):
                assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: {target}"


def test_ci_runs_the_tests():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()
