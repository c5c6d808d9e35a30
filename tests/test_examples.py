"""The examples run as they are, on a tiny dataset, and do what they say."""

import json
import os
import runpy
from pathlib import Path

import pytest
from served import as_typed

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOK = EXAMPLES / "unlearning.ipynb"


@pytest.fixture
def given(settings):
    return ["--dataset=tiny", *(f"--{key}={value}" for key, value in settings.items())]


def example(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")} == {
        *("compare_methods", "forget_a_user", "a_request_a_day", "serve", "my_models", "my_methods", NOTEBOOK.stem)
    }


def test_compare_methods(given, capsys):
    example("compare_methods")([*given, "--forget_type=user", "--forget_ratio=0.1"])
    out = capsys.readouterr().out
    assert "UnlearnRec zero-shot" in " ".join(out.split()) and "Nearest to Retrain" in out


def test_forget_a_user(given, capsys):
    example("forget_a_user")([*given, "--forget_type=random"])
    out = capsys.readouterr().out
    lists = {line.split(":")[0].strip(): line.split(":")[1].split() for line in out.splitlines() if line[:2] == "  "}
    assert len(lists["before"]) == len(lists["after"]) == 10 and "A user forgets 4 of " in out


def test_a_request_a_day(given, capsys):
    example("a_request_a_day")([*given, "--days=2", "--forget_type=random"])
    days = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("day", "verified"))]
    left = [int(line.split(", ")[2].split()[0]) for line in days[:2]]
    assert left[0] > left[1] and "version 3" in days[1] and days[2] == "verified: clean"


def test_serve(given, capsys):
    pytest.importorskip("uvicorn")
    example("serve")([*given, "--forget_type=random"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("201") and lines[-1].startswith("completed")


@pytest.mark.parametrize(
    "file, more", [("my_models", ["--model=FadingGCN"]), ("my_methods", ["--model=LightGCN", "--unlearn_methods=all"])]
)
def test_classes_of_ones_own(given, file, more):
    small = (
        ["--unlearn_methods=UnlearnRec,DropEdges"] if file == "my_models" else ["--unlearn_methods=Shrink,DropEdges"]
    )
    code, out, err = as_typed("run", f"--import={EXAMPLES / file}.py", *given, *more[:1], *small)
    assert code == 0, err
    assert ("FadingGCN on tiny" if file == "my_models" else "Shrink") in out + err


def test_the_notebook_runs_cell_by_cell(settings):
    """On the tiny dataset, by the settings that its second cell has for a reader to change."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names: dict = {}
    for number, source in enumerate(sources):
        exec(compile(source, f"cell {number}", "exec"), names)
        if "settings" in names and "tiny" not in names.get("dataset", ""):
            names["dataset"], names["settings"] = "tiny", {**settings, **names["settings"]}
    assert names["report"]["dataset"] == "tiny" and len(names["frame"]) > 3
    assert os.path.exists(names["result"]["model"])
