"""docs/extend.md: its files and its commands work as they are written."""

import importlib
import pickle
import re
import shlex
import sys
from pathlib import Path

import pytest
from recbole.evaluator import metric_information, metric_types, metrics_dict

from recbole_unlearn.command_line import main
from recbole_unlearn.errors import UsageError
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.own_modules import import_files
from recbole_unlearn.saved_model import load_model, save_model
from recbole_unlearn.task import prepare_data
from recbole_unlearn.testing import tiny_dataset

PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, flags=re.DOTALL))
COMMANDS = re.findall(r"```bash\n(.*?)\n```", PAGE, flags=re.DOTALL)
SMALL = (
    "--gpu_id=",
    "--show_progress=False",
    "--epochs=2",
    "--topk=5",
    "--valid_metric=NDCG@5",
    "--forget_type=random",
)
LONGEST = {
    "my_popularity.py": 16,
    "my_backbone.py": 20,
    "my_layers.py": 20,
    "my_method.py": 18,
    "my_metric.py": 12,
}  # lines that are not empty


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The page's files in the working directory, with ``tiny`` in the place of ml-100k."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for registry in (MODELS._classes, METHODS._classes, metrics_dict, metric_types, metric_information):
        for name in ("TwoHops", "Layered", "Popularity", "Shrink", "stilllikely"):
            monkeypatch.setitem(registry, name, None)
            del registry[name]  # after the test it is as before
    for name, text in FILES.items():
        (tmp_path / name).write_text(f"# {name}\n{text}")
    tiny = Path(tiny_dataset(tmp_path)) / "tiny"
    tiny.rename(tmp_path / "ml-100k")
    (tmp_path / "ml-100k" / "tiny.inter").rename(tmp_path / "ml-100k" / "ml-100k.inter")
    importlib.invalidate_caches()
    yield tmp_path
    for name in FILES:
        sys.modules.pop(Path(name).stem, None)


def call(command, folder):
    """Run a command of the page on the small dataset; the report."""
    program, *arguments = shlex.split(command)
    assert (program, arguments.pop(0)) == ("python", "run_unlearn.py")
    report = folder / "report.json"
    main(
        [*arguments, *SMALL, f"--data_path={folder}", f"--checkpoint_dir={folder / 'saved'}", f"--report_file={report}"]
    )
    return report.read_text()


def test_every_block_is_a_file_or_a_command():
    assert len(FILES) + len(COMMANDS) == len(re.findall("^```\\w", PAGE, flags=re.MULTILINE)) == 12
    for name, most in LONGEST.items():
        lines = [line for line in FILES[name].splitlines() if line.strip()]
        assert len(lines) <= most, f"{name} has {len(lines)} lines"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: re.search(r"--import=(\w+)", command)[1])
def test_a_command_works_as_it_is_written(page, command):
    report = call(command, page)
    assert "no result" not in report
    for method in (re.search(r"--unlearn_methods=(\S+)", command) or ["", "Retrain,UnlearnRec,DropEdges"])[1].split(
        ","
    ):
        assert f'"method": "{method}"' in report
    assert ("StillLikely" in command) == ('"StillLikely"' in report)
    assert ("Layered" in command) == ("not unlearned: layer, scale" in report)


def test_the_contracts_of_the_page_pass(page):
    files = [name for name in FILES if name.startswith("test_")]
    assert len(files) == 2
    assert pytest.main(["-q", "-p", "no:cacheprovider", f"--rootdir={page}", *files]) == 0


def test_own_metrics_reach_other_processes_and_no_model_file(page, configure, tmp_path):
    import_files(["my_metric.py"])
    config = configure("BPR", metrics=["NDCG", "StillLikely"])
    pickled, metric = pickle.dumps(config), metrics_dict["stilllikely"]
    train = prepare_data(config).train
    save_model(str(tmp_path / "model.safetensors"), MODELS["BPR"](config, train), config, train)
    for registry in (metrics_dict, metric_types, metric_information):
        del registry["stilllikely"]  # as in a fresh process
    assert load_model(str(tmp_path / "model.safetensors"))[0]["metrics"] == ["NDCG"]
    assert "stilllikely" not in metrics_dict
    assert pickle.loads(pickled)["metrics"] == config["metrics"] and metrics_dict["stilllikely"] is metric


def test_a_metric_of_forgotten_pairs_stops_no_training(page, configure):
    import_files(["my_metric.py"])
    with pytest.raises(UsageError, match="'valid_metric' must be METRIC@K of a ranking metric"):
        configure(metrics=["NDCG", "StillLikely"], valid_metric="StillLikely@5")
