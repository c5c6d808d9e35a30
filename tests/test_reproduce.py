"""The command that runs the cells of the paper's tables and figures, and keeps what is left of each."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import reproduce
import yaml
from conftest import keywords, write_atomic
from reproduced import keep, report_of, tables_of, usual_cells
from reproduction import experiments
from reproduction.cells import ROOT, Cell, load
from reproduction.experiments import PAPERS_ENCODER
from test_report import PNG

from recbole_unlearn import command_line
from recbole_unlearn.config import Config
from recbole_unlearn.report.files import save_json
from recbole_unlearn.report.tables import in_floors, label

TABLE_2 = ("--table=2", "--dataset=tiny", "--model=LightGCN", "--request=random")


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
    given = keywords(command[2:])
    config = Config(
        given["model"], given["dataset"], [cwd / file for file in given["config_file_list"]], given["config_dict"]
    )
    (method,) = config["unlearn_methods"]
    cell = Cell(config["dataset"], config["model"], method, config["forget_type"], config["seed"])
    if config["ie_target"] == "negative":
        cell = replace(cell, changes=(("ie_target", "negative"),))
    save_json(config["report_file"], {**report_of(cell), "config": config.as_dict(), "gaps": []})
    return SimpleNamespace(returncode=0)


@pytest.fixture
def commands(monkeypatch):
    """Run cells by another function than ``subprocess.run``: ``commands(pretended)`` returns the list of what it gets."""

    def listen(run):
        told = []
        monkeypatch.setattr(
            "reproduction.processes.subprocess.run", lambda command, cwd: (told.append(command), run(command, cwd))[1]
        )
        return told

    return listen


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
        method, _, change = name.removesuffix("-2021").partition("-")
        expected = ["python", "run_unlearn.py", "--model=LightGCN", "--dataset=tiny", "--seed=2021"]
        expected += [f"--config_files={relative}", "--forget_type=random", f"--unlearn_methods={method}"]
        assert shlex.split(result["command"]) == expected + ([f"--{change}"] if change else [])
        text = text.replace(relative, "")
        for of_machine in (str(tmp_path), data_path, str(ROOT), sys.prefix, '"/'):
            assert of_machine not in text, "nothing of this machine"
        assert "config" not in result and result["forget"]["n_interactions"] == 3 and result["settings"]["epochs"] == 4

        sizes = {"forget": 3, "negative": 200, "test": result["interactions"]["test"]}
        assert set(result["scores"]) == {label(each) for each in result["results"]}
        for sets in result["scores"].values():
            assert {pairs: sum(each["counts"]) for pairs, each in sets.items()} == sizes

    page = tmp_path / "results" / "README.md"
    shown = tables_of(page)["Table 2", "LightGCN on tiny, random interactions, settings"]
    rows = [row for name in names[:2] for row in json.loads((folder / f"{name}.json").read_text())["results"]]
    retrain, again, unlearned = (
        next(row for row in rows if label(row) == name) for name in ("Retrain", "Retrain again", "UnlearnRec zero-shot")
    )
    for line, numbers in (("Retrain", retrain), ("UnlearnRec zero-shot", unlearned)):
        assert shown[line]["Recall@20"] == f"{numbers['recall@20']:.4f}"
        assert shown[line]["MI-NG"] == f"{numbers['MI-NG']:.2f}"
    gap, floor = (abs(math.log(each["MI-BF"] / retrain["MI-BF"])) for each in (unlearned, again))
    assert shown["UnlearnRec zero-shot"]["gap MI-BF"] == f"{gap:.2f}{in_floors(gap / floor)}"
    assert shown["Retrain again"]["gap MI-BF"] == f"{floor:.2f} (1.0x)"
    assert [name for name in shown if "UnlearnRec" in name] == [
        f"{name} {stage}" for name in (PAPERS_ENCODER, "UnlearnRec") for stage in experiments.STAGES[name]
    ], "stages as shipped"
    assert "GIF" not in shown and "GIF; IFRU" in page.read_text(encoding="utf-8"), "named below"

    content = page.read_bytes()
    commands(lambda command, cwd: pytest.fail("a cell that is there is run again"))
    assert start(*TABLE_2, "--method=Retrain,UnlearnRec") == 0
    assert page.read_bytes() == content
    assert capsys.readouterr().err.count("failed") == 0


@pytest.mark.parametrize("given", [["--gpu_id=", "--eval_batch_size=99"], ["--gpu_id=1,2"], []], ids=str)
def test_settings_of_the_machine_reach_the_run_and_no_others(start, commands, given):
    told = commands(pretended)
    assert start(*TABLE_2, "--method=Retrain", *given) == 0
    (command,) = told
    assert [argument for argument in command if str(argument).startswith(("--gpu_id", "--eval_batch_size"))] == given


def test_a_deleted_cell_is_run_again_by_the_same_command(start, commands, tmp_path):
    first = commands(pretended)
    assert start(*TABLE_2) == 0
    page = (tmp_path / "results" / "README.md").read_bytes()
    shown = tables_of(tmp_path / "results" / "README.md")["Table 2", "LightGCN on tiny, random interactions, settings"]
    assert len(first) == 12 and len(shown) == 15 and "Rows not run" not in page.decode()
    (tmp_path / "results" / "settings/tiny/LightGCN/random/CEU-2021.json").unlink()

    def anew(command, cwd):
        (report_file,) = (
            argument.partition("=")[2] for argument in command[2:] if argument.startswith("--report_file=")
        )
        assert not os.path.exists(report_file), "whose rows would be taken over"
        return pretended(command, cwd)

    again = commands(anew)
    assert start(*TABLE_2) == 0
    assert again == [command for command in first if "--unlearn_methods=CEU" in command] and len(again) == 1
    assert (tmp_path / "results" / "README.md").read_bytes() == page


def test_a_failed_cell_is_told_and_the_others_go_on(start, commands, tmp_path, capsys):
    commands(
        lambda command, cwd: SimpleNamespace(returncode=2) if "--dataset=absent" in command else pretended(command, cwd)
    )
    assert start("--table=2", "--dataset=absent,tiny", "--model=LightGCN", "--request=random", "--method=Retrain") == 1
    assert capsys.readouterr().err == "reproduce: settings/absent/LightGCN/random/Retrain-2021 failed: exit code 2\n"
    assert [path.parts[-4] for path in (tmp_path / "results").rglob("*.json")] == ["tiny"], (
        "the other one, later, is there"
    )
    shown = tables_of(tmp_path / "results" / "README.md")
    assert ("Table 2", "LightGCN on tiny, random interactions, settings") in shown


def interrupted(command, cwd):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "interrupt",
    [interrupted, lambda command, cwd: SimpleNamespace(returncode=130)],
    ids=["of this process", "of the cell's"],
)
def test_an_interruption_keeps_what_is_done(start, commands, tmp_path, capsys, interrupt):
    told = commands(lambda command, cwd: (pretended if len(told) == 1 else interrupt)(command, cwd))
    assert start(*TABLE_2) == 130
    error = capsys.readouterr().err
    assert error.startswith("reproduce: interrupted") and error.count("\n") == 1
    assert len(told) == 2 and [path.name for path in (tmp_path / "results").rglob("*.json")] == ["Retrain-2021.json"]

    told = commands(pretended)
    assert start(*TABLE_2) == 0
    assert len(told) == 11, "the same command goes on with the next cell"


def test_the_case_study_runs_in_a_process_of_its_own(start, settings, tmp_path, data_path):
    rows = [(f"u{user}", f"i{(user * 7 + step) % 60}") for user in range(30) for step in range(30)]  # for ten to forget
    write_atomic(tmp_path / "broad" / "broad.inter", rows)
    assert start("--figure=6", "--dataset=broad", f"--data_path={tmp_path}") == 0
    setting = os.path.relpath("settings.yaml", ROOT)
    result = load("results", Cell("broad", "LightGCN", "UnlearnRec", "case-study", setting=setting))
    assert result["command"].startswith("python benchmarks/case_study.py --model=LightGCN --dataset=broad --seed=2021 ")
    assert result["forget"]["n_interactions"] == 15 * 1 + 15 * 10
    assert set(result["cases"]) == {"one interaction", "ten alike"}
    picture, page = "figures/figure-6-settings-broad-LightGCN.png", (tmp_path / "results" / "README.md").read_text()
    assert f"![Figure 6: case study, settings, broad, LightGCN]({picture})" in page
    assert (tmp_path / "results" / picture).read_bytes().startswith(PNG)


def test_on_a_running_cluster(places, ray_cluster):
    asked = ["--dataset=absent,tiny", "--model=LightGCN", "--request=random", "--method=Retrain,DropEdges"]
    command = [sys.executable, reproduce.__file__, *places, "--table=2", *asked, f"--ray_address={ray_cluster}"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 1, process.stderr
    errors = [line for line in process.stderr.splitlines() if line.startswith("reproduce: ")]
    names = [f"settings/absent/LightGCN/random/{method}-2021" for method in ("Retrain", "DropEdges")]
    assert errors == [f"reproduce: {name} failed: exit code 2" for name in names], (
        "the second is run though it waited for the first"
    )
    for method in ("Retrain", "DropEdges"):
        cell = Cell("tiny", "LightGCN", method, "random", setting=os.path.relpath("settings.yaml", ROOT))
        done = load("results", cell)
        assert done["forget"]["n_interactions"] == 3 and done["results"][-1]["recall@20"] > 0
        assert method in done["scores"]
    lines = process.stdout.splitlines()
    ended = [line.partition("] ")[2] for line in lines if re.match(r"\[\d/4\] ", line)]
    of_tiny = [name.rpartition("/")[2] for name in ended if "/tiny/" in name]
    assert len(ended) == 4 and of_tiny == ["Retrain-2021", "DropEdges-2021"]
    assert "Page: results/README.md" in lines


SETTINGS = {  # files of one's own that would break or mislead
    **dict.fromkeys(("d64", "my own", "suits", "partly"), "epochs: 1"),
    "varied": "epochs: 1\nie_epochs: 2\nforget_ratio: 0.1",
    "suits-SGL": "ie_target: negative",
    **dict.fromkeys(("broken", "partly-SGL"), "epochs: [1"),
}


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
        (["--table=2", "--workers=0"], "--workers must be at least 1"),
        (["--table=2", "--workers=2", "--ray_address=auto"], "On Ray a cell is a task, .*: leave out --workers"),
        (["--table=2", "--eval_batch_size=many"], "Argument --eval_batch_size: invalid int value: 'many'"),
        ([], "Say what: --table=2, --figure=5, --all or --render; see --help"),
        (["--dataset=ml-1m"], "Say what: "),
        (["--render", "--list"], "Say what: "),
        (
            ["--all", "--table=9"],
            "--all is all tables, figures and requests: leave out --table, --figure and --request",
        ),
        (["--all", "--figure=5"], "--all is all tables, figures and requests"),
        (["--all", "--request=user"], "--all is all tables, figures and requests"),
        (["--tabel=2"], "Unrecognized arguments: --tabel=2"),
        (["--table=5", "--request=random"], "Only Table 2 has several requests: leave out --request"),
        (["--figure=6", "--method=GIF"], "No cell of these tables and figures is of this --method and --seed"),
        (["--table=3", "--seed=2022"], "No cell of these "),
        *((["--table=2", f"--setting={name}"], f"Setting '{name}") for name in ("d64.yaml", "my own.yaml")),
        (
            ["--table=2", "--setting=varied.yaml"],
            "Setting 'varied.yaml' sets forget_ratio, ie_epochs, which the tables",
        ),
        (["--table=2", "--setting=suits.yaml"], "Setting 'suits-SGL.yaml' sets ie_target, which the tables vary"),
        (["--table=2", "--setting=broken.yaml"], "Setting 'broken.yaml' is not valid yaml: "),
        (["--table=2", "--setting=partly.yaml"], "Setting 'partly-SGL.yaml' is not valid yaml: "),
        (["--table=2", "--ray_address=127.0.0.1:1"], "No Ray cluster at '127.0.0.1:1'"),
    ],
)
def test_wrong_usage_is_told_in_one_line(settings, commands, tmp_path, capsys, arguments, told):
    commands(lambda command, cwd: pytest.fail("a cell is run"))
    for name, content in SETTINGS.items():
        Path(f"{name}.yaml").write_text(content, encoding="utf-8")
    assert reproduce.main([*arguments, "--results=results"]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    assert re.match(f"reproduce: {told}", output.err)
    assert not (tmp_path / "results").exists()


def test_list_runs_nothing_and_tells_what_is_there(start, commands, tmp_path, capsys):
    commands(lambda command, cwd: pytest.fail("a cell is run"))
    cell = Cell("tiny", "LightGCN", "GIF", "random", setting=os.path.relpath("settings.yaml", ROOT))
    keep("results", cell)
    assert start(*TABLE_2, "--method=GIF,CEU", "--list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "missing settings/tiny/LightGCN/random/CEU-2021",
        "there   settings/tiny/LightGCN/random/GIF-2021",
    ]
    assert not (tmp_path / "results" / "README.md").exists()


def test_some_cells_can_be_asked_for(settings, capsys):
    asked = [
        "--table=2",
        "--dataset=tiny",
        "--model=SGL,SimGCL",
        "--request=adversarial",
        "--method=Retrain,GIF",
        "--seed=2022,2023",
    ]
    assert reproduce.main([*asked, "--list", "--results=results"]) == 0
    expected = [
        f"missing d64/tiny/{model}/adversarial/Retrain-{seed}" for seed in (2022, 2023) for model in ("SGL", "SimGCL")
    ]
    assert capsys.readouterr().out.splitlines() == expected, "GIF has one seed, another"


def test_all_is_all_cells_and_render_runs_none(settings, commands, capsys):
    commands(lambda command, cwd: pytest.fail("a cell is run"))
    assert reproduce.main(["--all", "--list", "--results=results"]) == 0
    listed = capsys.readouterr().out.splitlines()
    usual = sorted(usual_cells(), key=lambda cell: cell.seed)
    assert listed == [f"missing {cell}" for cell in usual] and len(listed) == len(set(listed)) > 300
    assert reproduce.main(["--render", "--results=results"]) == 0
    assert capsys.readouterr().out == "Page: results/README.md\n"


def test_what_a_killed_process_has_half_written_is_not_drawn(settings, capsys):
    cell = Cell("ml-1m", "LightGCN", "GIF")
    for each in (cell, replace(cell, method="Retrain")):
        keep("results", each)
    Path("results", cell.file).with_name(".123-CEU-2021.json").write_text('{"cell": {', encoding="utf-8")
    assert reproduce.main(["--render", "--results=results"]) == 0
    shown = tables_of(Path("results", "README.md"))["Table 2", "LightGCN on ml-1m, adversarial edges, d64"]
    assert shown["GIF"]["Recall@20"].startswith("0.2000") and "CEU" not in shown
