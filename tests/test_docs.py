"""The pages' commands and code: a command is understood, and Python compiles and imports what there is."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from recbole_unlearn import command_line

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [page for page in PAGES if page.name != "extend.md"]  # test_extend.py runs it
PAGES += [ROOT / "benchmarks" / name for name in ("README.md", "target.md", "shipped.md")]
PLACEHOLDER = re.compile(r"\b[A-Z_]{3,}\b|\.\.\.")  # e.g. FILE, STORE: a reader fills it in
MOST_LINES = 150  # of the README


def blocks(page, language):
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(page):
    """The commands of this package in a page's shell blocks, as lists of arguments."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;", re.sub(r"\s#.*", "", line)):
                match = re.search(r"(?:^|\s)(?:run-unlearn|python run_unlearn\.py|-m recbole_unlearn)\s(.*)", part)
                if match and not PLACEHOLDER.search(match[1]):
                    yield shlex.split(match[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_understood(page):
    for arguments in commands(page):
        if arguments[0] not in ("--help", "--version"):
            command_line.parse(arguments)


def test_there_are_commands():
    assert sum(1 for page in PAGES for _ in commands(page)) > 12


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_compiles_and_its_imports_are_there(page):
    for block in blocks(page, "python"):
        tree = ast.parse(block)
        imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        exec(compile(ast.Module(imports, []), str(page), "exec"), {})


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES
