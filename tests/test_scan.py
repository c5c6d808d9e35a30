"""Leftovers of every kind are found where they were planted, clean files give none, and what nobody reads is not called
clean."""

import gzip
import hashlib
import json
import os
import pickle
import socket
import sys
import zipfile

import leftovers
import numpy as np
import pytest
import torch
from conftest import tiny_rows
from recbole.config import Config as RecBoleConfig
from recbole.data.dataset import Dataset as RecBoleDataset
from recbole.data.utils import data_preparation
from recbole.model.general_recommender import LightGCN as RecBoleLightGCN
from recbole.trainer import Trainer
from test_checkpoint import Touch

from recbole_unlearn.deletion.verify.findings import Finding, waived
from recbole_unlearn.deletion.verify.search import scan
from recbole_unlearn.deletion.verify.sought import WORDS_ARE_HASHED, Sought, hashes_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import checkpoint
from recbole_unlearn.model import MODELS
from recbole_unlearn.model_file import read_content, save_model, write_content
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import ResumableTrainer

ROWS = list(tiny_rows())
PAIR = next(row for row in ROWS if row[0] == "u2")
PRECISE = {"rows.inter", "swapped.inter", "known.jsonl", "rows.parquet", "rows.db", "columns.json"}
BY_PARTS = {
    f"export-{leftovers.USER}.csv",
    "named.zip",
    "tensor-name.safetensors",
    "words-utf-16.bin",
}  # names, and runs of bytes
OF_U1 = [row for row in ROWS if row[0] == "u1"]


def keyed(*parts):
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def forgets(users=(), items=(), pairs=()):
    """What is to be gone, of which a search knows hashes alone."""
    rows = [("user", user, None) for user in users] + [("item", None, item) for item in items]
    rows += [("interaction", *pair) for pair in pairs]
    return Sought({keyed(*WORDS_ARE_HASHED), *hashes_of(rows, keyed)}, keyed)


NOTHING = forgets()
U1 = forgets(users={"u1"})


def found(path, sought, names=("user_id", "item_id")):
    """Places and counts, by the name of the file, of what is found or not searched."""
    result = scan(str(path), sought, names)
    findings = [(os.path.basename(finding.file), finding.place, finding.count) for finding in result.findings]
    return findings + [(os.path.basename(file), reason, 0) for file, reason in result.not_searched]


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.fixture
def model_file(configure, tmp_path):
    """Save a LightGCN without u1's interactions and the pair, change the file, and give its path."""

    def build(change=lambda state: None, name="model.safetensors", write=write_content):
        config = configure()
        data = prepare_data(config)
        model = MODELS["LightGCN"](config, data.train)
        users, items = data.graph.users, data.graph.items
        user, item = data.train.token2id("user_id", PAIR[0]), data.train.token2id("item_id", PAIR[1])
        gone = (users == data.train.token2id("user_id", "u1")) | (users == user) & (items == item)
        revised = model.revised(model.ego_embeddings(), data.graph.without(users[gone], items[gone]))
        path = str(tmp_path / "models" / name)
        save_model(path, revised, config, data.train)
        state = read_content(path)
        for side in ("user", "item"):
            for token in np.flatnonzero([token is None for token in state[f"{side}_tokens"]]):
                state["state_dict"][f"{side}_embedding.weight"][token] = 0
        change(state)
        write(path, state)
        return path

    return build


@pytest.fixture
def stock(settings, monkeypatch):
    """A Config of RecBole's own, which lets RecBole cache its dataloaders in ``saved``."""
    monkeypatch.setattr(sys, "argv", ["pytest"])
    own = {key: value for key, value in settings.items() if not key.startswith(("forget_", "unlearn_", "ie_"))}
    return RecBoleConfig(RecBoleLightGCN, "tiny", config_dict={**own, "save_dataloaders": True, "epochs": 1})


@pytest.mark.parametrize(
    "ending, content",
    [
        ("inter", "user_id:token\titem_id:token\nu2\ti1\nu1\ti2\nu3\ti3\nu1\ti4\n"),
        ("inter", "item_id:token\trating:float\tuser_id:token\ni1\t3\tu2\ni2\t1\tu1\ni3\t2\tu3\ni4\t3\tu1"),
        ("inter", "user_id:token,item_id:token\nu2,i1\nu1,i2\nu3,i3\nu1,i4\n"),
        ("csv", 'user_id,"item_id"\r\nu2,i1\r\n"u1",i2\r\nu3,i3\r\nu1,i4\r\n'),
        ("csv", '"a, b",user_id,item_id\n"x, y",u2,i1\nx,u1,i2\nx,u3,i3\nx,u1,i4\n'),
        ("csv", "\ufeffuser_id;item_id\nu2;i1\nu1;i2\nu3;i3\nu1;i4\n"),
        ("tsv", "item_id\tuser_id\ni1\tu2\ni2\tu1\n\ni4\tu1\n\n"),
        ("tsv", "item_id\tuser_id\ni1\tu2\ni2\tu1\ni3\ni4\tu1\n"),
        ("tsv", "item_id\tuser_id\ni1\tu2\t\ni2\tu1\t\ni3\tu3\t5\t6\ni4\tu1\t\n"),
        ("user", "user_id:token\tage:float\nu2\t1\nu1\t2\nu3\t3\nu1\t4\n"),
    ],
)
def test_rows_of_tables(write, ending, content):
    write(f"a.{ending}", content)
    path = write(f"b.{ending}", content)
    assert found(path, U1) == [(f"b.{ending}", "row 3 and 1 more", 2)]
    assert found(path, forgets(users={"u9"}, pairs={("u1", "i1"), ("u9", None)})) == []


def test_rows_of_json_lines(write):
    lines = '{"user_id": 7, "item_id": "i1"}', "", '{"user_id": "u1", "item_id": 3.0, "x": [1]}', '{"item_id": "u1"}'
    path = write("a.jsonl", "\n".join(lines))
    assert found(path, forgets(items={"i1"})) == [("a.jsonl", "row 1", 1)]
    assert found(path, forgets(pairs={("7", "i1"), ("u1", "3.0")})) == [("a.jsonl", "row 1 and 1 more", 2)]


def test_a_pair_is_not_its_user_or_item(write):
    path = write("a.inter", "user_id:token\titem_id:token\nu1\ti1\nu1\ti2\nu2\ti1\n")
    assert found(path, forgets(pairs={("u1", "i1")})) == [("a.inter", "row 2", 1)]
    assert found(path, forgets(items={"i1"})) == [("a.inter", "row 2 and 1 more", 2)]


def test_other_names_of_the_ids(write):
    path = write("a.inter", "uid:token\tiid:token\nu2\ti1\nu1\ti2\n")
    assert found(path, U1, ("uid", "iid")) == [("a.inter", "row 3", 1)]


def test_tokens_that_pandas_takes_for_something_else(write):
    path = write("a.csv", "user_id,item_id\nNA,1\n007,1.0\nnull,True\n")
    for token, row in (("NA", 2), ("007", 3), ("null", 4)):
        assert found(path, forgets(users={token})) == [("a.csv", f"row {row}", 1)]
    assert found(path, forgets(items={"1.0"})) == [("a.csv", "row 3", 1)]
    assert found(path, forgets(items={"1"})) == [("a.csv", "row 2 and 1 more", 2)], "1.0 is 1 that went through a float"


def test_rows_of_several_chunks(write, monkeypatch):
    monkeypatch.setattr("recbole_unlearn.deletion.verify.text.ROWS", 7)
    monkeypatch.setattr("recbole_unlearn.deletion.verify.text.CHARACTERS", 50)
    rows = "\n".join(f"u{user}\ti{user}" for user in range(50))
    sought = forgets(users={"u20", "u30"}, items={"i49"})
    assert found(write("a.inter", f"user_id:token\titem_id:token\n{rows}"), sought) == [
        ("a.inter", "row 22 and 2 more", 3)
    ]
    assert found(write("a.txt", rows), sought) == [("a.txt", "line 21 and 2 more", 3)]
    monkeypatch.setattr("recbole_unlearn.deletion.verify.text.OVERLAP", 10)
    ((_, place, count),) = found(write("a.txt", rows.replace("\n", " ")), sought)
    assert place.startswith("line 1 and") and count >= 3


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.db", b"SQLite format 3\0", "cannot be read to its end (DatabaseError)"),
        ("a.npy", b"\x93NUMPY", "cannot be read to its end (ValueError)"),
        ("a.png", b"\x89\0\xff", "of no known format"),
        ("key", b"\x89\0\xff", "of no known format"),
        ("a.key", bytes(range(32)), "of no known format"),
        ("a.pth", b"\x89\0\xff", "of no known format"),
    ],
)
def test_what_cannot_be_read_is_not_searched(write, name, content, reason):
    assert found(write(name, content), NOTHING) == [(name, reason, 0)]


@pytest.mark.parametrize(
    "name", ["README.md", "run.log", "config.yaml", "nameless", "a.csv", "figure.png", "page.html", "lock", "key"]
)
def test_no_name_gets_a_free_pass(write, name):
    assert {count for _, _, count in found(write(name, "x\nu1,i1\n"), U1)} == {1}


def test_what_is_no_file_is_not_searched(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("gone", tmp_path / "dangling.png")
    os.symlink("self", tmp_path / "self")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(tmp_path)
        listener.bind("socket")
        special = "no file, but a pipe, a socket or a device"
        links = [("dangling.png", "a link to nothing", 0), ("pipe", special, 0), ("self", "a link to nothing", 0)]
        assert found(tmp_path, NOTHING) == [*links, ("socket", special, 0)]


@pytest.mark.parametrize(
    "function, name", [("os.scandir", "here"), ("builtins.open", "nameless"), ("builtins.open", "a.pth")]
)
def test_what_may_not_be_read_is_not_searched(write, tmp_path, monkeypatch, function, name):
    path = str(tmp_path / "here") if name == "here" else write(name, pickle.dumps(1))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    write("other", "text")
    monkeypatch.setattr(function, refuse)  # root may read everything
    places = found(path, NOTHING)
    monkeypatch.undo()
    assert places == [(name, "cannot be read: Permission denied", 0)]


def test_bombs_are_not_unpacked(write, monkeypatch):
    monkeypatch.setattr("recbole_unlearn.deletion.verify.search.LARGEST", 2**16)
    packed = gzip.compress(b" " * 2**20)
    assert found(write("a.gz", packed), NOTHING) == [("a.gz", "larger than 65,536 bytes when it is unpacked", 0)]
    members = leftovers.zipped(
        *((f"{number}.txt", " " * 2**14) for number in range(5)), compression=zipfile.ZIP_DEFLATED
    )
    assert found(write("a.zip", members), NOTHING) == [("a.zip", "larger than 65,536 bytes when it is unpacked", 0)]
    deep = b"u1"
    for _ in range(12):
        deep = gzip.compress(deep)
    assert found(write("deep.gz", deep), U1) == [("deep.gz", "files in files, too deep", 0)]


def test_waivers(write, tmp_path):
    write("a.bin", b"\x89\0\xff")
    write("logs/b.gz", gzip.compress(b"x")[:-4])
    write("logs/c.pkl", pickle.dumps([1]))
    write("ids.csv", "17,4\n")
    write("rows.csv", "user_id,item_id\n17,4\n")
    result = waived(scan(str(tmp_path), forgets(users={"17"})), ["a.bin", "logs/*", "*.csv", "nothing*"])
    assert [os.path.basename(file) for file, _ in result.waived] == ["ids.csv", "c.pkl", "a.bin", "b.gz"]
    assert [finding.place for finding in result.findings] == ["row 2"], "what is found for sure is not waived"
    assert result.not_searched == [] and result.unused == ["nothing*"] and not result.is_clean()


def test_folders_are_searched_to_the_bottom_and_links_once(write, tmp_path):
    content = "user_id:token\titem_id:token\nu1\ti1\n"
    deep = write("b/c/a.inter", content)
    write("a.inter", content)
    os.symlink("b", tmp_path / "here" / "link")
    os.symlink(tmp_path, tmp_path / "here" / "b" / "loop")
    result = scan(str(tmp_path), U1)
    assert [os.path.relpath(file, tmp_path) for file, _ in result.files] == ["here/a.inter", "here/b/c/a.inter"]
    assert result.findings[1] == Finding(deep, "row 2", 1)
    assert len(result.findings) == 2 and result.not_searched == []


def test_missing_path():
    with pytest.raises(UsageError, match="nothing to scan at 'gone'"):
        scan("gone", NOTHING)


def test_a_clean_model_file(model_file):
    path = model_file()
    assert read_content(path)["user_tokens"].count(None) == 1
    assert found(path, forgets(users={"u1"}, pairs={PAIR})) == []


def test_edges_and_tokens_of_a_model_file(model_file):
    path = model_file()
    state = read_content(path)
    users, items = ([state[f"{side}_tokens"][i] for i in ids] for side, ids in zip(("user", "item"), state["edges"]))
    pairs = list(zip(users, items))
    assert found(path, forgets(pairs=set(pairs[3:5]))) == [("model.safetensors", "edges", 2)]
    expected = [("model.safetensors", "edges", users.count("u2")), ("model.safetensors", "tokens", 1)]
    assert found(path, forgets(users={"u2"})) == expected
    assert found(path, forgets(users={"u2"}, items={items[0]}))[1] == ("model.safetensors", "tokens", 2)


def test_edges_of_erased_nodes(model_file):
    def keep_an_edge(state):
        state["edges"][0, 5] = state["user_tokens"].index(None)

    assert found(model_file(keep_an_edge), NOTHING) == [("model.safetensors", "edges of erased users or items", 1)]


@pytest.fixture
def tables(tmp_path):
    """Search a model file of 5 users and 4 items without edges; those named by number have lost their tokens."""

    def search(users=(), items=(), **state_dict):
        state = {
            "state_dict": {name.replace("__", "."): table for name, table in state_dict.items()},
            "edges": torch.empty(2, 0, dtype=torch.int32),
            "user_tokens": [None if user in users else f"u{user}" for user in range(5)],
            "item_tokens": [None if item in items else f"i{item}" for item in range(4)],
        }
        checkpoint.save(tmp_path / "model.pth", state)
        return found(tmp_path / "model.pth", NOTHING)

    return search


def table(size, *rows_to_values):
    values = torch.arange(2.0 * size).reshape(size, 2) + 1
    for rows, value in rows_to_values:
        values[list(rows)] = value
    return values


@pytest.mark.parametrize("value", [torch.zeros(2), torch.tensor([7.0, 8.0]), torch.tensor([0.0, -1.0])])
def test_erased_rows_with_one_common_value_are_clean(tables, value):
    assert tables(users=(1, 2), user_embedding__weight=table(5, ((1, 2), value))) == []
    assert tables(items=(1, 3), item_embedding__weight=table(4, ((1, 3), value))) == []
    assert tables(users=(1, 2), items=(1, 3), ego=table(9, ((1, 2), value), ((6, 8), value + 1))) == []


def test_erased_rows_that_differ_are_found(tables):
    name = "user_embedding.weight"
    assert tables(users=(1, 2), user_embedding__weight=table(5)) == [("model.pth", f"rows of {name}", 2)]
    assert tables(users=(1, 2), user_embedding__weight=table(5, ((1,), 0))) == [("model.pth", f"rows of {name}", 2)]
    assert tables(items=(1, 3), ego=table(9, ((6,), 0))) == [("model.pth", "rows of ego", 2)]
    assert tables(users=(1, 2), items=(1, 3), ego=table(9, ((1, 2), 0))) == [("model.pth", "rows of ego", 2)]
    assert tables(users=(1, 2), bias=torch.arange(5.0)) == [("model.pth", "rows of bias", 2)]
    assert tables(users=(1, 2), half=table(5).half()) == [("model.pth", "rows of half", 2)]


def test_a_single_erased_row_must_be_zero_or_somebody_elses(tables):
    assert tables(users=(2,), weight=table(5)) == [("model.pth", "rows of weight", 1)]
    assert tables(users=(2,), weight=table(5, ((2,), 0))) == []
    assert tables(users=(2,), weight=table(5, ((2,), table(5)[0]))) == []


def test_rows_that_are_no_number_are_found(tables):
    assert tables(users=(1, 2), weight=table(5, ((1, 2), torch.nan))) == [("model.pth", "rows of weight", 2)]


def test_other_tensors_of_a_model_are_left_alone(tables):
    others = {"weight": table(7), "scalar": torch.tensor(1.0), "counts": torch.arange(5), "empty": torch.empty(0, 2)}
    assert tables(users=(1, 2), items=(1, 3), **others) == []


def test_as_many_users_as_items(tmp_path):
    state = {"edges": torch.empty(2, 0), "user_tokens": ["u", None, None], "item_tokens": ["a", "b", "c"]}
    for name, place in (("user.weight", ["rows of user.weight"]), ("item.weight", []), ("weight", ["rows of weight"])):
        checkpoint.save(tmp_path / "model.pth", {**state, "state_dict": {name: table(3)}})
        assert [where for _, where, _ in found(tmp_path, NOTHING)] == place


def test_a_broken_model_file_is_found(model_file):
    def cut(state):
        state["user_tokens"] = state["user_tokens"][:5]

    assert found(model_file(cut), NOTHING) == [("model.safetensors", "cannot be read to its end (it is damaged)", 0)]


def test_what_recbole_pickles_is_found(stock, tmp_path):
    dataset = RecBoleDataset(stock)
    dataset.save()
    train_data, valid_data, _ = data_preparation(stock, dataset)
    trainer = Trainer(stock, RecBoleLightGCN(stock, train_data.dataset))
    trainer.fit(train_data, valid_data, verbose=False)
    places = {place for _, place, _ in found(tmp_path / "saved", NOTHING)}
    assert len(os.listdir(tmp_path / "saved")) == 3 and places == {"pickled: delete it, or waive it by name"}


def test_our_own_training_states(configure, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_unlearn.trainer.resumable.SECONDS_BETWEEN_SAVES", -1)
    config = configure()
    train = prepare_data(config).train
    model = MODELS["LightGCN"](config, train)
    trainer = ResumableTrainer(config, model, "original")
    checkpoint.save(trainer.resume_file, {**trainer._state(), "optimizer": trainer.optimizer.state_dict()})
    assert found(tmp_path / "saved", NOTHING) == [("original.pth.resume", "state_dict without tokens", 2)]
    sum(parameter.sum() for parameter in model.parameters()).backward()
    trainer.optimizer.step()
    checkpoint.save(trainer.resume_file, {**trainer._state(), "optimizer": trainer.optimizer.state_dict()})
    assert found(tmp_path / "saved", NOTHING)[0] == ("original.pth.resume", "optimiser state", 4)


@pytest.mark.parametrize(
    "content, expected",
    [
        (torch.nn.Embedding(5, 2), [("pickled: delete it, or waive it by name", 1)]),
        (torch.nn.Embedding(5, 2).state_dict(), [("weights without tokens", 1)]),
        ({"other_parameter": {"restore_user_e": torch.ones(3, 2), "restore_item_e": None}}, [("restore_user_e", 1)]),
        ({"other_parameter": {"restore_user_e": torch.ones(0, 2)}, "optimizer": {"state": {}, "param_groups": []}}, []),
        ({"optimizer": {"user": {"state": {0: {"exp_avg": torch.ones(2, 2)}}}}}, [("optimiser state", 1)]),
        ({"config": {"optimizer": "adam"}, "epoch": 3, "loss": torch.tensor(0.5)}, []),
    ],
)
def test_other_states_of_training(tmp_path, content, expected):
    torch.save(content, tmp_path / "a.pth")
    assert [(place, count) for _, place, count in found(tmp_path, NOTHING)] == expected


def test_a_model_file_with_an_optimiser(model_file):
    def add(state):
        state["optimizer"] = {"state": {0: {"exp_avg": torch.ones(41, 8)}}}

    assert found(model_file(add, "model.pth", checkpoint.save), NOTHING) == [("model.pth", "optimiser state", 1)]


def test_more_than_a_model_in_its_file(model_file):
    def add(state):
        state["forgotten"] = ["17", "x"]

    path = model_file(add, "model.pth", checkpoint.save)
    assert found(path, forgets(users={"17"})) == [("model.pth", "more than a model", 1)]


@pytest.mark.parametrize(
    "content, expected",
    [
        ({"user_id": ["u2", "u1"], "item_id": ["i1", "i2"]}, [("settings and names", 1)]),
        ({"log": [{"user_id": "u1", "item_id": "i1"}]}, [("settings and names", 1)]),
        ({"a": {"user_id": torch.arange(3), "item_id": torch.arange(3)}}, [("ids without tokens", 3)]),
        ({"user_id": "token", "item_id": "token", "columns": ["user_id", "item_id"]}, []),
    ],
)
def test_plain_data_of_torch(tmp_path, content, expected):
    torch.save(content, tmp_path / "a.pth")
    assert [(place, count) for _, place, count in found(tmp_path, U1)] == expected


@pytest.mark.parametrize("save", [lambda content, file: pickle.dump(content, open(file, "wb")), torch.save])
@pytest.mark.parametrize("name", ["bomb.pth", "bomb"])
def test_bombs_do_not_go_off(tmp_path, monkeypatch, save, name):
    monkeypatch.chdir(tmp_path)
    save({"user_id": ["u1"], "item_id": ["i1"], "x": Touch()}, name)
    assert found(".", U1) == [(name, "pickled: delete it, or waive it by name", 1)]
    assert os.listdir() == [name]


def planted(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def places(result):
    return [finding.place for finding in result.findings], [reason for _, reason in result.not_searched]


@pytest.mark.parametrize("name", leftovers.PAIRS)
def test_pairs_are_found_in_any_format(tmp_path, name):
    planted(tmp_path, name, leftovers.PAIRS[name])
    pair, user = forgets(pairs={(leftovers.USER, leftovers.ITEM)}), forgets(users={leftovers.USER})
    for sought in (pair, user):
        result = scan(str(tmp_path), sought)
        assert result.findings and all(finding.sure for finding in result.findings), places(result)
    crossed = forgets(
        pairs={(leftovers.USER, "disc.4"), ("bo-1", leftovers.ITEM)}, users={"disc.23"}, items={leftovers.USER}
    )
    if name in PRECISE:
        assert scan(str(tmp_path), crossed).is_clean()


@pytest.mark.parametrize("name", leftovers.USERS)
def test_users_are_found_in_any_text(tmp_path, name):
    planted(tmp_path, name, leftovers.USERS[name])
    assert scan(str(tmp_path), forgets(users={leftovers.USER})).findings
    if name not in BY_PARTS:
        assert scan(str(tmp_path), forgets(users={"ana", "17", "na-17"})).findings == [], (
            "part of a token is another token"
        )


@pytest.mark.parametrize("name", leftovers.OPAQUE)
def test_what_nobody_can_tell_is_not_clean(tmp_path, name):
    planted(tmp_path, name, leftovers.OPAQUE[name])
    result = scan(str(tmp_path), NOTHING)
    assert not result.is_clean()


@pytest.mark.parametrize("name", leftovers.CLEAN)
def test_clean_files_are_clean(tmp_path, name):
    planted(tmp_path, name, leftovers.CLEAN[name])
    result = scan(str(tmp_path), forgets(users={leftovers.USER}, pairs={(leftovers.USER, leftovers.ITEM)}))
    assert result.is_clean() and len(result.files) == 1, places(result)
