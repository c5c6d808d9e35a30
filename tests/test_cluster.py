"""Trainings on a Ray cluster of two machines, one of which is lost in the middle."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from recbole_unlearn import run_seeds, run_unlearn
from recbole_unlearn.errors import UsageError
from recbole_unlearn.parallel import side_by_side

MEASURED = ("recall@5", "ndcg@5", "MI-BF", "MI-NG")


@pytest.fixture(scope="module")
def cluster():
    """A cluster of a head without cores and two machines of a core."""
    from ray.cluster_utils import Cluster

    import recbole_unlearn.cluster  # noqa: F401  (sets ray's environment)

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def on(cluster, settings, tmp_path):
    """Settings of a run here, or on the cluster, each with a folder of its own."""

    def settings_of(name, **changes):
        address = cluster.address if name == "there" else None
        return {**settings, "checkpoint_dir": str(tmp_path / name), "ray_address": address, **changes}

    return settings_of


def measured(result):
    return [{name: row[name] for name in MEASURED} for row in result["results"]]


def same(results, others):
    return measured(results) == [pytest.approx(row, rel=1e-4) for row in measured(others)]


def test_shards_floor_and_audit_are_those_of_one_machine(on):
    wanted = {"unlearn_methods": "Retrain,SISA", "unlearn_floor_runs": 2, "unlearn_audit_models": 4}
    here, there = (run_unlearn("LightGCN", "tiny", config_dict=on(name, **wanted)) for name in ("here", "there"))
    assert same(there, here)
    again = [row for row in there["results"] if row["stage"].startswith("again")]
    assert len(again) == 2 and all(row["online_seconds"] > 0 and row["peak_memory_mb"] > 0 for row in again)


def test_seeds_are_those_of_one_machine(on):
    runs = []
    for name in ("here", "there"):
        wanted = on(name, unlearn_methods="DropEdges")
        del wanted["seed"]
        runs.append(run_seeds([1, 2], "LightGCN", "tiny", config_dict=wanted, saved=False))
    for row, other in zip(*(run["results"] for run in runs), strict=True):
        for name in MEASURED:
            assert row[name]["values"] == pytest.approx(other[name]["values"], rel=1e-4)


def test_relative_paths_are_those_of_this_folder(on, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("more.yaml").write_text("epochs: 3\n")
    given = on("there", unlearn_methods="DropEdges")
    given |= {"checkpoint_dir": "mine", "data_path": os.path.relpath(given["data_path"])}
    del given["seed"], given["epochs"]
    run_seeds([1], "LightGCN", "tiny", ["more.yaml"], config_dict=given)
    assert list(Path("mine").glob("DropEdges-*-1.safetensors"))


def test_more_processes_than_the_cluster_has_room_for(on):
    with pytest.raises(UsageError, match="3 tasks of cpu:1 are to run at a time, but the cluster has room for 2"):
        run_unlearn("LightGCN", "tiny", config_dict=on("there", nproc=4, unlearn_methods="DropEdges"))


def test_processes_of_two_machines_train_what_one_trains(on):
    wanted = {"unlearn_methods": "DropEdges"}
    here = run_unlearn("SGL", "tiny", config_dict=on("here", **wanted))
    there = run_unlearn("SGL", "tiny", config_dict=on("there", nproc=2, **wanted))
    assert same(there, here)


def test_the_work_of_a_lost_machine_starts_anew_on_the_other(cluster, on, configure, tmp_path):
    """The last test of this cluster, because it loses half of it."""

    def work(number, folder):
        """Say which machine works on a number (its own process is the parent of its workers), and take a while."""
        Path(folder, f"{number}-{os.getppid()}").touch()
        time.sleep(3)
        return number, os.getppid()

    results = side_by_side(work, [(number, str(tmp_path)) for number in range(4)], 2, configure(**on("there")))
    numbers = [next(results)]
    while not (second := list(tmp_path.glob("[23]-*"))):
        time.sleep(0.05)
    lost = psutil.Process(int(second[0].name.partition("-")[2]))
    for process in [*lost.children(recursive=True), lost]:
        process.send_signal(signal.SIGKILL)
    numbers += results
    assert [number for number, _ in numbers] == [0, 1, 2, 3]
    assert dict(numbers)[int(second[0].name[0])] != lost.pid
    assert len(list(tmp_path.glob(f"{second[0].name[0]}-*"))) == 2, "nothing was lost in the middle"
