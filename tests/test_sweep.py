"""Sweeps with a real Ray: on a cluster with a failing trial and one stopped early, and here, killed and resumed."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import joblib
import pytest
import yaml
from conftest import keywords, running_cluster
from test_audit import AUDITED, RATES

from recbole_unlearn.errors import UsageError
from recbole_unlearn.quick_start import run_sweep, run_unlearn
from recbole_unlearn.sweep.space import read_space
from recbole_unlearn.sweep.trials import Goal, record
from recbole_unlearn.testing import tiny_settings

METRICS = ("recall@5", "ndcg@5", "MI-BF", "MI-NG", "AUC_FN", "AUC_FT")
RUN = Path(__file__).parents[1] / "run_unlearn.py"
# The second rate ruins the ranking, the third the encoder; `ie_rho` is fixed.
SPACE = "ie_learning_rate choice [1e-9,0.5,1e30]\nie_sample_size choice [64]\nie_rho choice [0.5]\n"
CHANGES = {"ie_target": "negative", "ie_epochs": 8, "ie_stopping_step": 8, "ie_score_weight": 0, "ie_rho": 0.2}
# One after the other: the second trial is worse than the first, and fewer workers import for seconds each.
OPTIONS = {
    "search": "grid",
    "tune_metric": "utility",
    "tune_mode": "max",
    "simulated": ["random", "user"],
    "resources_per_trial": {"cpu": 1.5},  # no GPU: ray starts a new process for each task that has one
}


@pytest.fixture(scope="module")
def cluster():
    """The address of a running cluster with a GPU that is none."""
    with running_cluster("--num-gpus=1") as address:
        yield address


@pytest.fixture(scope="module")
def finished(cluster, data_path, tmp_path_factory):
    """A sweep on a cluster: what it returned, its folder, and the call that repeats it."""
    place = tmp_path_factory.mktemp("sweep")
    space = place / "hyper.test"
    space.write_text(SPACE)
    settings = {**tiny_settings(data_path, str(place / "saved")), **CHANGES}
    arguments = {"params_file": space, "ray_address": cluster, **OPTIONS}
    sweep = run_sweep("LightGCN", "tiny", None, settings, **arguments)
    (folder,) = place.glob("saved/sweep/*")

    def again():
        run_sweep("LightGCN", "tiny", None, settings, **arguments)

    return SimpleNamespace(sweep=sweep, folder=folder, again=again)


def test_a_task_knows_the_gpu_that_it_has_a_share_of(cluster):
    from recbole_unlearn.cluster import Cluster, gpus_given, result

    with Cluster(cluster, {"cpu": 1, "gpu": 0.5}) as joined:
        assert result(joined.submit(gpus_given)) == {"gpu_id": "0"}


def test_a_failed_trial_says_why_and_the_others_go_on(finished):
    best, stopped, failed = finished.sweep["trials"]
    assert [trial["status"] for trial in (best, stopped, failed)] == ["done", "stopped", "failed"]
    assert [trial["point"]["ie_learning_rate"] for trial in (best, stopped, failed)] == [1e-9, 0.5, 1e30]
    assert all(set(trial["point"]) == {"ie_learning_rate", "ie_sample_size"} for trial in finished.sweep["trials"])
    assert "became nan" in failed["error"] and failed["result"] == {}
    assert stopped["result"]["epoch"] in (2, 4) and stopped["by"] == "asha by utility"
    assert "epoch" not in best["result"], "a fine-tuned result"
    assert [len(trial["result"]["requests"]) for trial in (best, finished.sweep["as given"])] == [2, 2]


def test_the_best_is_compared_on_other_requests(finished):
    (check,) = finished.sweep["held back"]
    assert check["best"]["point"] == finished.sweep["trials"][0]["point"] and check["as given"]["point"] == {}
    assert {check["best"]["status"], check["as given"]["status"]} == {"done"}
    assert check["best"]["result"]["ndcg@5"] != finished.sweep["trials"][0]["result"]["ndcg@5"]
    parts = [path.name.split("-")[0] for path in finished.folder.parents[1].glob("*.pth")]
    assert (parts.count("original"), parts.count("retrain")) == (1, 4), "each request has its own Retrain"


def test_an_ordinary_run_repeats_the_best_trial(finished):
    files = [str(finished.folder / name) for name in ("best.yaml", "simulated-1.yaml")]
    report = run_unlearn(config_file_list=files, config_dict={"report_file": str(finished.folder / "again.json")})
    (row,) = [row for row in report["results"] if row["stage"] == "fine-tuned"]
    first = finished.sweep["trials"][0]["result"]["requests"][0]
    assert {name: row[name] for name in METRICS} == pytest.approx({name: first[name] for name in METRICS}, rel=1e-4)
    assert yaml.safe_load((finished.folder / "best.yaml").read_text())["ie_rho"] == 0.2
    assert json.loads((finished.folder / "sweep.json").read_text())["trials"] == finished.sweep["trials"]


def test_refuses_a_second_sweep_without_resume(finished):
    with pytest.raises(UsageError, match="has 3 trials in .*: add --resume"):
        finished.again()


def files_of(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "trials").glob("[!.]*.json")}


def test_killed_and_resumed(here, space_file, caplog, capsys):
    pytest.importorskip("optuna")
    space = space_file("ie_unlearning_weight loguniform -2,0\nie_sample_size quniform 64,256,64\n")
    settings = {**here, "ie_target": "negative", "ie_epochs": 4}
    command = ["--model=LightGCN", "--dataset=tiny", f"--params_file={space}"]
    command += [f"--{key}={value}" for key, value in settings.items()]
    command += ["--search=optuna", "--num_samples=4", "--held_back=0", "--scheduler=none"]
    command += [f"--resources_per_trial=cpu:{joblib.cpu_count()}"]  # one trial at a time: fewer workers import
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, str(RUN), *command], **quiet)
    deadline = time.monotonic() + 600  # workers import; on a busy machine, for minutes
    try:
        while not list(Path("saved").glob("sweep/*/trials/[!.]*.json")):
            assert process.poll() is None and time.monotonic() < deadline, "no trial ended"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    (folder,) = Path("saved/sweep").iterdir()
    before = files_of(folder)
    assert 1 <= len(before) < 4, "killed in the middle"

    caplog.set_level("INFO")
    trials = run_sweep(**keywords([*command, "--resume"]))["trials"]
    after = files_of(folder)
    assert {name: after[name] for name in before} == before, "nothing that was done is done again"
    assert len(after) == len(trials) == 4
    assert f"{4 - len(before)} trials to make, {len(before)} made before" in caplog.text
    assert f"Trial 1/{4 - len(before)} (ie_unlearning_weight" in caplog.text and "TERMINATED" in capsys.readouterr().out
    assert all(0.13 < trial["point"]["ie_unlearning_weight"] <= 1 for trial in trials)
    assert all(trial["point"]["ie_sample_size"] in (64, 128, 192, 256) for trial in trials)


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


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"params_file": "absent.test"}, "No such file"),
        ({"ray_address": "127.0.0.1:1"}, "No Ray cluster at '127.0.0.1:1'"),
        ({"resources_per_trial": {"cpu": 10_000}}, "A task takes cpu:10000, but a machine has at most cpu:2: change"),
        ({"resources_per_trial": {"gpu": 2}}, "A task takes gpu:2, but a machine has at most gpu:1: change"),
        ({"tune_metric": "mi-bf"}, "Did you mean 'MI-BF'"),
        ({"simulated": ["randon"]}, "Did you mean 'random'"),
        ({"search": "Grid"}, "Did you mean 'grid'"),
        ({"scheduler": "hyperband"}, "Available: asha, none"),
    ],
)
def test_refuses_in_one_line_before_training(here, space_file, cluster, arguments, message):
    space = space_file("ie_rho choice [0.1]\n")
    with pytest.raises(UsageError, match=message) as error:
        run_sweep("LightGCN", "tiny", None, here, **{"params_file": space, "ray_address": cluster, **arguments})
    assert "\n" not in str(error.value)
    assert not list(Path("saved").glob("**/*.pth")), "before anything trains"


@pytest.mark.parametrize(
    "text, said",
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
def test_a_failure_in_one_line(text, said):
    from recbole_unlearn.cluster import reason

    assert reason(text) == said


def test_an_audit_on_a_cluster_equals_one_here(cluster, data_path, tmp_path):
    audited = [
        run_unlearn(
            "LightGCN",
            "tiny",
            config_dict={**tiny_settings(data_path, str(tmp_path / place)), **AUDITED, "ray_address": address},
            saved=False,
        )
        for place, address in (("there", cluster), ("here", None))
    ]
    there, here = ([[row[rate] for rate in RATES] for row in result["results"]] for result in audited)
    assert there == here and len(here) == 4  # original, Retrain, Retrain again, DropEdges


def test_package_does_not_import_ray():
    code = "import sys, recbole_unlearn, recbole_unlearn.quick_start, recbole_unlearn.command_line; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
