"""A deletion object serves request after request with the model that it keeps, as single calls on the store do."""

import shutil
from pathlib import Path

import pytest
import torch
from served import check_version, contents, current, data_of, pairs, user, without

from recbole_unlearn.deletion import service
from recbole_unlearn.deletion.receipt.measures import Measures
from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.service import Deletion
from recbole_unlearn.deletion.version.state import State
from recbole_unlearn.errors import FailedChecks, UsageError
from recbole_unlearn.model_file import read_content, write_content


def model_of(path):
    return read_content(current(path) / "model.safetensors")


@pytest.fixture
def loads(monkeypatch):
    """The versions' folders that were read."""
    folders, load = [], State.load

    def recorded(folder, *arguments):
        folders.append(Path(folder).name)
        return load(folder, *arguments)

    monkeypatch.setattr(State, "load", recorded)
    return folders


def requests_on(path):
    data = data_of(current(path))
    return [pairs("r1", *data["train"][:9]), user("r2", "u17"), pairs("r3", data["valid"][0], data["train"][-1])]


def test_it_makes_the_versions_of_single_calls_and_reads_the_first_alone(path, tmp_path, loads):
    service.prepare(path)
    other = shutil.copytree(Path(path).parent, tmp_path / "other", symlinks=True) / Path(path).name
    requests, deletion = requests_on(path), Deletion(path)
    remaining = data_of(current(path))
    for number, request in enumerate(requests, start=2):
        assert deletion.unlearn([request])["version"] == number
        remaining = without(remaining, request)
        check_version(current(path), remaining)
    assert deletion.unlearn([requests[0]])["status"] == {"r1": "done"}
    assert loads.count("0001") == 1 and len(loads) == 1
    for request in requests:
        service.unlearn(str(other), [request])
    mine, theirs = model_of(path), model_of(str(other))
    assert torch.equal(mine["edges"], theirs["edges"]) and mine["user_tokens"] == theirs["user_tokens"]
    for name, weight in mine["state_dict"].items():
        assert torch.equal(weight, theirs["state_dict"][name]), name


def test_it_reads_what_another_process_published(path, loads):
    service.prepare(path)
    first, second, third = requests_on(path)
    remaining, deletion = data_of(current(path)), Deletion(path)
    deletion.unlearn([first])
    service.unlearn(path, [second])
    deletion.unlearn([third])
    for request in (first, second, third):
        remaining = without(remaining, request)
    check_version(current(path), remaining)
    assert loads == ["0001", "0002", "0003"]


def test_a_version_that_fails_changes_nothing_that_is_kept(path, loads, monkeypatch):
    service.prepare(path)
    many, one = DeletionRequest("many", [("user", f"u{n}", None) for n in range(1, 15)]), user("one", "u17")
    remaining, deletion = data_of(current(path)), Deletion(path, {"unlearn_least_utility": 1.0})
    with pytest.raises(FailedChecks):
        deletion.unlearn([many])
    assert deletion.unlearn([one], force=True)["waiting"] == 0  # the failed one again, in a version of its own
    check_version(current(path), without(without(remaining, many), one))
    assert loads == ["0001"]


def test_it_trains_with_settings_that_a_revision_does_not_read(path, loads):
    service.prepare(path)
    first, second, _ = requests_on(path)
    deletion = Deletion(path, {"epochs": 1})
    deletion.unlearn([first])
    result = deletion.unlearn([second], exact=True, force=True)
    assert result["receipts"]["r2"]["method"] == "Retrain" and loads == ["0001", "0002"]
    assert model_of(path)["config"]["epochs"] == 1


def test_a_store_made_anew_is_not_taken_for_the_one_that_was_kept(path, tmp_path):
    service.prepare(path)
    first, second, _ = requests_on(path)
    deletion = Deletion(path)
    deletion.unlearn([first])
    Path(service.store_folder(path)).rename(tmp_path / "away")
    content = read_content(path)
    weights = {name: 1.5 * weight for name, weight in content["state_dict"].items()}
    write_content(str(path), {**content, "state_dict": weights})  # as if trained again
    service.unlearn(path, [first])
    before = model_of(path)["state_dict"]["user_embedding.weight"]
    assert deletion.unlearn([second])["version"] == 3
    after = model_of(path)["state_dict"]["user_embedding.weight"]
    same = (before == after).all(dim=1)
    assert same.sum() > len(same) / 2, "only rows of the request move"
    assert service.unlearn(path, [second])["status"] == {"r2": "done"}


@pytest.mark.parametrize("file", ["model.safetensors", "encoder.safetensors", "data/tiny/tiny.train.inter"])
def test_changed_files_of_the_current_version_are_noticed(path, file):
    service.prepare(path)
    first, second, _ = requests_on(path)
    deletion = Deletion(path)
    deletion.unlearn([first])
    changed = current(path) / file
    content = changed.read_bytes()
    changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UsageError, match=f"{changed.name}' is missing or has changed since version 2"):
        deletion.unlearn([second])
    changed.write_bytes(content)
    assert deletion.unlearn([second])["version"] == 3


@pytest.mark.parametrize("error, status", [(RuntimeError, "failed"), (MemoryError, "pending")])
@pytest.mark.parametrize("stage", [0, 1], ids=["before", "after"])
def test_an_error_while_measuring_publishes_nothing(path, monkeypatch, error, status, stage):
    store, calls, measure = service.prepare(path), [], Measures.__call__

    def failing(self, final):
        calls.append(final)
        if len(calls) == stage + 1:
            raise error("no room")
        return measure(self, final)

    monkeypatch.setattr(Measures, "__call__", failing)
    request, deletion = requests_on(path)[0], Deletion(path)
    before = contents(current(path).resolve())
    with pytest.raises(error):
        deletion.unlearn([request])
    assert store.current().number == 1 and [each["status"] for each in store.requests()] == [status]
    assert contents(current(path).resolve()) == before
    monkeypatch.undo()
    assert deletion.unlearn([request])["version"] == 2
