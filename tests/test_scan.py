"""Leftovers of every kind are found where they were planted, clean files give none, and what nobody reads is not called
clean."""

import csv
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
from recbole.config import Config as RecBoleConfig
from recbole.data.dataset import Dataset as RecBoleDataset
from recbole.data.utils import data_preparation
from recbole.model.general_recommender import LightGCN as RecBoleLightGCN
from recbole.trainer import Trainer
from safetensors.numpy import save as save_tensors
from test_checkpoint import Touch

from recbole_unlearn.deletion.verify.findings import Finding, waived
from recbole_unlearn.deletion.verify.parts import PICKLED
from recbole_unlearn.deletion.verify.search import scan
from recbole_unlearn.deletion.verify.sought import WORDS_ARE_HASHED, Sought, hashes_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import checkpoint
from recbole_unlearn.model_file import write_content

PRECISE = {"rows.inter", "swapped.inter", "known.jsonl", "rows.parquet", "rows.db", "columns.json"}
# Names, and runs of bytes.
BY_PARTS = {f"export-{leftovers.USER}.csv", "named.zip", "tensor-name.safetensors", "words-utf-16.bin"}


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


JSON_LINES = "\n".join(
    ('{"user_id": 7, "item_id": "i1"}', "", '{"user_id": "u1", "item_id": 3.0, "x": [1]}', '{"item_id": "u1"}')
)
PAIRS = "user_id:token\titem_id:token\nu1\ti1\nu1\ti2\nu2\ti1\n"
LIKE_NUMBERS = "user_id,item_id\nNA,1\n007,1.0\nnull,True\n"


@pytest.mark.parametrize(
    "content, sought, place",
    [
        (JSON_LINES, forgets(items={"i1"}), "row 1"),
        (JSON_LINES, forgets(pairs={("7", "i1"), ("u1", "3.0")}), "row 1 and 1 more"),
        (PAIRS, forgets(pairs={("u1", "i1")}), "row 2"),
        (PAIRS, forgets(items={"i1"}), "row 2 and 1 more"),
        (LIKE_NUMBERS, forgets(users={"NA"}), "row 2"),
        (LIKE_NUMBERS, forgets(users={"007"}), "row 3"),
        (LIKE_NUMBERS, forgets(users={"null"}), "row 4"),
        (LIKE_NUMBERS, forgets(items={"1.0"}), "row 3"),
        (LIKE_NUMBERS, forgets(items={"1"}), "row 2 and 1 more"),  # 1.0 is 1 that went through a float
    ],
)
def test_tokens_are_compared_as_written(write, content, sought, place):
    assert [where for _, where, _ in found(write("a", content), sought)] == [place]


def test_other_names_of_the_ids(write):
    path = write("a.inter", "uid:token\tiid:token\nu2\ti1\nu1\ti2\n")
    assert found(path, U1, ("uid", "iid")) == [("a.inter", "row 3", 1)]


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


def test_json_in_one_long_line(write):
    csv.field_size_limit(2**17)  # Python's own, which an earlier table may have raised
    path = write("a.json", json.dumps([{"user": "u2", "note": "x" * 2**18}, {"user": "u1"}]))
    assert found(path, U1) == [("a.json", "record 2", 1)]


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.db", b"SQLite format 3\0", "cannot be read to its end (DatabaseError)"),
        ("a.npy", b"\x93NUMPY", "cannot be read to its end (ValueError)"),
        ("a.png", b"\x89\0\xff", "of no known format"),
        ("key", bytes(range(32)), "of no known format"),
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
    with pytest.raises(UsageError, match="nothing to scan at 'gone'"):
        scan("gone", NOTHING)


def table(size, *rows_to_values):
    values = torch.arange(2.0 * size).reshape(size, 2) + 1
    for rows, value in rows_to_values:
        values[list(rows)] = value
    return values


def content_of_model(users=(), items=(), n_users=5, n_items=4, **changes):
    """Two edges a user; users and items given by number have lost their tokens and their rows."""
    sides = {"user": (users, n_users), "item": (items, n_items)}
    content = {
        f"{side}_tokens": [None if at in gone else f"{side[0]}{at}" for at in range(size)]
        for side, (gone, size) in sides.items()
    }
    weights = {f"{side}_embedding.weight": table(size, (gone, 0)) for side, (gone, size) in sides.items()}
    ends = [(user, item) for user in range(n_users) for item in (user % n_items, (user + 1) % n_items)]
    edges = torch.tensor([pair for pair in ends if pair[0] not in users and pair[1] not in items], dtype=torch.int32).T
    return {"config": {"model": "BPR"}, "state_dict": weights, "edges": edges, **content, **changes}


@pytest.fixture(
    params=[("model.safetensors", write_content), ("model.pth", checkpoint.save)], ids=["safetensors", "pth"]
)
def model(request, tmp_path):
    """Search a model file with this content, of this release or an earlier one: ``model(content, sought)``."""
    name, save = request.param

    def search(content, sought=NOTHING):
        save(tmp_path / name, content)
        return [(place, count) for _, place, count in found(tmp_path / name, sought)]

    return search


def test_edges_and_tokens_of_a_model_file(model):
    content = content_of_model(users={1})
    assert model(content, forgets(users={"u1"}, pairs={("u2", "i4"), ("u1", "i1")})) == []
    assert model(content, forgets(pairs={("u2", "i2"), ("u2", "i3")})) == [("edges", 2)]
    assert model(content, forgets(users={"u2"})) == [("edges", 2), ("tokens", 1)]
    assert model(content, forgets(users={"u2"}, items={"i2"})) == [("edges", 2), ("tokens", 2)]
    content["edges"][0, 0] = 1
    assert model(content) == [("edges of erased users or items", 1)]
    content["config"]["note"] = "as u1 wished"
    assert model(content, U1)[0][0].startswith("settings")


def test_a_broken_model_file_is_found(model):
    ((place, count),) = model(content_of_model(user_tokens=["u0"]))
    assert count == 0 and place.startswith("cannot be read to its end")
    assert model(content_of_model(users=(1, 2), state_dict={"weight": table(5, ((1, 2), torch.nan))}))


@pytest.mark.parametrize("more", [{"optimizer": {}}, {"forgotten": ["17", "x"]}])
def test_more_than_a_model_in_its_file(tmp_path, more):
    checkpoint.save(tmp_path / "model.pth", content_of_model(**more))
    assert found(tmp_path, NOTHING) == [("model.pth", PICKLED, 1)]


@pytest.mark.parametrize("length", [376, 384])
def test_a_header_of_any_length(write, length):
    """The length comes first: these begin as zlib does, or as a pickle."""
    tensors = {"numbers": np.arange(3)}
    missing = length - int.from_bytes(save_tensors(tensors, {"pad": ""})[:8], "little")
    path = write("a.safetensors", save_tensors(tensors, {"pad": "x" * missing}))
    assert found(path, NOTHING) == []
    assert found(path, forgets(users={"2"})) == [("a.safetensors", "numbers of numbers", 1)]


ONE, NO_EDGES = torch.tensor([7.0, 8.0]), torch.empty(2, 0, dtype=torch.int32)
U12, I13 = {"users": (1, 2)}, {"items": (1, 3)}


@pytest.mark.parametrize(
    "gone, name, weights, count",
    [
        *((U12, "user_embedding.weight", table(5, ((1, 2), value)), 0) for value in (0, ONE, -ONE)),
        (I13, "item_embedding.weight", table(4, ((1, 3), ONE)), 0),
        (U12 | I13, "ego", table(9, ((1, 2), ONE), ((6, 8), ONE + 1)), 0),
        (U12, "user_embedding.weight", table(5), 2),
        (U12, "user_embedding.weight", table(5, ((1,), 0)), 2),
        (I13, "ego", table(9, ((6,), 0)), 2),
        (U12 | I13, "ego", table(9, ((1, 2), 0)), 2),
        (U12, "bias", torch.arange(5.0), 2),
        (U12, "half", table(5).half(), 2),
        # a single erased row must be zero or somebody else's
        ({"users": (2,)}, "weight", table(5), 1),
        ({"users": (2,)}, "weight", table(5, ((2,), 0)), 0),
        ({"users": (2,)}, "weight", table(5, ((2,), table(5)[0])), 0),
        # other tensors of a model
        *(
            (U12 | I13, "other", other, 0)
            for other in (table(7), torch.tensor(1.0), torch.arange(5), torch.empty(0, 2))
        ),
    ],
)
def test_rows_of_erased_nodes_must_be_alike(model, gone, name, weights, count):
    content = content_of_model(**gone, edges=NO_EDGES, state_dict={name: weights})
    assert model(content) == ([(f"rows of {name}", count)] if count else [])


@pytest.mark.parametrize("name, count", [("user.weight", 2), ("item.weight", 0), ("weight", 2)])
def test_as_many_users_as_items(model, name, count):
    content = content_of_model(**U12, n_users=3, n_items=3, edges=NO_EDGES, state_dict={name: table(3)})
    assert model(content) == ([(f"rows of {name}", count)] if count else [])


@pytest.mark.parametrize(
    "changes, count",
    [
        ({}, 2),
        ({(1, 1): 0.5, (3, 3): 0.5, (0, 0): 0.5}, 0),
        ({(1, 1): 0.5, (3, 3): 0.5}, 0),  # each other's
        ({(1, 1): 0.5, (3, 3): 0.4}, 2),
        ({(1, 1): 0.5, (3, 3): 0.5, (1, 2): 0.1}, 2),
        ({(1, 1): 0.5, (3, 3): 0.5, (2, 1): 0.1}, 2),  # in a column
    ],
)
def test_a_fit_s_square_tables_are_of_items(model, changes, count):
    """With as many users as items; erased users do not matter."""
    inverse = torch.arange(16.0).reshape(4, 4) + 1
    if changes:
        inverse[[1, 3]] = inverse[:, [1, 3]] = 0
        for place, value in changes.items():
            inverse[place] = value
    gone = {"users": (1, 2), "items": (1, 3), "n_users": 4}
    content = content_of_model(**gone, edges=NO_EDGES, config={"model": "EASE"}, state_dict={"inverse": inverse})
    assert model(content) == ([("rows of inverse", count)] if count else [])


def test_what_recbole_pickles_is_found(stock, tmp_path):
    dataset = RecBoleDataset(stock)
    dataset.save()
    train_data, valid_data, _ = data_preparation(stock, dataset)
    trainer = Trainer(stock, RecBoleLightGCN(stock, train_data.dataset))
    trainer.fit(train_data, valid_data, verbose=False)
    places = {place for _, place, _ in found(tmp_path / "saved", NOTHING)}
    assert len(os.listdir(tmp_path / "saved")) == 3 and places == {PICKLED}


@pytest.mark.parametrize("save", [lambda content, file: pickle.dump(content, open(file, "wb")), torch.save])
@pytest.mark.parametrize("name", ["bomb.pth", "bomb"])
def test_bombs_do_not_go_off(tmp_path, monkeypatch, save, name):
    monkeypatch.chdir(tmp_path)
    save({"user_id": ["u1"], "item_id": ["i1"], "x": Touch()}, name)
    assert found(".", U1) == [(name, PICKLED, 1)]
    assert os.listdir() == [name]


def places(result):
    return [finding.place for finding in result.findings], [reason for _, reason in result.not_searched]


@pytest.mark.parametrize("name", leftovers.PAIRS)
def test_pairs_are_found_in_any_format(tmp_path, write, name):
    write(name, leftovers.PAIRS[name])
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
def test_users_are_found_in_any_text(tmp_path, write, name):
    write(name, leftovers.USERS[name])
    assert scan(str(tmp_path), forgets(users={leftovers.USER})).findings
    if name not in BY_PARTS:
        assert scan(str(tmp_path), forgets(users={"ana", "17", "na-17"})).findings == [], (
            "part of a token is another token"
        )


@pytest.mark.parametrize("name", leftovers.OPAQUE)
def test_what_nobody_can_tell_is_not_clean(tmp_path, write, name):
    write(name, leftovers.OPAQUE[name])
    assert not scan(str(tmp_path), NOTHING).is_clean()


@pytest.mark.parametrize("name", leftovers.CLEAN)
def test_clean_files_are_clean(tmp_path, write, name):
    write(name, leftovers.CLEAN[name])
    result = scan(str(tmp_path), forgets(users={leftovers.USER}, pairs={(leftovers.USER, leftovers.ITEM)}))
    assert result.is_clean() and len(result.files) == 1, places(result)
