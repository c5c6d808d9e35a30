"""Trainings side by side give what they give one after the other, and share this process's threads."""

import glob
import os
import time
from contextlib import nullcontext

import psutil
import pytest
import torch

from recbole_unlearn import run_unlearn
from recbole_unlearn.config import Config
from recbole_unlearn.method import METHODS, retrain
from recbole_unlearn.method.retrain import _train
from recbole_unlearn.model import MODELS
from recbole_unlearn.parallel import meanwhile, share_threads, threads_kept
from recbole_unlearn.trainer import train_backbone


@threads_kept()
def shares(settings, threads, workers):
    torch.set_num_threads(threads)
    config = share_threads(Config("LightGCN", "tiny", config_dict={**settings, "unlearn_workers": workers}))
    return config["unlearn_workers"], torch.get_num_threads()


@pytest.mark.parametrize(
    "threads, workers, expected",
    [(1, None, (1, 1)), (2, None, (2, 1)), (8, None, (2, 4)), (8, 3, (3, 2)), (1, 4, (4, 1))],
)
def test_trainings_share_the_threads(settings, threads, workers, expected):
    before = torch.get_num_threads()
    assert shares(settings, threads, workers) == expected
    assert torch.get_num_threads() == before


def test_retrains_side_by_side_are_those_of_one_process(settings, tmp_path):
    results = []
    for workers in (1, 3):
        own = {"unlearn_workers": workers, "unlearn_floor_runs": 2, "checkpoint_dir": str(tmp_path / str(workers))}
        results.append(
            run_unlearn("LightGCN", "tiny", config_dict={**settings, "unlearn_methods": "Retrain", **own}, saved=False)
        )
    (first, second) = (
        [{key: value for key, value in row.items() if "seconds" not in key} for row in result["results"]]
        for result in results
    )
    for row in (*first, *second):
        assert row.pop("peak_memory_mb") > 0
        row.pop("details", None)
    assert first == second and [row["stage"] for row in first] == ["", "", "again", "again 2"]


def test_what_works_meanwhile_has_this_process_s_threads_and_ends_with_the_block(tmp_path):
    def work(path):
        path.write_text(f"{os.getpid()} {torch.get_num_threads()}")
        time.sleep(600)

    with meanwhile(work, [(tmp_path / "1",), (tmp_path / "2",)], 2):
        deadline = time.time() + 120
        while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in "12"):
            assert time.time() < deadline
            time.sleep(0.1)
    texts = [(tmp_path / name).read_text().split() for name in "12"]
    assert [threads for _, threads in texts] == [str(torch.get_num_threads())] * 2
    assert not any(psutil.pid_exists(int(process)) for process, _ in texts)


def test_a_failure_meanwhile_is_a_warning(caplog):
    def fail():
        raise ValueError("no memory left")

    with meanwhile(fail, [()], 1):
        deadline = time.time() + 120
        while "no memory left" not in caplog.text:
            assert time.time() < deadline
            time.sleep(0.1)
    caplog.clear()
    with pytest.raises(KeyError), meanwhile(time.sleep, [(600,)], 1):
        raise KeyError
    assert not caplog.text


def test_a_process_beside_trains_what_this_one_then_loads(prepared):
    run = prepared(epochs=2)
    config = run.config.stream("Retrain")
    training = config, run.data.remaining, "retrain-1", run.data.valid_data
    with meanwhile(_train, [(MODELS["LightGCN"], *training)], 1):
        deadline = time.time() + 120
        while not glob.glob(f"{config['checkpoint_dir']}/retrain-1-*.pth"):
            assert time.time() < deadline
            time.sleep(0.1)
        trained = train_backbone(*training)  # waits, if the other is not done
    assert 0 < trained.seconds_before <= trained.seconds and trained.peak_memory_mb > 100
    assert trained.file and glob.glob(f"{config['checkpoint_dir']}/retrain-1-*.pth") == [trained.file]


@pytest.mark.parametrize("module, workers", [("__main__", 0), ("elsewhere", 1)])
def test_a_class_whose_source_another_process_lacks_trains_here(prepared, monkeypatch, module, workers):
    run, beside = prepared(unlearn_workers=2), []
    monkeypatch.setattr(type(run.original), "__module__", module)
    monkeypatch.setattr(retrain, "meanwhile", lambda _, jobs, workers: beside.append(len(jobs)) or nullcontext())
    next(METHODS["Retrain"](run.config, run.data, run.original).unlearn())
    assert beside == [workers]
