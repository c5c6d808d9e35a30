"""Files are whole or absent, and cannot run code."""

import os
import pickle
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from recbole_unlearn.files import checkpoint


class Touch:
    """A pickle of this makes a file when it is read."""

    def __reduce__(self):
        return open, ("executed", "w")


def test_save_and_load(tmp_path):
    state = {"weights": torch.arange(3.0), "epoch": 4, "name": "x", "result": {"ndcg@5": 0.25}, "none": None}
    checkpoint.save(tmp_path / "new" / "folder" / "a.pth", state)
    loaded = checkpoint.load(tmp_path / "new" / "folder" / "a.pth")
    assert torch.equal(loaded.pop("weights"), state.pop("weights"))
    assert loaded == state


def test_save_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint.save("a.pth", {"epoch": 1})
    assert os.listdir() == ["a.pth"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_write_leaves_the_old_file_whole(tmp_path, monkeypatch, error):
    path = tmp_path / "a.pth"
    checkpoint.save(path, {"epoch": 1})

    def write_half(state, file, *_, **__):
        file.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises(error):
        checkpoint.save(path, {"epoch": 2})
    assert checkpoint.load(path) == {"epoch": 1}
    assert os.listdir(tmp_path) == ["a.pth"]


def test_interrupted_first_write_leaves_nothing(tmp_path):
    def write(path):
        with open(path, "w") as handle:
            handle.write("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.write_aside(tmp_path / "report.json", write)
    assert os.listdir(tmp_path) == []


def test_a_pickle_with_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Touch()}, "evil.pth")
    with pytest.raises(pickle.UnpicklingError):
        checkpoint.load("evil.pth")
    assert not os.path.exists("executed")


def test_half_a_file_of_a_killed_process_goes_but_not_that_of_another_machine(tmp_path):
    def write(path):
        other = f".elsewhere-{2**30}-0123abcd-a.pth"
        mine = os.path.basename(path)
        assert re.fullmatch(rf"[.]{checkpoint.HOST}-{os.getpid()}-[0-9a-f]{{8}}-a[.]pth", mine)
        dead = mine.replace(f"-{os.getpid()}-", f"-{2**30}-")
        for name in (other, dead, path):
            (tmp_path / name).write_text("half")

    checkpoint.write_aside(tmp_path / "a.pth", write)
    assert len(os.listdir(tmp_path)) == 3
    checkpoint.save(tmp_path / "a.pth", {"epoch": 1})
    assert sorted(os.listdir(tmp_path)) == [f".elsewhere-{2**30}-0123abcd-a.pth", "a.pth"]


def test_one_at_a_time_makes_a_file_and_leaves_no_lock(tmp_path):
    """However often the lock's file goes and comes: no two are ever in the block together."""
    path, inside, most = str(tmp_path / "a.pth"), [], []

    def enter(number):
        with checkpoint.alone(path):
            inside.append(number)
            most.append(len(inside))
            assert os.listdir(tmp_path) == [".a.pth.lock"]
            time.sleep(0.001)
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(100)))
    assert most == [1] * 100 and os.listdir(tmp_path) == []
