"""Files are whole or absent, and cannot run code."""

import os
import pickle

import pytest
import torch

from recbole_unlearn import checkpoint


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
