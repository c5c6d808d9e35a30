"""The plan of the house: imports go down, files fit on a few screens, and an import takes only what it needs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import recbole_unlearn

PACKAGE = Path(recbole_unlearn.__file__).parent
FLOORS = (  # from the ground up; a module imports from lower floors and from its own package. docs/architecture.md
    "errors registry digest settings streams own_modules progress display",
    "files text_settings compat graph propagation gram nonnegative info_nce loss solver parallel process_group torchrun columns cost top cluster",
    "data",
    "model",
    "encoder",
    "trainer",
    "calibration",
    "method",
    "evaluator",
    "audit",
    "declarations",
    "known_settings validation",
    "config",
    "task check",
    "report",
    "sequence",
    "model_file",
    "deletion",
    "saved_model",
    "server",
    "sweep",
    "quick_start",
    "testing",
    "arguments",
    "commands",
    "command_line write_properties",
    "__main__",
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
GROUND = 2  # the lowest floors, of small modules that may import each other
MOST_LINES = 300


def modules():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def imported(path):
    """The modules of this package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "recbole_unlearn":
            yield from (f"recbole_unlearn.{name.name}" for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recbole_unlearn."):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("recbole_unlearn."))


def room(parts):
    return parts[0].removesuffix(".py")


def test_every_module_has_a_floor():
    assert {room(path.relative_to(PACKAGE).parts) for path in modules()} == set(FLOOR)


def test_imports_go_down():
    up = []
    for path in modules():
        here = room(path.relative_to(PACKAGE).parts)
        for module in imported(path):
            there = room(module.split(".")[1:])
            same = here == there or (FLOOR[here] == FLOOR[there] < GROUND)
            if not same and FLOOR[there] >= FLOOR[here]:
                up.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not up


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_an_import_takes_only_what_it_needs():
    heavy = (
        "lightgbm",
        "matplotlib.figure",
        "ray",
        "jinja2",
        "pydantic",
        "recbole_unlearn.deletion",
        "recbole_unlearn.sweep",
    )
    code = (
        f"import sys, recbole.config, recbole.trainer; before = set(sys.modules); import recbole_unlearn; "
        f"print([name for name in {heavy} if name in set(sys.modules) - before])"
    )
    first = "import recbole_unlearn.compat; "  # RecBole's own import needs it
    run = subprocess.run([sys.executable, "-c", first + code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_wheel_has_every_package():
    """Else an installed copy fails, while every test, which runs in the checkout, passes."""
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    listed = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    properties = PACKAGE.parent / "properties"
    folders |= {PACKAGE / path.parent.relative_to(PACKAGE.parent) for path in properties.rglob("*.yaml")}
    assert sorted(listed) == sorted(".".join(path.relative_to(PACKAGE.parent).parts) for path in folders)


def test_public_names_are_there():
    assert all(getattr(recbole_unlearn, name).__name__ == name for name in recbole_unlearn.__all__)
    assert set(recbole_unlearn.__all__) <= set(dir(recbole_unlearn))
    with pytest.raises(AttributeError, match="no attribute 'forget_everything'"):
        recbole_unlearn.forget_everything


def test_a_release_has_one_number():
    root = PACKAGE.parent
    assert (
        re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1]
        == recbole_unlearn.__version__
    )
    assert f"\nversion: {recbole_unlearn.__version__}\n" in (root / "CITATION.cff").read_text()
