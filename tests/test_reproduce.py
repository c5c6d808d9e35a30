"""The paper's tables and figures: cells run and kept, what they are made of, and the page that shows them."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure

import reproduce
from recbole_unlearn import command_line
from recbole_unlearn.config import Config, properties_folder
from recbole_unlearn.errors import UsageError
from recbole_unlearn.method import METHODS
from recbole_unlearn.report import label, save_json
from reproduction import experiments, figures, paper
from reproduction.cells import ROOT, SEEDS, Cell, histogram, load, save, values_of
from reproduction.document import bases, render
from reproduction.experiments import EXPERIMENTS, PAPERS_ENCODER, STAGES, all_cells
from reproduction.summary import summary
from test_report import PNG

TABLE_2 = ("--table=2", "--dataset=tiny", "--model=LightGCN", "--request=random")
SIZES = {"ml-100k": 80_000, "ml-1m": 800_000, "gowalla": 820_000, "yelp2018": 1_240_000}


@pytest.fixture
def setting(settings, yaml_file):
    """A setting of the tiny dataset with the tables' metrics; all else of a run is the cell's or the machine's."""
    others = ("data_path", "checkpoint_dir", "seed", "forget_type", *experiments.SHIPPED)
    own = {key: value for key, value in settings.items() if key not in others}
    return yaml_file(yaml.safe_dump({**own, "topk": [20], "valid_metric": "NDCG@20"}))


@pytest.fixture
def places(settings, setting):
    """Arguments that keep it in this folder."""
    relative = {"data_path": os.path.relpath(settings["data_path"]), "setting": os.path.relpath(setting)}
    return [f"--{key}={value}" for key, value in {"results": "results", "checkpoint_dir": "saved", **relative}.items()]


@pytest.fixture
def start(places):
    """Start it in this folder: ``start("--table=2")`` returns the exit code."""
    return lambda *arguments: reproduce.main([*places, *arguments])


def here(command, cwd):
    """``subprocess.run`` of ``run_unlearn.py`` in this process, which has imported everything."""
    python, script, *arguments = map(str, command)
    assert (python, script, cwd) == (sys.executable, str(ROOT / "run_unlearn.py"), ROOT)
    before = os.getcwd()
    os.chdir(cwd)
    try:
        command_line.main(arguments)
    except SystemExit as end:
        return SimpleNamespace(returncode=end.code)
    finally:
        os.chdir(before)
    return SimpleNamespace(returncode=0)


def pretended(command, cwd):
    """``subprocess.run`` that leaves a report of no training."""
    given = dict(argument[2:].split("=", 1) for argument in command[2:])
    cell = Cell(given["dataset"], given["model"], given["unlearn_methods"], given["forget_type"], int(given["seed"]))
    report = {key: value for key, value in left_by(cell).items() if key != "scores"}
    save_json(given["report_file"], {**report, "config": {"data_path": given["data_path"]}, "gaps": []})
    return SimpleNamespace(returncode=0)


@pytest.fixture
def commands(monkeypatch):
    """Run cells by another function than ``subprocess.run``: ``commands(pretended)`` returns the list of what it gets."""

    def listen(run):
        told = []
        monkeypatch.setattr("reproduction.processes.subprocess.run", lambda command, cwd: (told.append(command), run(command, cwd))[1])
        return told

    return listen


def row(method, stage="", **changes):
    metrics = {"recall@20": 0.2, "ndcg@20": 0.3, "MI-BF": 2.0, "MI-NG": 1.5, "AUC_FN": 0.6, "AUC_FT": 0.4}
    return {"method": method, "stage": stage, **metrics, "offline_seconds": 3.0, "online_seconds": 2.0, "peak_memory_mb": 512.0, **changes}


def left_by(cell, *rows):
    """What a run might have left: these rows, or the original's and one for each stage, better with each seed."""
    stages = STAGES.get(cell.method, ("",))
    rows = rows or (row("original", **{"MI-BF": 1.0}), *(row(cell.method, stage, **{"ndcg@20": 0.3 + (cell.seed - SEEDS[0]) / 100}) for stage in stages))
    generator = np.random.default_rng(zlib.crc32(str(cell).encode()))
    sets = ("forget", "negative", "test")
    result = {
        "model": cell.model,
        "dataset": cell.dataset,
        "seed": cell.seed,
        "data": f"of seed {cell.seed}",
        "interactions": {"training": SIZES.get(cell.dataset, 320)},
        "forget": {"type": cell.request},
        "versions": {"machine": "some machine"},
        "results": list(rows),
        "scores": {label(each): {pairs: histogram(generator.normal(size=50)) for pairs in sets} for each in rows},
    }
    if cell.request == "case-study":
        groups = ("forgotten", "kept, alike")
        result["cases"] = {case: {group: {model: 0.5 for model in figures.MODELS} for group in groups} for case in ("one", "ten")}
    return result


def tables_of(page):
    """A section and a title to a table: its rows' names to columns to text."""
    found, section = {}, ""
    blocks = [block.strip() for block in page.read_text(encoding="utf-8").split("\n\n")]
    for title, block in zip(blocks, blocks[1:]):
        if title.startswith("## "):
            section = title[3:].partition(":")[0]
        if block.startswith("|"):
            headings, _, *lines = [line[2:-2].split(" | ") for line in block.splitlines()]
            found[section, title.strip("*:")] = {name: dict(zip(headings[1:], texts, strict=True)) for name, *texts in lines}
    return found


def test_a_table_from_end_to_end(start, commands, setting, tmp_path, data_path, capsys):
    told = commands(here)
    assert start(*TABLE_2, "--method=Retrain,UnlearnRec") == 0
    assert len(told) == 3, "Retrain, and both encoders of UnlearnRec"
    folder, relative = tmp_path / "results" / "settings/tiny/LightGCN/random", os.path.relpath(setting, ROOT)
    names = ["Retrain-2021", "UnlearnRec-2021", "UnlearnRec-ie_target=negative-2021"]
    assert sorted(path.stem for path in folder.iterdir()) == names

    for name in names:
        text = (folder / f"{name}.json").read_text()
        result = json.loads(text)
        python, script, *arguments = shlex.split(result["command"])
        method, _, change = name.removesuffix("-2021").partition("-")
        expected = ["--model=LightGCN", "--dataset=tiny", "--seed=2021", f"--config_files={relative}", "--forget_type=random", f"--unlearn_methods={method}"]
        assert (python, script, arguments) == ("python", "run_unlearn.py", expected + ([f"--{change}"] if change else []))
        text = text.replace(relative, "")
        assert not any(path in text for path in (str(tmp_path), data_path, str(ROOT), sys.prefix, '"/')), "nothing of this machine"
        assert "config" not in result and result["forget"]["n_interactions"] == 3

        sizes = {"forget": 3, "negative": 200, "test": result["interactions"]["test"]}
        assert set(result["scores"]) == {label(each) for each in result["results"]}
        for sets in result["scores"].values():
            assert {pairs: sum(each["counts"]) for pairs, each in sets.items()} == sizes

    page = tmp_path / "results" / "README.md"
    shown = tables_of(page)["Table 2", "LightGCN on tiny, random interactions, settings"]
    retrain, unlearned = (json.loads((folder / f"{name}.json").read_text())["results"][-1] for name in names[:2])
    assert (unlearned["method"], unlearned["stage"]) == ("UnlearnRec", "fine-tuned")
    for line, numbers in (("Retrain", retrain), ("UnlearnRec fine-tuned", unlearned)):
        assert shown[line]["Recall@20"] == f"{numbers['recall@20']:.4f}" and shown[line]["MI-NG"] == f"{numbers['MI-NG']:.2f}"
    assert shown["UnlearnRec fine-tuned"]["gap MI-BF"] == f"{abs(math.log(unlearned['MI-BF'] / retrain['MI-BF'])):.2f}"
    assert shown[f"{PAPERS_ENCODER} zero-shot"]["seeds"] == "1" and shown["GIF"] == {**dict.fromkeys(shown["GIF"], "not run"), "seeds": ""}

    content = page.read_bytes()
    commands(lambda command, cwd: pytest.fail("a cell that is there is run again"))
    assert start(*TABLE_2, "--method=Retrain,UnlearnRec") == 0
    assert page.read_bytes() == content
    assert capsys.readouterr().err.count("failed") == 0


def test_a_deleted_cell_is_run_again_by_the_same_command(start, commands, tmp_path):
    first = commands(pretended)
    assert start(*TABLE_2) == 0
    page = (tmp_path / "results" / "README.md").read_bytes()
    shown = tables_of(tmp_path / "results" / "README.md")["Table 2", "LightGCN on tiny, random interactions, settings"]
    assert len(first) == 10 and len(shown) == 13 and "not run" not in str(shown)
    (tmp_path / "results" / "settings/tiny/LightGCN/random/CEU-2021.json").unlink()

    def anew(command, cwd):
        (report_file,) = (argument.partition("=")[2] for argument in command[2:] if argument.startswith("--report_file="))
        assert not os.path.exists(report_file), "whose rows would be taken over"
        return pretended(command, cwd)

    again = commands(anew)
    assert start(*TABLE_2) == 0
    assert again == [command for command in first if "--unlearn_methods=CEU" in command] and len(again) == 1
    assert (tmp_path / "results" / "README.md").read_bytes() == page


def test_a_failed_cell_is_told_and_the_others_go_on(start, commands, tmp_path, capsys):
    commands(lambda command, cwd: SimpleNamespace(returncode=2) if "--dataset=absent" in command else pretended(command, cwd))
    assert start("--table=2", "--dataset=absent,tiny", "--model=LightGCN", "--request=random", "--method=Retrain") == 1
    assert capsys.readouterr().err == "reproduce: settings/absent/LightGCN/random/Retrain-2021 failed: exit code 2\n"
    assert [path.parts[-4] for path in (tmp_path / "results").rglob("*.json")] == ["tiny"], "the other one, later, is there"
    shown = tables_of(tmp_path / "results" / "README.md")
    assert ("Table 2", "LightGCN on tiny, random interactions, settings") in shown


def interrupted(command, cwd):
    raise KeyboardInterrupt


@pytest.mark.parametrize("interrupt", [interrupted, lambda command, cwd: SimpleNamespace(returncode=130)], ids=["of this process", "of the cell's"])
def test_an_interruption_keeps_what_is_done(start, commands, tmp_path, capsys, interrupt):
    told = commands(lambda command, cwd: (pretended if len(told) == 1 else interrupt)(command, cwd))
    assert start(*TABLE_2) == 130
    error = capsys.readouterr().err
    assert error.startswith("reproduce: interrupted") and error.count("\n") == 1
    assert len(told) == 2 and [path.name for path in (tmp_path / "results").rglob("*.json")] == ["Retrain-2021.json"]

    told = commands(pretended)
    assert start(*TABLE_2) == 0
    assert len(told) == 9, "the same command goes on with the next cell"


def test_the_case_study_runs_in_a_process_of_its_own(start, settings, tmp_path, data_path):
    rows = [f"u{user}\ti{(user * 7 + step) % 60}" for user in range(30) for step in range(30)]  # more than tiny's, for ten to forget
    (tmp_path / "broad").mkdir()
    (tmp_path / "broad" / "broad.inter").write_text("\n".join(["user_id:token\titem_id:token", *rows]) + "\n")
    assert start("--figure=6", "--dataset=broad", f"--data_path={tmp_path}") == 0
    result = load("results", Cell("broad", "LightGCN", "UnlearnRec", "case-study", setting=os.path.relpath("settings.yaml", ROOT)))
    assert result["command"].startswith("python benchmarks/case_study.py --model=LightGCN --dataset=broad --seed=2021 ")
    assert result["forget"]["n_interactions"] == 15 * 1 + 15 * 10 and set(result["cases"]) == {"one interaction", "ten alike"}
    picture = "figures/figure-6-settings-broad-LightGCN.png"
    assert f"![Figure 6: case study, settings, broad, LightGCN]({picture})" in (tmp_path / "results" / "README.md").read_text()
    assert (tmp_path / "results" / picture).read_bytes().startswith(PNG)


def test_on_a_running_cluster(places, ray_cluster):
    asked = ["--table=2", "--dataset=tiny,absent", "--model=LightGCN", "--request=random", "--method=Retrain", f"--ray_address={ray_cluster}"]
    command = [sys.executable, reproduce.__file__, *places, *asked]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 1, process.stderr
    errors = [line for line in process.stderr.splitlines() if line.startswith("reproduce: ")]
    assert errors == ["reproduce: settings/absent/LightGCN/random/Retrain-2021 failed: exit code 2"]
    done = load("results", Cell("tiny", "LightGCN", "Retrain", "random", setting=os.path.relpath("settings.yaml", ROOT)))
    assert done["forget"]["n_interactions"] == 3 and done["results"][-1]["recall@20"] > 0 and "Retrain" in done["scores"]
    assert "Page: results/README.md" in process.stdout.splitlines()


def test_no_cluster_is_told_in_one_line(start, capsys):
    assert start(*TABLE_2, "--ray_address=127.0.0.1:1") == 2
    error = capsys.readouterr().err
    assert error.startswith("reproduce: No Ray cluster at '127.0.0.1:1'") and error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--table=7"], "There is no table 7; choose among: table 2, table 3, "),
        (["--figure=1"], "There is no figure 1; choose among: .*, figure 6, figure scaling"),
        (["--figure=2,table 2"], "There is no figure table 2; "),
        (["--table=2", "--setting=d65"], "Setting 'd65' is neither one of properties/setting nor a file"),
        (["--table=2", "--method=GIV"], "Unknown method 'GIV'. Did you mean 'GIF'"),
        (["--table=2", "--model=LightGNC"], "Unknown model 'LightGNC'. Did you mean 'LightGCN'"),
        (["--table=2", "--request=adverse"], "Unknown request 'adverse'"),
        (["--table=2", "--seed=1"], "Unknown seed '1'"),
        ([], "Say what: --table=2, --figure=5, --all or --render; see --help"),
        (["--dataset=ml-1m"], "Say what: "),
        (["--render", "--list"], "Say what: "),
        (["--tabel=2"], "Unrecognized arguments: --tabel=2"),
        (["--table=5", "--request=random"], "Only Table 2 has several requests: leave out --request"),
        (["--figure=6", "--method=GIF"], "No cell of these tables and figures is of this --method and --seed"),
        (["--table=3", "--seed=2022"], "No cell of these "),
    ],
)
def test_wrong_usage_is_told_in_one_line(settings, commands, tmp_path, capsys, arguments, told):
    commands(lambda command, cwd: pytest.fail("a cell is run"))
    assert reproduce.main([*arguments, "--results=results"]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    assert re.match(f"reproduce: {told}", output.err)
    assert not (tmp_path / "results").exists()


def test_list_runs_nothing_and_tells_what_is_there(start, commands, tmp_path, capsys):
    commands(lambda command, cwd: pytest.fail("a cell is run"))
    cell = Cell("tiny", "LightGCN", "GIF", "random", setting=os.path.relpath("settings.yaml", ROOT))
    save("results", cell, left_by(cell))
    assert start(*TABLE_2, "--method=GIF,CEU", "--list") == 0
    assert capsys.readouterr().out.splitlines() == ["missing settings/tiny/LightGCN/random/CEU-2021", "there   settings/tiny/LightGCN/random/GIF-2021"]
    assert not (tmp_path / "results" / "README.md").exists()


def test_some_cells_can_be_asked_for(settings, capsys):
    asked = ["--table=2", "--dataset=tiny", "--model=SGL,SimGCL", "--request=adversarial", "--method=Retrain,GIF", "--seed=2022,2023"]
    assert reproduce.main([*asked, "--list", "--results=results"]) == 0
    expected = [f"missing d64/tiny/{model}/adversarial/Retrain-{seed}" for seed in (2022, 2023) for model in ("SGL", "SimGCL")]
    assert capsys.readouterr().out.splitlines() == expected, "GIF has one seed, another"


def test_all_is_all_cells_and_render_runs_none(settings, commands, capsys):
    commands(lambda command, cwd: pytest.fail("a cell is run"))
    assert reproduce.main(["--all", "--list", "--results=results"]) == 0
    listed = capsys.readouterr().out.splitlines()
    usual = all_cells([experiment.cells(base) for name, experiment in EXPERIMENTS.items() for base in bases(name)])
    usual.sort(key=lambda cell: cell.seed)
    assert listed == [f"missing {cell}" for cell in usual] and len(listed) == len(set(listed)) > 300
    assert reproduce.main(["--render", "--results=results"]) == 0
    assert capsys.readouterr().out == "Page: results/README.md\n"


@pytest.mark.parametrize("model, gaps", [("LightGCN", (0.41, 0.38)), ("SimGCL", (0.67, 0.52)), ("SGL", (0.40, 0.19))])
def test_the_papers_own_gaps_on_ml_1m(model, gaps):
    retrain, unlearned = (paper.table_2("ml-1m", model, method) for method in ("Retrain", "UnlearnRec"))
    assert tuple(round(abs(math.log(unlearned[metric] / retrain[metric])), 2) for metric in ("MI-BF", "MI-NG")) == gaps


def test_the_paper_has_no_number_of_other_rows():
    assert paper.table_2("ml-1m", "LightGCN", "IFRU") == paper.table_2("ml-100k", "LightGCN", "GIF") == paper.table_2("ml-1m", "BPR", "GIF") == {}
    assert paper.table_3("ml-1m", "SimGCL", "L_S") == paper.table_3("ml-1m", "SGL", "L_U") == paper.table_5(0.04) == {}
    assert paper.table_4("ml-1m", "DropEdges") is None and paper.table_4("ml-100k", "GIF") is None
    assert paper.table_3("ml-1m", "SimGCL", "nothing") == paper.table_2("ml-1m", "SimGCL", "UnlearnRec"), "the same row, printed twice"


def base_of(name):
    return bases(name)[0]


def cell_of(method="UnlearnRec", *changes, **others):
    return Cell("ml-1m", "LightGCN", method, changes=changes, **others)


def test_shipped_settings_are_those_of_properties():
    found = {}
    for file in properties_folder().rglob("*.yaml"):
        for key, value in (yaml.safe_load(file.read_text()) or {}).items():
            found.setdefault(key, set()).add(str(value))
    assert {key: found[key] for key in experiments.SHIPPED} == {key: {str(value)} for key, value in experiments.SHIPPED.items()}


def test_the_same_run_is_one_cell_wherever_it_is_used():
    table_2 = experiments.table_2(base_of("table 2"))
    shipped, papers = cell_of(), cell_of("UnlearnRec", ("ie_target", "negative"))
    assert table_2["UnlearnRec"][0] == shipped and table_2[PAPERS_ENCODER][0] == papers
    assert experiments.table_5(base_of("table 5"))[0.01] == {"Retrain": [cell_of("Retrain")], PAPERS_ENCODER: [papers], "UnlearnRec": [shipped]}
    table_4 = experiments.table_4(base_of("table 4"))
    assert table_4["UnlearnRec"][1] == [shipped] and table_4[PAPERS_ENCODER][1] == [papers]
    figure_5 = experiments.figure_5(base_of("figure 5"))
    assert figure_5["pre-training"][10] == figure_5[PAPERS_ENCODER][1] == papers and figure_5["UnlearnRec"][1] == shipped
    assert figure_5["Retrain"][0] == cell_of("Retrain")
    assert experiments.table_3(base_of("table 3"))["nothing"] == [replace(papers, model="SimGCL")]


def test_other_runs_are_other_cells():
    cells = all_cells([experiment.cells(base) for name, experiment in EXPERIMENTS.items() for base in bases(name)])
    assert len({cell.file for cell in cells}) == len(cells) == len({tuple(cell.command) for cell in cells})


def test_every_method_is_a_row_of_table_2():
    shipped = {name for name in METHODS if METHODS[name].__module__.startswith("recbole_unlearn.")}
    assert {method for method, _ in experiments.METHODS.values()} == shipped


def test_several_seeds_are_of_the_papers_request():
    base = base_of("table 2")
    assert base.request == "adversarial" and [cell.seed for cell in experiments.table_2(base)["Retrain"]] == list(SEEDS)
    assert all(len(cells) == 1 for cells in experiments.table_2(replace(base, request="user")).values())


@cache
def accept(*arguments):
    parsed = command_line.parse(arguments)
    return Config(parsed["model"], parsed["dataset"], parsed["config_file_list"], {**parsed["config_dict"], "gpu_id": ""})


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_command_is_accepted(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    for cell in all_cells([EXPERIMENTS[name].cells(replace(base, dataset="ml-100k")) for base in bases(name)]):
        script, *arguments = replace(cell, seed=1).command
        assert (ROOT / script).is_file()
        config = accept(*arguments)
        assert config["embedding_size"] == 64 and config["seed"] == 1 and config["n_layers"] == 3
        assert {key: config[key] for key, _ in cell.changes} == dict(cell.changes)
        if cell.request != "case-study":
            assert config["forget_type"] == cell.request and config["unlearn_methods"] == [cell.method]


def test_the_papers_setting_is_chosen_by_name():
    cell = cell_of(setting="d128")
    assert "--config_files=properties/setting/d128.yaml" in cell.command and str(cell).startswith("d128/ml-1m/")


def test_what_suits_a_backbone_follows_its_setting(tmp_path):
    for name in ("mine", "mine-SGL", "mine-BPR"):
        (tmp_path / f"{name}.yaml").write_text("epochs: 1\n")
    folder = os.path.relpath(tmp_path, ROOT)
    shared, both = (replace(cell_of(setting=f"{folder}/mine.yaml"), model=model).command for model in ("LightGCN", "SGL"))
    assert f"--config_files={folder}/mine.yaml" in shared and f"--config_files={folder}/mine.yaml {folder}/mine-SGL.yaml" in both


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("d64.yaml", "epochs: 1", "has the name of a shipped one"),
        ("my own.yaml", "epochs: 1", "no blanks in the path"),
        ("mine.yaml", "epochs: 1\nie_epochs: 2\nforget_ratio: 0.1", "sets forget_ratio, ie_epochs, which the tables vary"),
    ],
)
def test_a_setting_whose_results_would_be_taken_for_others_is_refused(settings, commands, tmp_path, capsys, name, content, told):
    commands(lambda command, cwd: pytest.fail("a cell is run"))
    (tmp_path / name).write_text(content)
    assert reproduce.main(["--table=2", f"--setting={name}", "--results=results"]) == 2
    assert told in capsys.readouterr().err


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


def metrics(mi_bf, ndcg=0.3, online=2.0):
    return {"MI-BF": mi_bf, "ndcg@20": ndcg, "online_seconds": online}


def test_gaps_are_to_retrain_of_the_same_seed(tmp_path):
    pairs = {2021: (4.0, 8.0), 2022: (20.0, 10.0)}  # UnlearnRec's, Retrain's
    for seed, (unlearned, retrained) in pairs.items():
        save(tmp_path, cell_of(seed=seed), left_by(cell_of(), row("original", ndcg=0), row("UnlearnRec", "zero-shot", **metrics(unlearned))) | {"seed": seed})
        save(tmp_path, cell_of("Retrain", seed=seed), left_by(cell_of(), row("original"), row("Retrain", **metrics(retrained, online=seed))) | {"seed": seed})
    rows = summary(tmp_path, {name: [cell_of(method, seed=seed) for seed in SEEDS] for name, method in (("ours", "UnlearnRec"), ("Retrain", "Retrain"))})
    assert set(rows) == {("original", ""), ("ours", "zero-shot"), ("Retrain", "")} and rows["original", ""]["n"] == 2
    ours = rows["ours", "zero-shot"]
    assert ours["n"] == 2 and ours["MI-BF"] == {"mean": 12, "sd": pytest.approx(16 / math.sqrt(2))}
    assert ours["MI-BF_gap"] == {"mean": pytest.approx(math.log(2)), "sd": pytest.approx(0, abs=1e-9)}, "8 / 4 and 20 / 10, not 15 / 12"
    assert ours["speed_up"]["mean"] == pytest.approx((2021 + 2022) / 2 / 2)
    assert summary(tmp_path, {"GIF": [cell_of("GIF")]}) == {}


@pytest.fixture
def kept(tmp_path):
    """Keep a cell of Table 2 and get its table: ``kept("GIF", row(...))``."""

    def keep(method, *rows):
        save(tmp_path, cell_of(method), left_by(cell_of(method), *rows))
        return tables_of(render(tmp_path))["Table 2", "LightGCN on ml-1m, adversarial edges, d64"]

    return keep


NO_RESULT = {"method": "GIF", "stage": "", "offline_seconds": 0.0, "online_seconds": None, "peak_memory_mb": None, "details": {"no result": "it exploded"}}


def test_no_result_and_not_run_are_told_apart(kept):
    shown = kept("GIF", row("original"), NO_RESULT)
    assert shown["GIF"]["Recall@20"] == "no result (0.2111)" and shown["GIF"]["seeds"] == "0"
    assert shown["CEU"]["Recall@20"] == "not run (0.2219)" and shown["CEU"]["seeds"] == ""
    assert shown["IFRU"]["Recall@20"] == "not run" and shown["original"]["Recall@20"] == "0.2000"


def test_cells_of_other_interactions_are_not_compared(tmp_path):
    retrain, gif = cell_of("Retrain"), cell_of("GIF")
    save(tmp_path, retrain, left_by(retrain))
    save(tmp_path, gif, {**left_by(gif), "data": "another request"})
    with pytest.raises(UsageError, match="GIF-2021 is of other interactions"):
        summary(tmp_path, {"Retrain": [retrain], "GIF": [gif]})


def test_what_another_command_left_does_not_count(tmp_path):
    cell = cell_of("GIF")
    save(tmp_path, cell, {**left_by(cell), "command": "python run_unlearn.py --model=LightGCN"})
    assert load(tmp_path, cell) is None


def test_what_other_settings_left_does_not_count(tmp_path, settings):
    Path("mine.yaml").write_text("embedding_size: 8\n", encoding="utf-8")
    cell = replace(cell_of("GIF"), setting=os.path.relpath("mine.yaml", ROOT))
    save(tmp_path, cell, left_by(cell))
    assert load(tmp_path, cell)["settings"] == {"embedding_size": 8}
    Path("mine.yaml").write_text("embedding_size: 8  # as before\n", encoding="utf-8")
    assert load(tmp_path, cell) is not None
    Path("mine-LightGCN.yaml").write_text("embedding_size: 16\n", encoding="utf-8")
    assert load(tmp_path, cell) is None
    Path("mine-LightGCN.yaml").unlink()
    Path("mine.yaml").unlink()
    assert load(tmp_path, cell) is not None, "the page shows what was run elsewhere"


@pytest.mark.parametrize("setting, size", [("d64", 64), ("d128", 128)])
@pytest.mark.parametrize("model", experiments.MODELS)
def test_the_papers_sizes_and_split(settings, monkeypatch, setting, size, model):
    cell = Cell("ml-1m", model, "Retrain", setting=setting)
    files = next(argument for argument in cell.command if argument.startswith("--config_files=")).partition("=")[2].split()
    monkeypatch.chdir(ROOT)
    config = Config(model, "ml-1m", files, {"gpu_id": ""})
    assert (config["embedding_size"], config["n_layers"]) == (size, 3) and config["eval_args"]["split"] == {"RS": [0.79, 0.01, 0.2]}
    assert len(files) == (2 if setting == "d64" else 1) and (config["train_batch_size"] > 8192) == (setting == "d64")


@pytest.mark.parametrize("stages", [("zero-shot",), ()])
def test_unlearnrec_without_a_result_leaves_the_page_whole(kept, stages):
    kept("Retrain")
    shown = kept("UnlearnRec", *(row("UnlearnRec", stage) for stage in stages), {**NO_RESULT, "method": "UnlearnRec"})
    assert shown["UnlearnRec fine-tuned"]["Recall@20"].startswith("no result")


def test_an_undefined_number_is_shown_empty(kept):
    kept("Retrain")
    shown = kept("GIF", row("GIF", **{"MI-BF": None}))
    assert (shown["GIF"]["MI-BF"], shown["GIF"]["gap MI-BF"]) == ("(1.04)", "(2.24)") and shown["GIF"]["MI-NG"] == "1.50 (0.94)"


def test_retrain_has_no_gaps_to_itself(kept):
    assert kept("Retrain")["Retrain"]["gap MI-BF"] == ""


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """The page of all cells of all tables and figures as they usually are."""
    folder = tmp_path_factory.mktemp("everything")
    for cell in all_cells([experiment.cells(base) for name, experiment in EXPERIMENTS.items() for base in bases(name)]):
        result = left_by(cell)
        save(folder, cell, result if cell.method == "Retrain" else {**result, "scores": {}})  # fewer panels to draw
    return render(folder)


def test_the_page_shows_all_that_was_run(everything):
    text = everything.read_text(encoding="utf-8")
    (not_run,) = re.findall(r"^Not run: (.*)\.$", text, flags=re.MULTILINE)
    expected = [f"{model} on {dataset}, adversarial edges, d128" for dataset in experiments.DATASETS for model in experiments.MODELS]
    assert not_run.split("; ") == expected
    shown = tables_of(everything)
    assert len(shown) == 3 * 9 + 2 + 3 + 1 and not any("not run" in cell for table in shown.values() for line in table.values() for cell in line.values())


def test_every_picture_of_the_page_is_there(everything):
    pictures = re.findall(r"!\[(.*)\]\((.*)\)", everything.read_text(encoding="utf-8"))
    assert len(pictures) == len({path for _, path in pictures}) == 9 + 3 + 3 + 1 + 1 + 3
    assert all((everything.parent / path).read_bytes().startswith(PNG) for _, path in pictures)
    assert ("Figure 4: memory, d64, LightGCN", "figures/figure-4-d64-LightGCN.png") in pictures


@pytest.mark.parametrize("dataset", experiments.DATASETS)
@pytest.mark.parametrize("model", experiments.MODELS)
def test_table_2_has_the_papers_number_behind_ours(everything, model, dataset):
    shown = tables_of(everything)["Table 2", f"{model} on {dataset}, adversarial edges, d64"]
    for name, several in (("GIF", False), ("Retrain", True), ("UnlearnRec fine-tuned", True), (f"{PAPERS_ENCODER} fine-tuned", True)):
        printed = paper.table_2(dataset, model, "UnlearnRec" if "UnlearnRec" in name else name)
        ours = "0.3100 ± 0.0100" if several else "0.3000"
        assert shown[name]["NDCG@20"] == f"{ours} ({printed['ndcg@20']:.4f})" and shown[name]["MI-BF"].endswith(f" ({printed['MI-BF']:.2f})")
        assert shown[name]["seeds"] == ("3" if several else "1")
    assert not any("(" in cell for name in ("IFRU", "DropEdges", "UnlearnRec zero-shot", "original") for cell in shown[name].values())
    other = tables_of(everything)["Table 2", f"{model} on {dataset}, users, d64"]
    assert not any("(" in cell for line in other.values() for cell in line.values()), "the paper has one request"


def test_the_other_tables_have_the_papers_number_behind_ours(everything):
    shown = tables_of(everything)
    assert shown["Table 2", "SimGCL on ml-1m, adversarial edges, d64"]["UnlearnRec fine-tuned"]["gap MI-BF"].endswith(" (0.67)")
    table_3 = shown["Table 3", "SimGCL on gowalla, adversarial edges, d64"]
    assert table_3["without L_P and L_S"]["Recall@20"] == "0.2000 (0.1711)" and table_3["without L_P"]["Recall@20"] == "0.2000" and table_3["without fine-tuning"]["MI-BF"] == "2.00 (3.32)"
    assert table_3["without L_S"]["Recall@20"] == "0.2000" and table_3["Retrain"]["MI-BF"] == "2.00 (15.43)"
    table_4 = shown["Table 4", "LightGCN on ml-1m, adversarial edges, d64"]
    assert table_4["UnlearnRec, 2 epochs"]["online s"] == "2 (14.2)" and table_4["UnlearnRec, 1 epoch"]["times faster than Retrain"] == "1 (172)"
    assert table_4["UnlearnRec zero-shot"]["online s"] == "2 (0.312)" and table_4["IFRU"]["offline s"] == "3"
    assert everything.read_text(encoding="utf-8").count("Machine: some machine.") == 3, "one a dataset"
    table_5 = shown["Table 5", "LightGCN on ml-1m, adversarial edges, d64"]
    assert table_5["0.75% UnlearnRec"]["MI-NG"] == "1.50 (1.04)" and table_5["2.00% Retrain"]["MI-NG"] == "1.50"


def test_exponent_of_a_power_law():
    sizes = [1e4, 3e5, 2e6]
    assert figures.exponent(sizes, [5 * size**1.25 for size in sizes]) == pytest.approx(1.25)
    assert math.isnan(figures.exponent([100], [3.0])) and math.isnan(figures.exponent([100, 100], [3.0, 4.0]))


def test_costs_come_by_size_of_what_was_run(everything):
    costs = figures.costs_by_size(everything.parent, [Cell(dataset, "LightGCN", "") for dataset in ("gowalla", "absent", "ml-100k")])
    assert list(costs) == ["zero-shot", "fine-tuned"]
    assert costs["fine-tuned"] == [
        {"dataset": dataset, "interactions": SIZES[dataset], "online_seconds": 2.0, "peak_memory_mb": 512.0} for dataset in ("ml-100k", "gowalla")
    ]


def test_what_was_not_run_is_named(tmp_path):
    save(tmp_path, cell_of("GIF"), left_by(cell_of("GIF")))
    sections = render(tmp_path).read_text(encoding="utf-8").split("\n## ")
    (figure_2,) = [section for section in sections if section.startswith("Figure 2")]
    *_, picture, cells, others = figure_2.strip().split("\n\n")
    assert picture.startswith("![Figure 2") and cells.startswith("Not run: `d64/ml-1m/LightGCN/adversarial/Retrain-2021`; ") and cells.count("`") == 2 * 4
    assert others.startswith("Not run: SGL on ml-1m, adversarial edges, d64; ") and "LightGCN on ml-1m" not in others


def test_one_size_has_no_exponent(tmp_path):
    cell = cell_of("UnlearnRec")
    save(tmp_path, cell, left_by(cell))
    assert not figures.figure_scaling(tmp_path, [cell], str(tmp_path / "picture.png")) and not (tmp_path / "picture.png").exists()


def test_curves_of_figure_5(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: (drawn.append(self), open(path, "w").close()))
    base = base_of("figure 5")
    for cell in all_cells(experiments.figure_5(base)):
        pretrained, finetuned = (dict(cell.changes).get(key, experiments.SHIPPED[key]) for key in ("ie_epochs", "unlearn_finetune_epochs"))
        stages = [row("UnlearnRec", "zero-shot", **{"MI-BF": pretrained}), row("UnlearnRec", "fine-tuned", **{"MI-BF": 100 + finetuned})]
        save(tmp_path, cell, left_by(cell, *([row("Retrain")] if cell.method == "Retrain" else stages)))
    assert figures.figure_5(tmp_path, [base], str(tmp_path / "figure.png"))
    panels = drawn[0].axes
    curves = [{line.get_label(): line.get_xydata().tolist() for line in panel.get_lines()} for panel in panels if panel.get_ylabel() == "MI-BF"]
    finetuning = [[0, 10], *([epochs, 100 + epochs] for epochs in experiments.FINETUNING_EPOCHS)]
    assert curves[0].pop(PAPERS_ENCODER) == [[epochs, epochs] for epochs in experiments.PRETRAINING_EPOCHS]
    assert curves[1].pop(PAPERS_ENCODER) == curves[1].pop("UnlearnRec") == finetuning
    assert [list(others) for others in curves] == [["Retrain"]] * 2
