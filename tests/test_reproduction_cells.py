"""What the paper's tables and figures are made of: cells, their settings, and what is left of them."""

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import keywords
from reproduced import base_of, cell_of, keep, left_by, usual_cells
from reproduction import cells, experiments
from reproduction.cells import OF_THE_CELL, ROOT, SEEDS, Cell, cells_there, distil, histogram, load, save, values_of
from reproduction.document import bases
from reproduction.experiments import EXPERIMENTS, PAPERS_ENCODER, all_cells

from recbole_unlearn.config import Config, properties_folder
from recbole_unlearn.errors import UsageError
from recbole_unlearn.method import METHODS
from recbole_unlearn.report.files import save_json


def test_shipped_settings_are_those_of_properties():
    found = {}
    for file in properties_folder().rglob("*.yaml"):
        for key, value in (yaml.safe_load(file.read_text()) or {}).items():
            found.setdefault(key, set()).add(str(value))
    assert {key: found[key] for key in experiments.SHIPPED} == {
        key: {str(value)} for key, value in experiments.SHIPPED.items()
    }


def test_the_same_run_is_one_cell_wherever_it_is_used():
    table_2 = experiments.table_2(base_of("table 2"))
    shipped, papers = cell_of(), cell_of("UnlearnRec", ("ie_target", "negative"))
    assert table_2["UnlearnRec"][0] == shipped and table_2[PAPERS_ENCODER][0] == papers
    assert experiments.table_5(base_of("table 5"))[0.01] == {
        "Retrain": [cell_of("Retrain")],
        PAPERS_ENCODER: [papers],
        "UnlearnRec": [shipped],
    }
    table_4 = experiments.table_4(base_of("table 4"))
    assert table_4["UnlearnRec"][0] == [shipped] and table_4[PAPERS_ENCODER][1] == [papers]
    assert table_4["UnlearnRec"][1] == [cell_of("UnlearnRec", ("unlearn_finetune_epochs", 1))]
    assert (list(table_4["UnlearnRec"]), list(table_4[PAPERS_ENCODER])) == ([0, 1, 2, 3], [1, 2, 3])
    figure_5 = experiments.figure_5(base_of("figure 5"))
    assert figure_5["pre-training"][10] == figure_5[PAPERS_ENCODER][1] == papers
    assert figure_5["UnlearnRec"][0] == shipped
    assert [figure_5["UnlearnRec"][1]] == table_4["UnlearnRec"][1]
    assert figure_5["Retrain"][0] == cell_of("Retrain")
    assert experiments.table_3(base_of("table 3"))["nothing"] == [replace(papers, model="SimGCL")]


def test_other_runs_are_other_cells():
    usual = usual_cells()
    assert len({cell.file for cell in usual}) == len(usual) == len({tuple(cell.command) for cell in usual})


def test_every_method_is_a_row_of_table_2():
    shipped = {name for name in METHODS if METHODS[name].__module__.startswith("recbole_unlearn.")}
    others = {"Exact", "FineTune", "InfluenceCG"}  # that the paper does not compare
    assert {method for method, _ in experiments.METHODS.values()} == shipped - others


def test_several_seeds_are_of_the_papers_request():
    base = base_of("table 2")
    assert base.request == "adversarial" and [cell.seed for cell in experiments.table_2(base)["Retrain"]] == list(SEEDS)
    assert all(len(cells) == 1 for cells in experiments.table_2(replace(base, request="user")).values())


@cache
def accept(*arguments):
    parsed = keywords(arguments)
    return Config(
        parsed["model"], parsed["dataset"], parsed["config_file_list"], {**parsed["config_dict"], "gpu_id": ""}
    )


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_command_is_accepted_and_has_the_settings_of_its_cell(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    for cell in all_cells([EXPERIMENTS[name].cells(replace(base, dataset="ml-100k")) for base in bases(name)]):
        cell = replace(cell, seed=1)
        script, *arguments = cell.command
        assert (ROOT / script).is_file()
        config = accept(*arguments)
        assert config["embedding_size"] == 64 and config["seed"] == 1 and config["n_layers"] == 3
        assert {key: config[key] for key, _ in cell.changes} == dict(cell.changes)
        if cell.request != "case-study":
            assert config["forget_type"] == cell.request and config["unlearn_methods"] == [cell.method]
            assert cell.settings == {
                key: value for key, value in config.results_settings().items() if key not in OF_THE_CELL
            }


def test_the_papers_setting_is_chosen_by_name():
    cell = cell_of(setting="d128")
    assert "--config_files=properties/setting/d128.yaml" in cell.command and str(cell).startswith("d128/ml-1m/")


def test_what_suits_a_backbone_follows_its_setting(tmp_path):
    for name in ("mine", "mine-SGL", "mine-BPR"):
        (tmp_path / f"{name}.yaml").write_text("epochs: 1\n")
    folder = os.path.relpath(tmp_path, ROOT)
    shared, both = (
        replace(cell_of(setting=f"{folder}/mine.yaml"), model=model).command for model in ("LightGCN", "SGL")
    )
    assert f"--config_files={folder}/mine.yaml" in shared
    assert f"--config_files={folder}/mine.yaml {folder}/mine-SGL.yaml" in both


@pytest.mark.parametrize("setting, size", [("d64", 64), ("d128", 128)])
@pytest.mark.parametrize("model", experiments.MODELS)
def test_the_papers_sizes_and_split(settings, monkeypatch, setting, size, model):
    cell = Cell("ml-1m", model, "Retrain", setting=setting)
    files = (
        next(argument for argument in cell.command if argument.startswith("--config_files=")).partition("=")[2].split()
    )
    monkeypatch.chdir(ROOT)
    config = Config(model, "ml-1m", files, {"gpu_id": ""})
    assert (config["embedding_size"], config["n_layers"]) == (size, 3)
    assert config["eval_args"]["split"] == {"RS": [0.79, 0.01, 0.2]}
    assert len(files) == (2 if setting == "d64" else 1) and (config["train_batch_size"] > 8192) == (setting == "d64")


def test_settings_are_of_all_files_and_of_the_cell():
    found = cell_of("UnlearnRec", ("ie_target", "negative"), seed=2022).settings
    assert {
        key: found[key] for key in ("reg_weight", "epochs", "embedding_size", "load_col", "ie_rho", "ie_target", "seed")
    } == {
        "reg_weight": 1e-04,  # of properties/model
        "epochs": 200,  # d64-LightGCN
        "embedding_size": 64,  # d64
        "load_col": {"inter": ["user_id", "item_id"]},  # dataset
        "ie_rho": 0.1,  # method
        "ie_target": "negative",
        "seed": 2022,
    }
    assert not found.keys() & {"forget_type", "forget_file", "unlearn_methods", "data_path", "checkpoint_dir", "gpu_id"}


def test_what_is_kept_of_a_report_are_the_settings_of_its_results(configure, tmp_path):
    config = configure(unlearn_methods="GIF", forget_type="user", ie_rho=0.3, report_file=str(tmp_path / "report.json"))
    save_json(config["report_file"], {"seed": 7, "config": config.as_dict(), "gaps": [], "results": []})
    result = distil(config["report_file"])
    assert result.keys() == {"seed", "results", "settings", "scores"} and result["scores"] == {}
    assert {"epochs": 4, "seed": 7, "forget_ratio": 0.05, "ie_rho": 0.3}.items() <= result["settings"].items()
    assert not result["settings"].keys() & {*OF_THE_CELL, "data_path", "checkpoint_dir", "gpu_id", "report_file"}


def kept(folder, cell, **changes):
    """What counts of a cell whose run had some settings other than today's."""
    result = left_by(cell)
    save(folder, cell, {**result, "settings": {**result["settings"], **changes}})
    return load(folder, cell)


@pytest.mark.parametrize("changes", [{"epochs": 3}, {"seed": 1}, {"ie_target": "unseen"}], ids=str)
def test_what_was_run_with_other_settings_does_not_count(tmp_path, changes):
    assert kept(tmp_path, cell_of("UnlearnRec", ("ie_target", "negative")), **changes) is None


def test_settings_that_came_or_went_make_no_difference(tmp_path):
    cell = cell_of("UnlearnRec")
    assert kept(tmp_path, cell, ie_of_yesterday=1)["settings"] == {**cell.settings, "ie_of_yesterday": 1}
    result = left_by(cell)
    del result["settings"]["ie_passes"]
    save(tmp_path, cell, result)
    assert load(tmp_path, cell) is not None


def test_what_another_setting_of_the_same_name_left_does_not_count(tmp_path):
    here, there = (cell_of("GIF", setting=f"{folder}/mine.yaml") for folder in ("here", "there"))
    keep(tmp_path, here)
    assert here.file == there.file and load(tmp_path, here) is not None and load(tmp_path, there) is None


def test_what_an_older_command_left_counts(tmp_path):
    cell = cell_of("GIF")
    keep(tmp_path, cell, command="python run_unlearn.py --model=LightGCN")
    assert load(tmp_path, cell) is not None


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write files of one's own setting and get its cell, as a new process sees it: ``own(mine="epochs: 1")``."""
    monkeypatch.chdir(tmp_path)

    def write(**contents):
        for name, content in contents.items():
            Path(f"{name.replace('_', '-')}.yaml").write_text(content, encoding="utf-8")
        cells._settings.cache_clear()
        return cell_of("GIF", setting=os.path.relpath("mine.yaml", ROOT))

    return write


def test_what_an_own_setting_left_counts_until_it_says_something_else(own, tmp_path):
    cell = own(mine="embedding_size: 8\n")
    keep(tmp_path, cell)
    assert load(tmp_path, own(mine="embedding_size: 8  # as before\n"))["settings"]["embedding_size"] == 8
    assert load(tmp_path, own(mine="embedding_size: 16\n")) is None
    assert load(tmp_path, own(mine="embedding_size: 8\n", mine_LightGCN="embedding_size: 16\n")) is None


@pytest.mark.parametrize("deleted", [["mine.yaml"], ["mine.yaml", "mine-LightGCN.yaml"]], ids=str)
def test_what_a_deleted_setting_left_counts(own, tmp_path, deleted):
    cell = own(mine="embedding_size: 8\n", mine_LightGCN="epochs: 3\n")
    keep(tmp_path, cell)
    for file in deleted:
        Path(file).unlink()
    cells._settings.cache_clear()
    assert cell.settings == {} and load(tmp_path, cell)["settings"]["epochs"] == 3


def test_half_written_cells_are_not_there(tmp_path):
    gif, retrain = cell_of("GIF"), cell_of("UnlearnRec", ("ie_target", "negative"), ("ie_epochs", 2), seed=2022)
    for cell in (retrain, gif):
        keep(tmp_path, cell)
    (tmp_path / gif.file).with_name(".123-CEU-2021.json").write_text('{"cell": {', encoding="utf-8")
    assert cells_there(tmp_path) == [gif, retrain]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is no JSON"),
        ("[]", "is no cell"),
        ('{"cell": {}}', "is no cell"),
        ('{"cell": {"changes": [], "colour": 1}, "settings": {}}', "is no cell"),
    ],
)
def test_a_damaged_file_is_told(tmp_path, text, problem):
    gif = cell_of("GIF")
    keep(tmp_path, gif)
    (tmp_path / gif.file).write_text(text, encoding="utf-8")
    for read in (cells_there, lambda folder: load(folder, gif)):
        with pytest.raises(UsageError, match=f"GIF-2021.json {problem}.*delete it"):
            read(tmp_path)


def test_a_histogram_keeps_number_and_mean():
    values = np.random.default_rng(0).normal(3, 2, size=1000).astype(np.float32)
    kept = json.loads(json.dumps(histogram(values)))
    back = values_of(kept)
    width = (kept["high"] - kept["low"]) / len(kept["counts"])
    assert kept["mean"] == pytest.approx(values.mean()) and len(back) == sum(kept["counts"]) == 1000
    assert abs(back - np.sort(values)).max() <= width + 1e-6 and abs(back.mean() - values.mean()) < width
    assert (kept["low"], kept["high"]) == (pytest.approx(values.min()), pytest.approx(values.max()))


@pytest.mark.parametrize("values", [[], [1.5], [2.0, 2.0]])
def test_a_histogram_of_few_or_equal_values(values):
    kept = json.loads(json.dumps(histogram(np.array(values)), allow_nan=False))
    assert sum(kept["counts"]) == len(values) and kept["mean"] == (values[0] if values else None)
    assert values_of(kept) == pytest.approx(values, abs=(kept["high"] - kept["low"]) / len(kept["counts"]))
