"""Sweeps with a real Ray: from end to end, killed and resumed, with a failing trial, on a cluster."""

import json
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pytest
import yaml

from recbole_unlearn.errors import UsageError
from recbole_unlearn.quick_start import run_sweep, run_unlearn
from recbole_unlearn.sweep.space import read_space
from recbole_unlearn.sweep.trials import Goal, record

METRICS = ("recall@5", "ndcg@5", "MI-BF", "MI-NG", "AUC_FN", "AUC_FT")
RUN = Path(__file__).parents[1] / "run_unlearn.py"
ALONE = {"cpu": joblib.cpu_count() / 2 + 0.5}  # one after the other: fewer workers, which import for seconds each


@pytest.fixture
def here(here):
    """With the encoder that pre-trains."""
    return {**here, "ie_target": "negative"}


def only_folder():
    (folder,) = Path("saved/sweep").iterdir()
    return folder


def files_of(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "trials").glob("[!.]*.json")}


def test_from_end_to_end_with_a_failing_trial(here, space_file):
    space = space_file(
        "ie_learning_rate choice [0.05,1e30,0.04]\nie_unlearning_weight choice [1]\nie_rho choice [0.5]\n"
    )
    arguments = {"search": "grid", "scheduler": "none", "held_back": 1, "resources_per_trial": ALONE}
    sweep = run_sweep("LightGCN", "tiny", None, {**here, "ie_rho": 0.2}, space, **arguments)

    trials = sweep["trials"]
    assert [trial["status"] for trial in trials] == ["done", "done", "failed"], "and the sweep goes on"
    assert all(set(trial["point"]) == {"ie_learning_rate", "ie_unlearning_weight"} for trial in trials), (
        "ie_rho is fixed"
    )
    assert all(trial["point"]["ie_learning_rate"] == 1e30 and "became" in trial["error"] for trial in trials[2:])
    assert trials[0]["result"]["objective"] <= trials[1]["result"]["objective"]
    assert sweep["as given"]["status"] == "done"
    assert [set(check) for check in sweep["held back"]] == [{"best", "as given"}]

    folder = only_folder()
    parts = [path.name.split("-")[0] for path in Path("saved").glob("*.pth")]
    assert (parts.count("original"), parts.count("retrain")) == (1, 2), (
        "trained once; the held-back request has its own Retrain"
    )
    report = run_unlearn(config_file_list=[str(folder / "best.yaml"), str(folder / "simulated-1.yaml")])
    (row,) = [row for row in report["results"] if row["stage"] == "fine-tuned"]
    assert {name: row[name] for name in METRICS} == pytest.approx(
        {name: trials[0]["result"][name] for name in METRICS}, rel=1e-4
    )
    assert yaml.safe_load((folder / "best.yaml").read_text())["ie_rho"] == 0.2

    with pytest.raises(UsageError, match="has 3 trials in .*: add --resume"):
        run_sweep("LightGCN", "tiny", None, {**here, "ie_rho": 0.2}, space, **arguments)


def test_killed_and_resumed(here, space_file):
    space = space_file("ie_unlearning_weight choice [1,0.5,0.1,0.05]\n")
    settings = {**here, "ie_epochs": 30, "ie_stopping_step": 30}
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    command = [sys.executable, str(RUN), "--model=LightGCN", "--dataset=tiny", f"--params_file={space}", *arguments]
    command += ["--num_samples=4", "--held_back=0", "--scheduler=none"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(Path("saved").glob("sweep/*/trials/[!.]*.json")):
        assert process.poll() is None and time.monotonic() < deadline, "no trial ended"
        time.sleep(0.01)
    process.kill()
    process.wait()
    folder = only_folder()
    before = files_of(folder)
    assert 1 <= len(before) < 4, "killed in the middle"

    done = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = files_of(folder)
    assert len(after) == 4
    assert {name: after[name] for name in before} == before, "nothing that was done is done again"
    assert len(json.loads((folder / "sweep.json").read_text())["trials"]) == 4
    assert f"{4 - len(before)} trials to make, {len(before)} made before" in done.stderr


def test_worse_trials_are_stopped_early(here, space_file):
    space = space_file("ie_learning_rate choice [1e-9,1e-8,0.4,0.5]\n")  # the last two ruin the ranking
    settings = {**here, "ie_epochs": 8, "ie_stopping_step": 8, "ie_score_weight": 0}
    goal = {"tune_metric": "utility", "tune_mode": "max", "resources_per_trial": ALONE}
    sweep = run_sweep("LightGCN", "tiny", None, settings, space, search="grid", held_back=0, **goal)
    stopped = [trial for trial in sweep["trials"] if trial["status"] == "stopped"]
    assert stopped and all(trial["point"]["ie_learning_rate"] > 0.1 for trial in stopped)
    assert all(trial["result"]["epoch"] in (2, 4) for trial in stopped)
    best = sweep["trials"][0]
    assert best["status"] == "done" and "epoch" not in best["result"] and best["point"]["ie_learning_rate"] < 0.1


def test_on_a_running_cluster_with_optuna(here, space_file, ray_cluster):
    pytest.importorskip("optuna")
    space = space_file("ie_unlearning_weight loguniform -2,0\nie_sample_size quniform 64,256,64\n")
    options = {
        "search": "optuna",
        "scheduler": "none",
        "num_samples": 3,
        "held_back": 0,
        "simulated": ["random", "user"],
        "ray_address": ray_cluster,
    }
    sweep = run_sweep("LightGCN", "tiny", None, here, space, **options)
    assert [trial["status"] for trial in sweep["trials"]] == ["done"] * 3
    assert all(0.13 < trial["point"]["ie_unlearning_weight"] <= 1 for trial in sweep["trials"])
    assert all(trial["point"]["ie_sample_size"] in (64, 128, 192, 256) for trial in sweep["trials"])


def test_a_resumed_optuna_knows_what_was_tried(space_file):
    pytest.importorskip("optuna")
    from recbole_unlearn.sweep.tune import optuna_search

    space = read_space(space_file("ie_rho uniform 0,1\n"), "UnlearnRec")
    ended, goal = [], Goal("objective", "min")
    for number in range(15):
        point = optuna_search(space, goal, 0, ended).suggest(f"trial {number}")["point"]
        ended.append(record(point, "done", {"objective": abs(point["ie_rho"] - 0.7)}))
    tried = [trial["point"]["ie_rho"] for trial in ended]
    assert len(set(tried)) == 15, "no point is drawn again"
    assert min(abs(rho - 0.7) for rho in tried[10:]) < 0.1, "and the later ones learn from the earlier ones"


def test_refuses_in_one_line_before_training(here, space_file):
    space = space_file("ie_rho choice [0.1]\n")
    cases = [
        ({"params_file": space_file("ie_rho choice 1\n")}, "line 1"),
        ({"ray_address": "127.0.0.1:1"}, "No Ray cluster at '127.0.0.1:1'"),
        ({"resources_per_trial": {"cpu": 10_000}}, "A trial takes cpu:10000, but a machine has at most cpu:"),
        ({"tune_metric": "mi-bf"}, "Did you mean 'MI-BF'"),
        ({"simulated": ["randon"]}, "Did you mean 'random'"),
        ({"search": "Grid"}, "Did you mean 'grid'"),
        ({"scheduler": "hyperband"}, "Available: asha, none"),
    ]
    for arguments, message in cases:
        space_file("ie_rho choice 1\n" if message == "line 1" else "ie_rho choice [0.1]\n")
        with pytest.raises(UsageError, match=message) as error:
            run_sweep("LightGCN", "tiny", None, here, **{"params_file": space, **arguments})
        assert "\n" not in str(error.value)
    assert not list(Path("saved").glob("**/*.pth")), "before anything trains"
    with pytest.raises(UsageError, match="nothing left to search"):
        run_sweep("LightGCN", "tiny", None, {**here, "ie_rho": 0.3}, space)


@pytest.mark.parametrize(
    "text, told",
    [
        (
            "Failure # 1 (occurred at noon)\nTraceback (most recent call last):\n  File 'a'\nValueError: nope\n",
            "ValueError: nope",
        ),
        ("ray::trial()\n  File 'a'\nrecbole_unlearn.errors.Diverged: The loss became nan.\n", "The loss became nan."),
        (
            "Traceback\nRuntimeError: CUDA error: assert\nCompile with `TORCH_USE_CUDA_DSA` to see.\n",
            "RuntimeError: CUDA error: assert",
        ),
        (
            "Failure # 1 (x)\nThe actor died unexpectedly before finishing this task.\n\tpid: 3\n",
            "The actor died unexpectedly before finishing this task.",
        ),
        ("", "no reason is known"),
    ],
)
def test_a_failure_in_one_line(text, told):
    from recbole_unlearn.sweep.progress import reason

    assert reason(text) == told


def test_package_does_not_import_ray():
    code = "import sys, recbole_unlearn, recbole_unlearn.quick_start, recbole_unlearn.command_line; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
