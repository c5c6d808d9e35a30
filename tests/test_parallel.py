"""Trainings side by side give what they give one after the other, and share this process's threads."""

import os
import time

import psutil
import pytest
import torch

from recbole_unlearn import run_unlearn
from recbole_unlearn.config import Config
from recbole_unlearn.parallel import meanwhile, share_threads, threads_kept


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


def test_a_failure_meanwhile_does_not_reach_the_block():
    def fail():
        raise ValueError("told to nobody")

    with meanwhile(fail, [()], 1):
        pass
    with pytest.raises(KeyError), meanwhile(fail, [()], 1):
        raise KeyError
