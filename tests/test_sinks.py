"""Sinks: each hands the current version on without what was forgotten, is checked, and is tried again if it fails."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from served import as_typed, contents, current, data_of, item, pairs, train, user

from recbole_unlearn.deletion import service
from recbole_unlearn.deletion.sinks.index import LIBRARIES
from recbole_unlearn.errors import UsageError
from recbole_unlearn.saved_model import load_current

FILES = {"unlearn_sinks": ["embeddings", "lists"], "unlearn_sink_top": 5}
LIBRARY_OF = {"faiss": "faiss", "usearch": "usearch"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_path):
    """A checkpoint with a store."""
    folder = tmp_path_factory.mktemp("trained")
    path = train(folder, data_path)
    service.prepare(str(path))
    return path


@pytest.fixture
def path(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return str(shutil.copytree(trained.parent, tmp_path / "saved", symlinks=True) / trained.name)


@pytest.fixture(scope="module")
def once(trained, tmp_path_factory):
    """The same, with a user forgotten and two sinks written."""
    path = shutil.copytree(trained.parent, tmp_path_factory.mktemp("once") / "saved", symlinks=True) / trained.name
    service.unlearn(str(path), [user("r1", "u17")], FILES)
    return path


@pytest.fixture
def written(once, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return str(shutil.copytree(once.parent, tmp_path / "saved", symlinks=True) / once.name)


def folder_of(path, sink):
    return Path(service.store_folder(path), "sinks", sink, "current")


def table(file):
    return pyarrow.parquet.read_table(file).to_pydict()


def results(result):
    return {entry["sink"]: entry["result"] for entry in result["sinks"]}


def test_files_hold_the_version_and_what_changed(path):
    before, model = data_of(current(path)), load_current(service.store_folder(path)).model
    final_before = model.final_embeddings()
    result = service.unlearn(path, [user("r1", "u17"), item("r2", "i23")], FILES)
    assert results(result) == {"embeddings": "written", "lists": "written"}
    now, folder = load_current(service.store_folder(path)), folder_of(path, "embeddings")
    users, items = now.model.final_embeddings().split([now.model.n_users, now.model.n_items])
    for side, final in (("user", users), ("item", items)):
        ids = [number for number, token in enumerate(now.tokens[side]) if number and token is not None]
        there = table(folder / f"{side}s.parquet")
        assert there[f"{side}_id"] == [now.tokens[side][number] for number in ids]
        np.testing.assert_allclose(there["embedding"], final[ids].numpy(), atol=1e-6)
        np.testing.assert_array_equal(np.load(folder / f"{side}s.npy"), np.float32(there["embedding"]))
    changed = table(folder / "changed.parquet")
    store = service.prepare(path)
    erased = {store.keyed_hash("user", "u17", None), store.keyed_hash("item", None, "i23")}
    assert set(changed["erased"]) - {None} == erased
    moved = {entry for entry in zip(changed["side"], changed["token"]) if entry[1] is not None}
    final = now.model.final_embeddings()
    expected = {
        (side, token)
        for side, start in (("user", 0), ("item", now.model.n_users))
        for number, token in enumerate(now.tokens[side])
        if number and token is not None and not np.array_equal(final[start + number], final_before[start + number])
    }
    assert moved == expected and 0 < len(moved)
    _check_lists(path, before, now)


def _check_lists(path, before, now):
    """Each list is the exact one, and the changed ones are those that differ from the first version's."""
    folder, k = folder_of(path, "lists"), FILES["unlearn_sink_top"]
    first = load_current_version(path, 1)
    lists = {of: exact(of, now, {item for user, item in data_of(current(path))["train"] if user == of}, k)
             for of in now.tokens["user"][1:] if of is not None}  # fmt: skip
    there = table(folder / "lists.parquet")
    assert dict(zip(there["user_id"], there["item_id"])) == lists
    old = {of: exact(of, first, {item for user, item in before["train"] if user == of}, k) for of in lists}
    changed = table(folder / "changed.parquet")
    assert set(changed["user_id"]) == {of for of in lists if lists[of] != old[of]}
    for of, then, after in zip(changed["user_id"], changed["before"], changed["after"]):
        assert after == lists[of] and then == [None if token == "i23" else token for token in old[of]]
    assert any("i23" in items for items in old.values()), "an erased item was in somebody's list"


def load_current_version(path, number):
    from recbole_unlearn.model_file import load_model

    _, model, tokens = load_model(
        os.path.join(service.store_folder(path), "versions", f"{number:04d}", "model.safetensors")
    )
    return type("Version", (), {"model": model, "tokens": tokens})


def exact(of, version, had, k):
    """A user's list, computed one score at a time."""
    users, items = version.model.final_embeddings().split([version.model.n_users, version.model.n_items])
    row = users[version.tokens["user"].index(of)]
    scores = {
        token: float(items[number] @ row)
        for number, token in enumerate(version.tokens["item"])
        if number and token is not None and token not in had
    }
    return sorted(scores, key=scores.get, reverse=True)[:k]


def test_a_forgotten_interaction_comes_into_no_list(path):
    """Else an item that comes into a list for the first time would tell that it was forgotten."""
    had = [row for row in data_of(current(path))["train"] if row[0] == "u3"][:6]
    service.unlearn(path, [pairs("r1", *had)], {**FILES, "unlearn_sink_top": 60})
    lists = table(folder_of(path, "lists") / "lists.parquet")
    mine = dict(zip(lists["user_id"], lists["item_id"]))["u3"]
    assert len(mine) > 20 and not {item for _, item in had} & set(mine)


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_index_is_built_without_the_forgotten_items(path, library):
    pytest.importorskip(LIBRARY_OF[library])
    store = service.store_folder(path)
    first = load_current(store)
    gone = first.tokens["item"].index("i23")
    vector = first.model.final_embeddings()[first.model.n_users + gone].numpy().tobytes()
    settings = {"unlearn_sinks": "index", "unlearn_index": library, "unlearn_sink_top": 5}
    (entry,) = service.unlearn(path, [item("r1", "i23")], settings)["sinks"]
    assert entry["result"] == "written" and [check["passed"] for check in entry["checks"]] == [True] * 4
    folder, now = folder_of(path, "index"), load_current(store)
    labels = table(folder / "items.parquet")["item_id"]
    assert labels == [token for token in now.tokens["item"][1:] if token is not None] and "i23" not in labels
    file = (folder / "items.index").read_bytes()
    kept = now.model.final_embeddings()[now.model.n_users + now.tokens["item"].index(labels[0])].numpy().tobytes()
    assert vector not in file and kept in file, "the vectors are in the file as float32"


def test_a_vector_that_is_left_in_an_index_is_found(path, monkeypatch):
    """A library that only marks it, as some do, fails the check, and nothing is handed on."""
    pytest.importorskip("usearch")
    library, _ = LIBRARIES["usearch"]
    first = load_current(service.store_folder(path))
    vector = first.model.final_embeddings()[first.model.n_users + first.tokens["item"].index("i23")].numpy()

    def marks(table, file):
        index = library._empty(table.shape[1])
        index.add(np.arange(len(table) + 1), np.vstack([table, vector]))
        index.remove(len(table), compact=True)
        index.save(file)

    monkeypatch.setattr(library, "build", marks)
    settings = {"unlearn_sinks": "index", "unlearn_index": "usearch", "unlearn_sink_top": 5}
    (entry,) = service.unlearn(path, [item("r1", "i23")], settings)["sinks"]
    assert entry["result"] == "failed" and "vectors of erased items in the file's bytes" in entry["reason"]
    assert not folder_of(path, "index").exists()


def test_a_sink_that_fails_is_tried_again(path, tmp_path):
    taken = tmp_path / "elsewhere"
    taken.write_text("a file where the folder should be")
    arguments = [f"--checkpoint={path}", "--unlearn_sinks=embeddings,lists", f"--unlearn_sink_folder={taken}"]
    Path("requests.csv").write_text("request_id,user_id,item_id\nr1,u17,\n")
    code, out, err = as_typed(*arguments, "--forget_file=requests.csv")
    assert (code, err) == (1, "") and len(re.findall("Sink .*, version 2: failed, and the next call tries", out)) == 2
    store = service.prepare(path)
    assert store.current().number == 2, "the version is published all the same"
    receipt = json.loads(Path(store.folder, "receipts", "r1.json").read_text())
    assert {entry["result"] for entry in receipt["sinks"]} == {"failed"}
    before = contents(Path(store.folder, "receipts"))
    taken.unlink()
    code, out, err = as_typed(*arguments[:1])  # the version's settings have the rest
    assert (code, err) == (0, "") and (taken / "embeddings" / "0002" / "users.npy").is_file()
    after = contents(Path(store.folder, "receipts"))
    assert before.items() <= after.items(), "a receipt never changes"
    (later,) = (json.loads(after[name]) for name in after.keys() - before.keys())
    assert [(entry["sink"], entry["version"], entry["result"]) for entry in later["sinks"]] == [
        ("embeddings", 2, "written"),
        ("lists", 2, "written"),
    ]
    assert service.unlearn(path)["sinks"] == [] and contents(Path(store.folder, "receipts")) == after
    assert service.verify(path).is_clean()


def test_the_next_version_replaces_what_a_sink_wrote(written):
    path = written
    folder = folder_of(path, "embeddings").parent
    (folder / "0077").mkdir()  # somebody else's
    service.unlearn(path, [user("r2", "u18")])
    assert sorted(os.listdir(folder)) == ["0003", "0077", "current"]
    changed = table(folder / "current" / "changed.parquet")
    assert [each for each in changed["erased"] if each] == [service.prepare(path).keyed_hash("user", "u18", None)]


def test_without_the_version_before_everything_counts_as_new(path):
    none = {"unlearn_quarantine_days": 0, "unlearn_grace_seconds": 0}
    service.unlearn(path, [user("r1", "u17")], none)
    assert [version.number for version in service.prepare(path).versions()] == [2], "no quarantine, no grace: gone"
    result = service.unlearn(path, (), FILES)
    assert results(result) == {"embeddings": "written", "lists": "written"}
    assert not (folder_of(path, "lists") / "changed.parquet").exists()


@pytest.mark.parametrize("spoil", ["user", "changed", "more", "behind", "removed"])
def test_verification_knows_what_sinks_wrote(written, spoil):
    path, folder = written, folder_of(written, "embeddings").resolve()
    if spoil == "user":
        pyarrow.parquet.write_table(pyarrow.table({"user_id": ["u17"]}), folder / "users.parquet")
    elif spoil == "changed":
        np.save(folder / "users.npy", np.load(folder / "users.npy") + 1)
    elif spoil == "more":
        (folder / "old.csv").write_text("user_id\nu17\n")
    elif spoil == "behind":
        service.unlearn(path, [user("r2", "u18")], {"unlearn_sinks": "lists"})
    else:
        shutil.rmtree(folder)
    found = service.verify(path)
    assert bool(found.findings) == (spoil != "removed") and not found.not_searched
    assert spoil != "removed" or any("it is gone" in reason for _, reason in found.left_out)
    if spoil == "behind":
        service.unlearn(path, (), FILES)
        assert service.verify(path).is_clean(), "the next call replaces it"


def test_what_a_sink_left_half_written_is_searched(written):
    path = written
    assert service.verify(path).is_clean()
    place = folder_of(path, "embeddings").parent / ".0002-building"
    place.mkdir()
    (place / "users.csv").write_text("user_id\nu17\n")
    assert [finding.file for finding in service.verify(path).findings] == [str(place / "users.csv")]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"unlearn_sinks": "embeddings,lsits"}, r"Unknown sink 'lsits'\. Did you mean 'lists'\?"),
        ({"unlearn_sinks": "lists,lists"}, "names 'lists' twice"),
        ({"unlearn_sinks": "mlflow", "unlearn_mlflow_uri": "http://me:secret@host"}, "has a user name or password"),
        ({"unlearn_sinks": "index"}, r"needs faiss, which is not installed: pip install 'recbole-unlearn\[faiss\]'"),
        ({"unlearn_signing_key": "no.pem"}, "'no.pem' cannot be read as a key: No such file"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_changes(path, monkeypatch, settings, message):
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "faiss" else find(name))
    before = contents(service.store_folder(path))
    with pytest.raises(UsageError, match=message) as raised:
        service.unlearn(path, [user("r1", "u17")], settings)
    assert "\n" not in str(raised.value) and "secret" not in str(raised.value)
    assert contents(service.store_folder(path)) == before
    shutil.rmtree(service.store_folder(path))
    with pytest.raises(UsageError, match=message):
        service.unlearn(path, [user("r1", "u17")], settings)
    assert not os.path.exists(service.store_folder(path)), "nor is a store made"


def test_a_model_version_in_mlflow_replaces_the_one_before(path, tmp_path):
    pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    settings = {"unlearn_sinks": "mlflow", "unlearn_mlflow_uri": uri}
    assert results(service.unlearn(path, [user("r1", "u17")], settings)) == {"mlflow": "written"}
    from mlflow import MlflowClient

    client = MlflowClient(uri, uri)
    (old,) = client.search_model_versions("name = 'LightGCN-tiny'")
    others = client.create_model_version("LightGCN-tiny", old.source, old.run_id)  # not of this store
    file = Path(client.download_artifacts(old.run_id, "model.safetensors", str(tmp_path)))
    assert file.read_bytes() == (current(path) / "model.safetensors").read_bytes()
    artifacts = [*tmp_path.rglob(f"{old.run_id}/artifacts/*")]
    assert [artifact.name for artifact in artifacts] == ["model.safetensors"]
    assert results(service.unlearn(path, [user("r2", "u18")])) == {"mlflow": "written"}
    there = {version.version for version in client.search_model_versions("name = 'LightGCN-tiny'")}
    new = json.loads((folder_of(path, "mlflow") / "model_version.json").read_text())
    assert there == {others.version, type(others.version)(new["version"])}
    assert not artifacts[0].exists() and client.get_run(old.run_id).info.lifecycle_stage == "deleted"
    assert service.verify(path).is_clean()
    (tmp_path / "mlflow.db").rename(tmp_path / "moved.db")
    ((_, reason),) = service.verify(path).not_searched
    assert "mlflow.db' does not exist" in reason and not (tmp_path / "mlflow.db").exists()
