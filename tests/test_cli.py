"""The command line, end to end on ml-100k as a user types it, and its error messages."""

import importlib
import json
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
from conftest import keywords, write_atomic
from served import as_typed

from recbole_unlearn import command_line
from recbole_unlearn.config import Config
from recbole_unlearn.errors import UsageError
from recbole_unlearn.task import prepare_data

SCRIPT = Path(__file__).parent.parent / "run_unlearn.py"
QUICK = (
    "--epochs=2",
    "--eval_step=1",
    "--ie_epochs=1",
    "--forget_attack_epochs=2",
    "--show_progress=False",
    "--gpu_id=",
    "--embedding_size=16",
    "--n_layers=2",
)
COMMAND = ("--model=LightGCN", "--dataset=ml-100k", "--seed=5", *QUICK)
COSTS = ("offline_seconds", "online_seconds", "peak_memory_mb")


def run(folder, *arguments):
    """As a user types it; the output on both streams."""
    process = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    return process.stdout + process.stderr


def fork(folder, *arguments):
    """The same in a fork of this process, which has imported everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code, out, err = as_typed(*arguments)
    assert code == 0, err
    return out + err


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """The same command in two folders: the folder and the output of each."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    return [(folder, command(folder, *COMMAND)) for folder, command in zip(folders, (run, fork))]


@pytest.fixture(scope="module")
def reports(two_runs):
    """The reports of both, as they were before other tests repeat a command in a folder."""
    return [report_in(folder) for folder, _ in two_runs]


def report_in(folder):
    return json.loads((folder / "saved" / "LightGCN-ml-100k-adversarial-5.json").read_text())


def test_a_run_succeeds_prints_its_table_and_leaves_its_files(two_runs):
    folder, output = two_runs[0]
    assert "Traceback" not in output
    assert all(words in output for words in ("recall@20", "MI-BF", "UnlearnRec"))
    names = {path.name for path in (folder / "saved").iterdir()}
    assert {"LightGCN-ml-100k-adversarial-5.json", "LightGCN-ml-100k-adversarial-5.png"} <= names
    assert sorted(path.name for path in folder.iterdir()) == ["log", "log_tensorboard", "saved"]


def test_the_report_has_every_method_and_metric(reports):
    report = reports[0]
    labels = [(row["method"], row["stage"]) for row in report["results"]]
    assert labels[0] == ("original", "")
    assert {"Retrain", "UnlearnRec", "DropEdges"} <= {method for method, _ in labels}
    expected = {"method", "stage", "recall@20", "ndcg@20", "MI-BF", "MI-NG", "AUC_FN", "AUC_FT", *COSTS}
    assert all(set(row) >= expected for row in report["results"])
    assert report["seed"] == 5 and report["config"]["epochs"] == 2 and report["forget"]["n_interactions"] > 700


def test_same_seed_same_metrics(reports):
    first, second = (
        [{key: value for key, value in row.items() if key not in COSTS} for row in report["results"]]
        for report in reports
    )
    assert first == second


def test_repeating_a_command_computes_nothing_again(two_runs, reports):
    folder, _ = two_runs[0]
    assert "Rows of an earlier run: original, Retrain, Retrain again, UnlearnRec zero-shot" in fork(folder, *COMMAND)
    assert report_in(folder)["results"] == reports[0]["results"]


def test_wrong_usage_is_one_line_and_exit_code_2():
    code, out, err = as_typed("--model=LightGNC", "--dataset=ml-100k")
    assert (code, out, err.strip().count("\n")) == (2, "", 0), err
    assert err.startswith("run_unlearn: Unknown model 'LightGNC'. Did you mean 'LightGCN'?")


def test_several_seeds_as_a_user_types_it(two_runs, reports):
    folder, _ = two_runs[1]  # where the original of seed 5 is trained
    arguments = ("--model=LightGCN", "--dataset=ml-100k", "--seeds=5,6", "--unlearn_methods=DropEdges", *QUICK)
    assert "seeds 5, 6: means" in fork(folder, *arguments)
    saved = folder / "saved"
    summary = json.loads((saved / "LightGCN-ml-100k-adversarial-seeds-5-6.json").read_text())
    single = [json.loads((saved / f"LightGCN-ml-100k-adversarial-{seed}.json").read_text()) for seed in (5, 6)]
    rows = [row for report in single for row in report["results"] if row["method"] == "DropEdges"]
    assert summary["results"][1]["MI-BF"]["mean"] == pytest.approx(sum(row["MI-BF"] for row in rows) / 2)


def fail(capsys, *arguments, code=2):
    """The last line on standard error of a command that ends with an exit code."""
    with pytest.raises(SystemExit) as stop:
        command_line.main(list(arguments))
    assert stop.value.code == code
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("dataset, reason", [("ml-1m", "no network"), ("my-own", "my-own")])
def test_missing_dataset_says_where_to_put_which_file(tmp_path, monkeypatch, capsys, dataset, reason):
    def no_network(*_, **__):
        raise URLError("no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    for _ in range(2):
        message = fail(capsys, "--model=BPR", f"--dataset={dataset}", "--gpu_id=")
        assert message.startswith(f"run_unlearn: Dataset '{dataset}'")
        assert "could not be downloaded" in message and reason in message
        assert f"dataset/{dataset}/{dataset}.inter" in message and "user_id:token<TAB>item_id:token" in message
        assert "--data_path=FOLDER" in message
        assert not (tmp_path / "dataset" / dataset).exists()


@pytest.mark.parametrize("error, code", [(URLError("connection lost"), 2), (KeyboardInterrupt(), 130)])
def test_download_that_breaks_off_leaves_no_folder_behind(tmp_path, monkeypatch, capsys, error, code):
    def half(url, folder):
        (Path(folder) / "half.zip").write_bytes(b"half")
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recbole.data.dataset.dataset.decide_download", lambda url: True)
    monkeypatch.setattr("recbole.data.dataset.dataset.download_url", half)
    fail(capsys, "--model=BPR", "--dataset=ml-1m", "--gpu_id=", code=code)
    assert not (tmp_path / "dataset" / "ml-1m").exists()


def test_a_file_in_the_place_of_recboles_folder(settings, capsys):
    Path("log").touch()
    message = fail(
        capsys, "--model=LightGCN", "--dataset=tiny", *(f"--{key}={value}" for key, value in settings.items())
    )
    assert "a folder './log', but a file of that name exists" in message


def test_a_folder_that_cannot_be_made(settings, capsys, tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "saved"
    values = {**settings, "checkpoint_dir": folder}
    message = fail(capsys, "--model=LightGCN", "--dataset=tiny", *(f"--{key}={value}" for key, value in values.items()))
    assert f"Folder '{folder}' cannot be made: Not a directory" in message


def test_dataset_folder_without_its_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dataset" / "mine").mkdir(parents=True)
    message = fail(capsys, "--model=BPR", "--dataset=mine", "--gpu_id=")
    assert "Dataset 'mine' has no file mine.inter" in message and "dataset/mine/mine.inter" in message


NOTHING = {"model": None, "dataset": None, "config_file_list": None, "config_dict": {}}
PARSED = {  # arguments: what differs from nothing
    "": {},
    "-m BPR --dataset=ml-100k --epochs=3 --eval_args={'a':'b=c'}": {
        "model": "BPR",
        "dataset": "ml-100k",
        "config_dict": {"epochs": "3", "eval_args": "{'a':'b=c'}"},
    },
    "--epochs=3 --epochs 3 --model=A -m A": {"model": "A", "config_dict": {"epochs": "3"}},
    "run --learning_rate 1e-3 --offset -1": {"config_dict": {"learning_rate": "1e-3", "offset": "-1"}},
    "sweep --num_samples 8": {"params_file": "hyper.test", "num_samples": 8},
    "--seeds=3,1": {"seeds": [3, 1]},
    "--audit=16 --ray_address=auto": {"config_dict": {"unlearn_audit_models": "16", "ray_address": "auto"}},
    "--params_file=hyper.test --num_samples=8 --held_back=0 --resume --resources_per_trial=cpu:2,gpu:0.5": {
        "params_file": "hyper.test",
        "num_samples": 8,
        "held_back": 0,
        "resume": True,
        "resources_per_trial": {"cpu": 2.0, "gpu": 0.5},
    },
}


@pytest.mark.parametrize("typed", PARSED)
def test_arguments(typed):
    assert keywords(typed.split()) == {**NOTHING, **PARSED[typed]}
    assert keywords(["--config_files=a.yaml b.yaml"])["config_file_list"] == ["a.yaml", "b.yaml"]


@pytest.mark.parametrize(
    "settings_given, message",
    [
        ("--world_size=2", "Setting 'world_size' must be 1, not 2: use --nproc"),
        ("--nproc=2 --unlearn_workers=2", "Settings 'nproc' and 'unlearn_workers' cannot both be above 1"),
        ("--nproc=0", "nproc"),
    ],
)
def test_distributed_settings(settings_given, message, settings, capsys):
    where = f"--data_path={settings['data_path']}"
    assert message in fail(capsys, "--model=LightGCN", "--dataset=tiny", where, *settings_given.split())
    Config("LightGCN", "tiny", config_dict={**settings, "nproc": 1, "world_size": 1})


@pytest.mark.parametrize(
    "wrong, message",
    [
        *(
            (["--model=BPR", word], f"'{word}' is not of the form --key=value")
            for word in ("epochs=3", "-e=3", "--epochs", "x")
        ),
        *(([f"--seeds={wrong}"], "seeds") for wrong in ("1,1", "a", "-1", "1,,2", "")),
        (["--epochs=3", "--epochs=4"], "'--epochs' is given twice, as '3' and '4'"),
        *(
            (twice.split(), "is given twice, with different values")
            for twice in ("--model=A -m B", "--seeds=1,2 --seeds=3", "--checkpoint=A --checkpoint=B")
        ),
        (["--seeds=1,2", "--params_file=hyper.test"], "--seeds is an option of `run-unlearn run`, not of `sweep`"),
        (["--num_samples=8"], "--num_samples is an option of `run-unlearn sweep`, not of `run`"),
        (["--resume=1"], "--resume is an option of `run-unlearn sweep`"),
        (["sweeps", "--model=BPR"], "Unknown command 'sweeps'. Did you mean 'sweep'?"),
        (["delete", "--forget_file=r.csv"], "arguments are required: --checkpoint"),
        (["--params_file=a", "--num_samples=0"], "'0' is not a whole number >= 1"),
        (["--params_file=a", "--search=bayes"], "invalid choice: 'bayes'"),
        (["--params_file=a", "--search=grid", "--num_samples=3"], "--search=grid tries every combination"),
        (["--params_file=a", "--resources_per_trial=2"], "'2' is not of the form cpu:2,gpu:0.5"),
        (["--params_file=a", "--resources_per_trial=cpu:0"], "is not of the form"),
        (["--learning_rat=0.1"], "Unknown setting '--learning_rat'. Did you mean '--learning_rate'?"),
        (["--forget_ration=0.1"], "Did you mean '--forget_ratio'?"),
        (["--forget-ratio=0.2"], "Unknown setting '--forget-ratio': names have underscores, use --forget_ratio."),
        (["--num-samples=3"], "use --num_samples"),
        (["--param_file=hyper.test"], "Did you mean '--params_file'?"),
        (["--config_file=a.yaml"], "Did you mean '--config_files'?"),
        (["--chekpoint=a.pth"], "Did you mean '--checkpoint'?"),
        (["--dry-run"], "Did you mean '--dry_run'?"),
        *(([f"--{typed}=r.csv"], "--forget_file") for typed in ("forgetfile", "forget_fil", "file", "requests")),
        (["--verfy"], "Did you mean '--verify'?"),
        (["--model="], "--model is empty"),
        (["--checkpoint=", "--forget_file=q.csv"], "--checkpoint is empty"),
        (["--params_file="], "--params_file is empty"),
        (["--seeds=1,2", "--seed=3"], "--seeds takes the place of --seed"),
        (["--also=saved"], "option of `run-unlearn verify`"),
        (["--wait_seconds=0"], "option of `run-unlearn delete`"),
        (["--checkpoint=a.pth", "--also=saved"], "option of `run-unlearn verify`, not of `delete`"),
        (["--checkpoint=a.pth", "--seeds=1,2"], "option of `run-unlearn run`, not of `delete`"),
        (["--checkpoint=a.pth", "--prepare", "--exact"], "not allowed with argument --prepare"),
        (["--checkpoint=a.pth", "--verify", "--also="], "--also is empty"),
        (["--checkpoint=a.pth", "--verify", "--also='a"], "has a quote that is not closed"),
        (["--checkpoint=a.pth", "--verify", "--epochs=3"], "verify takes no settings: leave out --epochs"),
        (["list", "models", "--epochs=3"], "list takes no settings: leave out --epochs"),
    ],
)
def test_nothing_given_vanishes(wrong, message):
    with pytest.raises(UsageError) as error:
        keywords(wrong)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_users_token_is_what_was_typed(settings, tmp_path):
    """Not user 123, whom a reader of numbers makes of it."""
    rows = [
        (user, f"i{first + item}") for first, user in enumerate(("12_3", "123", "1.10", "1.1")) for item in range(10)
    ]
    write_atomic(tmp_path / "7_1" / "7_1.inter", rows)
    settings = {**settings, "data_path": ".", "forget_type": "user", "forget_users": "12_3,1.10"}
    parsed = keywords(["--model=BPR", "--dataset=7_1", *(f"--{key}={value}" for key, value in settings.items())])
    data = prepare_data(Config(**parsed))
    gone = {str(data.train.field2id_token["user_id"][user]) for user in data.request.users}
    assert gone == {"12_3", "1.10"}


@pytest.mark.parametrize("more, hint", [([], ""), (["--params_file=hyper.test"], " with --resume")])
def test_interruption_says_that_it_can_go_on(monkeypatch, capsys, more, hint):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("recbole_unlearn.commands.run.run_unlearn", interrupted)
    monkeypatch.setattr("recbole_unlearn.commands.sweep.run_sweep", interrupted)
    assert f"the same command{hint} continues" in fail(capsys, "--model=BPR", *more, code=130)


def test_the_help_names_every_command_and_each_has_its_own(capsys):
    command_line.main(["--help"])
    overview = capsys.readouterr().out
    for name in command_line.COMMANDS:
        assert f"\n  {name} " in overview
        with pytest.raises(SystemExit) as stop:
            command_line.main([name, "--help"])
        text = capsys.readouterr().out
        assert stop.value.code == 0 and "examples:" in text and f"run-unlearn {name} " in text


def test_every_example_of_the_help_is_understood():
    for name in command_line.COMMANDS:
        examples = importlib.import_module(f"recbole_unlearn.commands.{name}").EXAMPLES
        for line in filter(None, map(str.strip, examples.splitlines())):
            program, *arguments = shlex.split(line)
            assert program == "run-unlearn" and command_line.parse(arguments)[0] == name


LISTED = {
    "models": ("SimGCL", "SIGIR 2022"),
    "methods": ("DropEdges", "the result that any method must beat"),
    "metrics": ("MI-BF", "NDCG"),
    "datasets": ("ml-100k  comes with RecBole",),
    "settings": ("ie_passes", "a whole number >= 1; default 3"),
}


@pytest.mark.parametrize("what", LISTED)
def test_lists(what, capsys):
    command_line.main(["list", what])
    listed = " ".join(capsys.readouterr().out.split())
    assert all(" ".join(words.split()) in listed for words in LISTED[what])


def test_a_list_of_names_that_begin_so(capsys):
    command_line.main(["list", "models", "sg"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[0] != " "] == ["SGL"]
    assert fail(capsys, "list", "models", "zz") == "run_unlearn: None of the models begins with 'zz'."


def test_a_quiet_run_prints_its_tables_alone(settings, capfd):
    given = [f"--{key}={value}" for key, value in settings.items() if key != "show_progress"]
    command_line.main(["run", "--model=BPR", "--dataset=tiny", "--unlearn_methods=DropEdges", "--quiet", *given])
    out, err = capfd.readouterr()
    assert out.startswith("BPR on tiny, seed 7") and "DropEdges" in out
    assert "Train" not in out + err


def test_version_and_module():
    found = subprocess.run(
        [sys.executable, "-m", "recbole_unlearn", "--version"], capture_output=True, text=True, timeout=100
    )
    assert found.stdout.startswith("recbole-unlearn ") and "RecBole 1.2" in found.stdout
