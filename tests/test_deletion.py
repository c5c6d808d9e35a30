"""Real deletion requests against a saved model: what is named is gone, everything else stays, and receipts say so."""

import csv
import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch
from conftest import tiny_rows, write_atomic
from recbole.model.general_recommender import BPR
from recbole.model.general_recommender import SGL as RecBoleSGL
from recbole.model.general_recommender import LightGCN as RecBoleLightGCN
from served import (
    PARTS,
    as_typed,
    check_version,
    contents,
    current,
    data_of,
    edges_of,
    item,
    pairs,
    scores_of,
    train,
    user,
    without,
)
from test_cli import SCRIPT
from test_stock_checkpoint import GNN, SimGCL, gnn_class, installed, unknown_class  # noqa: F401  (fixtures)
from test_stock_checkpoint import trained as stock  # noqa: F401
from test_store import everything, fork, forking

import recbole_unlearn
from recbole_unlearn.config import Config
from recbole_unlearn.data.split import evaluation_loaders, split
from recbole_unlearn.deletion import service
from recbole_unlearn.deletion.importing.checkpoint import import_checkpoint
from recbole_unlearn.deletion.receipt.contents import size_class
from recbole_unlearn.deletion.requests import DeletionRequest, read_requests
from recbole_unlearn.deletion.revision.retrain import retrained
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.version.encoder_file import read_plain
from recbole_unlearn.deletion.version.state import State
from recbole_unlearn.errors import FailedChecks, UsageError
from recbole_unlearn.model import MODELS
from recbole_unlearn.model_file import load_model, read_content, save_model, write_content
from recbole_unlearn.saved_model import load_current
from recbole_unlearn.trainer import train_backbone


@pytest.fixture
def store(path):
    return service.prepare(path)


def version_numbers(path):
    return [version.number for version in service.prepare(path).versions()]


PAIR = ("u0", "i3")  # of the training data

# What is gone, and what stays

IN_PART = {part: f"a pair of {part}" for part in PARTS}
REQUESTS = {
    "pairs": lambda data: pairs("r1", *(rows[0] for rows in data.values())),
    "user": lambda data: user("r1", "u17"),
    "item": lambda data: item("r1", "i23"),
    "all": lambda data: DeletionRequest(
        "r1", [("user", "u17", None), ("item", None, "i23"), ("interaction", *data["train"][0]), ("user", "u999", None)]
    ),
    **{what: lambda data, part=part: pairs("r1", data[part][-1]) for part, what in IN_PART.items()},
    "all of a user's pairs": lambda data: pairs(
        "r1", *(row for rows in data.values() for row in rows if row[0] == "u17")
    ),
    "half of the users": lambda data: DeletionRequest("r1", [("user", f"u{i}", None) for i in range(20)]),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_exactly_what_is_named_is_gone(store, path, what):
    before = data_of(current(path))
    assert {part: len(rows) for part, rows in before.items()} == {"train": 320, "valid": 40, "test": 40}
    check_version(current(path), before)
    request = REQUESTS[what](before)
    remaining = without(before, request)
    assert sum(map(len, remaining.values())) < 400
    result = service.unlearn(path, [request])
    assert result["version"] == 2 and result["status"] == {"r1": "new"}
    assert result["model"] == str(current(path) / "model.safetensors") and result["store"] == store.folder
    check_version(current(path), remaining)


@pytest.mark.parametrize("what", ["train", "valid", "test"])
def test_held_out_rows_move_no_other_row_of_the_table(store, path, what):
    request = pairs("r1", data_of(current(path))[what][0])
    before = read_content(current(path) / "model.safetensors")["state_dict"]
    service.unlearn(path, [request])
    after = read_content(current(path) / "model.safetensors")["state_dict"]
    assert all(torch.equal(before[name], after[name]) for name in before) == (what != "train")


@pytest.mark.parametrize("what, tokens", [("user", ["u17"]), ("item", ["i23"]), ("all of a user's pairs", ["u17"])])
def test_no_byte_names_the_erased(store, path, what, tokens):
    before = data_of(current(path))
    assert all(any(token.encode() in content for content in contents(current(path)).values()) for token in tokens)
    service.unlearn(path, [REQUESTS[what](before)])
    old = Path("versions", "0001")
    files = {name: content for name, content in contents(store.folder).items() if old not in Path(name).parents}
    assert {"store.db", "receipts/r1.json", "receipts/r1.html", "versions/0002/model.safetensors"} <= set(files)
    assert [name for name, content in files.items() if any(token.encode() in content for token in tokens)] == []


def test_erased_keep_nothing_but_their_place(store, path):
    first = read_content(current(path) / "model.safetensors")
    service.unlearn(path, [user("r1", "u17"), item("r2", "i23")])
    now = read_content(current(path) / "model.safetensors")
    for side, token in (("user", "u17"), ("item", "i23")):
        tokens, place = first[f"{side}_tokens"], first[f"{side}_tokens"].index(token)
        assert now[f"{side}_tokens"] == [*tokens[:place], None, *tokens[place + 1 :]]
        before, after = (state["state_dict"][f"{side}_embedding.weight"] for state in (first, now))
        assert not torch.equal(before[place], before[0]) and torch.equal(after[place], after[0])
    encoder = read_plain(current(path) / "encoder.safetensors")
    places = [first["user_tokens"].index("u17"), len(first["user_tokens"]) + first["item_tokens"].index("i23")]
    assert (encoder["gain"][places] == 0).all() and (encoder["cost"][places] == 0).all()


def test_a_forgotten_pair_scores_lower(store, path):
    """Compared with what the model alone gives, without the edge: the row is revised, not the graph only."""
    edges, before = edges_of(current(path)), load_model(str(current(path) / "model.safetensors"))[1]
    service.unlearn(path, [pairs("r1", *edges[:40:4])])
    after = load_model(str(current(path) / "model.safetensors"))[1]
    dropped = before.revised(before.ego_embeddings(), after.graph)
    ends = before.graph.users[:40:4], before.graph.items[:40:4]
    assert scores_of(after)[ends].mean() < scores_of(dropped)[ends].mean() < scores_of(before)[ends].mean()


def test_the_old_version_is_quarantined_and_still_loads(store, path):
    before = contents(current(path))
    service.unlearn(path, [user("r1", "u17")], {"unlearn_quarantine_days": 3})
    first, second = store.versions()
    assert contents(first.folder) == before and second.quarantined_until is None
    due = datetime.fromisoformat(first.quarantined_until) - datetime.now(timezone.utc)
    assert timedelta(days=3, minutes=-5) < due <= timedelta(days=3)
    assert "u17" in load_model(str(Path(first.folder, "model.safetensors")))[2]["user"]


AT_ONCE = {"unlearn_grace_seconds": 0}


def test_a_version_stays_for_a_while_as_somebody_may_be_reading_it(store, path):
    none = {"unlearn_quarantine_versions": 0, "unlearn_quarantine_days": 0}
    receipt = service.unlearn(path, [user("r1", "u1")], none)["receipts"]["r1"]
    assert version_numbers(path) == [1, 2] and [entry["version"] for entry in receipt["quarantined"]] == [1]
    due = datetime.fromisoformat(receipt["quarantined"][0]["until"]) - datetime.now(timezone.utc)
    assert timedelta(seconds=500) < due <= timedelta(seconds=601) and service.verify(path).findings == []
    with store.locked(0):
        moment = datetime.now(timezone.utc)
        assert store.purge(moment + timedelta(seconds=500), keep=0, grace_seconds=600) == []
        assert store.purge(moment + timedelta(seconds=601), keep=0, grace_seconds=600) == [1]


@pytest.mark.parametrize("keep, left", [(0, [4]), (1, [3, 4]), (3, [1, 2, 3, 4])])
def test_only_some_old_versions_stay(store, path, keep, left):
    for number in range(3):
        service.unlearn(path, [user(f"r{number}", f"u{number}")], {"unlearn_quarantine_versions": keep, **AT_ONCE})
    assert version_numbers(path) == left
    assert sorted(os.listdir(Path(store.folder, "versions"))) == [f"{number:04d}" for number in left]
    listed = [entry["version"] for entry in store.receipt("r2")["quarantined"]]
    assert listed == left[:-1], "A receipt names the versions that still hold what is forgotten"


# Receipts


def test_receipts(store, path):
    before = data_of(current(path))
    both = [REQUESTS["all"](before), pairs("r2", before["valid"][3], ("u1", "nothing"))]
    service.unlearn(path, both)
    batch = json.loads(Path(store.folder, "receipts", "batches", "0001.json").read_text())
    first, second = ({**batch, **own} for own in batch.pop("requests"))
    assert (first, second) == (store.receipt("r1"), store.receipt("r2"))
    found = [(row["scope"], row["found"]) for row in first["rows"]]
    assert found == [("interaction", True), ("item", True), ("user", True), ("user", False)]
    n_named = 1 + sum((row[0] == "u17") + (row[1] == "i23") for rows in before.values() for row in rows)
    counts = {"rows": 4, "found": 3, "not_found": 1, "interactions": "10-99", "users_erased": 1, "items_erased": 1}
    assert first["counts"] == counts and first["batch"] == second["batch"] == 2
    assert 10 <= n_named <= 99 and second["counts"]["interactions"] == "1-9" and second["counts"]["not_found"] == 1
    assert first["outcome"] == second["outcome"] == "forgotten" and first["method"] == "UnlearnRec zero-shot"
    assert first["rows"][2]["hash"] == store.keyed_hash("user", "u17", None)
    assert [entry["leftovers"] for entry in first["artefacts"]] == [0] * 5
    assert [check["passed"] for check in first["checks"]] == [True] * 6
    for entry, version in zip((first["parent"], first["child"]), store.versions()):
        assert entry == {"version": version.number, "sha256": version.files["model.safetensors"]}
    assert [entry["version"] for entry in first["quarantined"]] == [1]
    page = Path(store.folder, "receipts", "batches", "0001.html").read_text()
    assert "10-99" in page and "r2" in page and os.listdir(Path(store.folder, "receipts")) == ["batches"]


def test_a_version_that_fails_its_checks_is_kept_aside(store, path):
    rest, aside = {"unlearn_least_utility": 1}, Path(store.folder, "versions", "0002.failed")
    write_atomic(Path("requests.inter").absolute(), [(f"u{i}", "") for i in range(1, 15)])
    before = contents(current(path).resolve())
    code, out, err = as_typed(f"--checkpoint={path}", "--forget_file=requests.inter", "--unlearn_least_utility=1")
    assert code == 1 and err.count("\n") == 1 and str(aside) in err and "fails a check: NDCG@20" in err
    assert "u14" not in out + err
    assert contents(current(path).resolve()) == before and version_numbers(path) == [1]
    assert "model.safetensors" in contents(aside) and [r["status"] for r in store.requests()] == ["failed"]
    assert "NDCG@20" in store.requests()[0]["reason"]

    code, out, _ = as_typed(f"--checkpoint={path}")
    assert code == 4 and "1 requests have failed and wait" in out and aside.exists()
    with pytest.raises(FailedChecks) as error:  # a new one is not held up by those that are submitted again
        new = pairs("new", next(row for row in data_of(current(path))["test"] if row[0] == "u30"))
        service.unlearn(path, [new, *read_requests("requests.inter", "user_id", "item_id")], rest)
    assert error.value.checks == ["NDCG@20 after over before, on validation data"]
    assert store.receipt("new")["outcome"] == "forgotten" and version_numbers(path) == [1, 2]
    assert sorted(os.listdir(Path(store.folder, "versions"))) == ["0001", "0002", "0003.failed"]
    assert error.value.folder == str(aside.with_name("0003.failed"))
    result = service.unlearn(path, [], rest, force=True)
    assert (result["version"], result["waiting"]) == (3, 0) and result["failed_checks"] == error.value.checks
    assert sorted(os.listdir(Path(store.folder, "versions"))) == ["0001", "0002", "0003"]
    assert store.counts()["failed"] == 0
    gone = {f"u{i}" for i in range(1, 15)}
    assert not any(user in gone for rows in data_of(current(path)).values() for user, _ in rows)
    assert service.unlearn(path)["failed_checks"] == [], "told once"


def test_a_retraining_that_fails_its_checks_is_not_repeated_to_force_it(store, path):
    with pytest.raises(FailedChecks, match="with --force"):
        service.unlearn(path, [user("r1", "u17")], {"unlearn_least_utility": 1, "epochs": 1}, exact=True)
    training = Path(store.folder, "work", "training")
    before = {file: file.stat().st_mtime_ns for file in training.iterdir()}
    assert before and store.counts()["failed"] == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recbole_unlearn.trainer.resumable.ResumableTrainer._train_epoch", pytest.fail)
        result = service.unlearn(path, [], {"unlearn_least_utility": 1, "epochs": 1}, exact=True, force=True)
    assert store.current().method == "Retrain" and result["version"] == 2 and not training.exists()


@pytest.fixture(scope="module")
def awkward(tmp_path_factory):
    """A checkpoint whose source is read with every setting that a store must not depend on; some pairs are there twice."""
    folder = tmp_path_factory.mktemp("awkward")
    file = folder / "data" / "tiny" / "tiny.inter"
    file.parent.mkdir(parents=True)
    rows = [(AWKWARD_USER.format(user), f"ü {item}", "3.5") for user, item in tiny_rows()]
    rows += rows[::9] + rows[::18]
    left_out = [(rows[0][0], "too rare", "3.5"), (*rows[1][:2], "0.5")]
    with open(file, "w", encoding="latin-1", newline="") as stream:
        stream.write("user:token,thing:token,rating:float\n")
        csv.writer(stream).writerows(rows + left_out)
    settings = {
        "USER_ID_FIELD": "user",
        "ITEM_ID_FIELD": "thing",
        "field_separator": ",",
        "encoding": "latin-1",
        "seq_separator": "|",
        "load_col": {"inter": ["user", "thing", "rating"]},
        "val_interval": {"rating": "[1,inf)"},
        "item_inter_num_interval": "[2,inf)",
        "numerical_features": ["rating"],
        "normalize_field": ["rating"],
        "alias_of_item_id": [],
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "mode": "full", "group_by": "user"},
    }
    return train(folder, str(folder / "data"), **settings), [row[:2] for row in rows]


AWKWARD_USER = 'Frau {}, "née" Å'


def test_a_store_does_not_depend_on_how_its_source_is_read(awkward, tmp_path, monkeypatch):
    """Whatever the separator, the encoding, the filters and the names; repeated interactions stay, and go together."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("saved")
    path = shutil.copy(awkward[0], tmp_path / "saved")
    store = service.prepare(path)
    first = data_of(current(path))
    assert sorted(row for rows in first.values() for row in rows) == sorted(awkward[1])
    check_version(current(path), first)
    twice = next(row for row in first["train"] if first["train"].count(row) > 1)
    gone = [user("r1", AWKWARD_USER.format("u17")), pairs("r2", twice)]
    result = service.unlearn(path, gone)
    remaining = without(first, *gone)
    check_version(current(path), remaining)
    n_gone = sum(rows.count(twice) for rows in first.values())
    assert n_gone > 1 and result["receipts"]["r2"]["counts"]["interactions"] == size_class(n_gone)
    n_rows = [sum(map(len, data.values())) for data in (first, remaining)]
    assert store.current().details["drift"]["interactions"] == n_rows[0] - n_rows[1]

    gone.append(item("r3", "ü i23"))
    assert service.unlearn(path, gone, exact=True)["receipts"]["r3"]["method"] == "Retrain"
    remaining = without(first, *gone)
    check_version(current(path), remaining)
    assert store.current().details["trained_on"] == sum(map(len, remaining.values()))
    _, model, _ = load_model(str(current(path) / "model.safetensors"))
    busy = model.graph.degrees() > 0
    assert len(model.ego_embeddings()[busy].unique(dim=0)) == busy.sum() > 60

    erased = service.unlearn(path, [pairs("r4", remaining["train"][0])])["receipts"]["r4"]  # by another encoder
    assert [entry["leftovers"] for entry in erased["artefacts"]] == [0] * 5 and service.verify(path).findings == []
    counts = Path(store.current().folder, "counts.safetensors")
    assert counts.exists()
    assert {*map(len, map(set, data_of(current(path)).values()))} != {*map(len, data_of(current(path)).values())}


def read_for_ever(folder, pipe):
    """Read the current version again and again; send how often, and what did not go together."""
    torch.set_num_threads(1)
    seen, mixed = set(), []
    while not pipe.poll():
        read = load_current(folder, data=True)
        ends = read.model.graph.users.tolist(), read.model.graph.items.tolist()
        edges = sorted((read.tokens["user"][user], read.tokens["item"][item]) for user, item in zip(*ends))
        if edges != sorted(read.data["train"][["user_id", "item_id"]].itertuples(index=False, name=None)):
            mixed.append(read.version)
        seen.add(read.version)
    pipe.send((seen, mixed))


def test_a_reader_never_sees_parts_of_two_versions(store, path):
    data, (pipe, other_end) = data_of(current(path)), forking.Pipe()
    process, none = fork(read_for_ever, store.folder, other_end), {"unlearn_quarantine_versions": 0, **AT_ONCE}
    for number in range(12):
        service.unlearn(path, [pairs(f"r{number}", data["train"][number])], none)
    pipe.send("stop")
    seen, mixed = pipe.recv()
    process.join()
    assert mixed == [] and len(seen) > 2 and process.exitcode == 0
    assert version_numbers(path) == [13] and load_current(store.folder).data is None


def swap_tokens(folder):
    """Everybody is somebody else."""
    content = read_content(folder / "model.safetensors")
    content["user_tokens"][1:3] = content["user_tokens"][2:0:-1]
    write_content(folder / "model.safetensors", content)


def one_row(after):
    """All rows of the table are the same one."""
    ego = after.model.ego_embeddings().detach()
    return dataclasses.replace(after, model=after.model.revised(ego[5].expand(len(ego), -1), after.model.graph))


def without_last(folder, part="test"):
    file = Path(folder, "data", "tiny", f"tiny.{part}.inter")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def with_row(folder, part, *row):
    with open(Path(folder, "data", "tiny", f"tiny.{part}.inter"), "a") as file:
        file.write("\t".join(row) + "\n")


SPOILT = {  # a bug of a revision, and the check that stops it
    "a row too few": (without_last, "everything else"),
    "a training row too few": (lambda folder: without_last(folder, "train"), "everything else"),
    "other tokens": (swap_tokens, "everything else"),
    "a row too many": (lambda folder: with_row(folder, "train", "u5", "i4"), "everything else"),
    "a forgotten row": (lambda folder: with_row(folder, "valid", "u17", "i4"), "nothing forgotten"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_version_with_other_files_than_it_should_have_is_not_published(store, path, what, monkeypatch):
    spoil, check = SPOILT[what]
    write, before = State.write, contents(current(path).resolve())
    monkeypatch.setattr(State, "write", lambda *arguments: (write(*arguments), spoil(Path(arguments[1]))))
    pair = next(row for row in data_of(current(path))["valid"] if row[0] == "u17")
    with pytest.raises(FailedChecks, match=f"fails a check: {check}"):
        service.unlearn(path, [user("r1", "u17"), pairs("r2", ("u17", "i4"), pair)])
    assert contents(current(path).resolve()) == before and version_numbers(path) == [1]


@pytest.mark.parametrize("exact", [False, True])
def test_a_version_whose_rows_are_all_the_same_is_not_published(store, path, exact, monkeypatch):
    place = "revision.revise.retrained" if exact else "version.state.State.without"
    original = retrained if exact else State.without
    monkeypatch.setattr(f"recbole_unlearn.deletion.{place}", lambda *arguments: one_row(original(*arguments)))
    with pytest.raises(FailedChecks, match="different rows of users and items with training data that are lost"):
        service.unlearn(path, [user("r1", "u17")], {"unlearn_least_utility": 1e-9}, exact=exact)
    assert version_numbers(path) == [1]


def test_a_checkpoint_whose_rows_are_not_all_different_makes_no_store(path):
    change = read_content(path)
    change["state_dict"]["user_embedding.weight"][9] = change["state_dict"]["user_embedding.weight"][12]
    write_content(path, change)
    with pytest.raises(UsageError, match="69 different rows for 70 users and items with training data.*--force"):
        service.prepare(path)
    assert not os.path.exists(service.store_folder(path)) and service.prepare(path, force=True).current().number == 1


def test_settings_of_the_revision_are_those_given(store, path):
    _, before, _ = load_model(str(current(path) / "model.safetensors"))
    request, moved = pairs("r1", *data_of(current(path))["train"][::10]), []
    for passes, weight in ((1, 0.3), (3, 0.3), (3, 1.0)):
        other = Path(shutil.copytree("saved", f"passes-{passes}-{weight}", symlinks=True), "X.safetensors")
        service.unlearn(other, [request], {"ie_passes": passes, "ie_change_weight": weight})
        config, model, _ = load_model(str(current(other) / "model.safetensors"))
        assert (config["ie_passes"], config["ie_change_weight"]) == (passes, weight)
        moved.append(model.ego_embeddings() - before.ego_embeddings())
    assert not any(torch.equal(*some) for some in itertools.combinations(moved, 2))


def test_a_model_whose_buffers_remember_the_erased_is_kept_aside(tmp_path, data_path, monkeypatch):
    class Remembers(MODELS["LightGCN"]):
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.register_buffer("memory", torch.ones(self.n_users, 2))

    monkeypatch.setitem(MODELS._classes, "Remembers", Remembers)
    path = train(tmp_path, data_path, "Remembers")
    row = data_of(Path(service.prepare(path).folder, "current"))["train"][0]
    assert service.unlearn(path, [pairs("r0", row)])["failed_checks"] == [], "nobody is erased"
    with pytest.raises(FailedChecks) as error:
        service.unlearn(path, [user("r1", "u3")])
    assert error.value.checks == ["nothing forgotten in the new version's files"]


def test_the_checkpoint_alone_finishes_requests_and_ends_quarantine(store, path):
    service.unlearn(path, [user("r1", "u17")], {"unlearn_quarantine_days": 0, **AT_ONCE})
    with store.locked(0):
        store.submit([user("r2", "u18")])
    code, out, _ = as_typed(f"--checkpoint={path}", "--unlearn_grace_seconds=0")
    assert code == 0 and "r2: forgotten" in out and store.counts()["pending"] == 0
    assert version_numbers(path) == [3]


# The same again


def test_the_same_file_twice_changes_nothing(store, path, caplog):
    file = write_atomic(Path("requests.inter").absolute(), [("u17", "")])
    (name,) = service.unlearn(path, file)["status"]
    before = contents(store.folder)
    caplog.set_level("INFO")
    result = service.unlearn(path, file)
    assert result["status"] == {name: "done"} and result["version"] == 2
    assert result["receipts"][name]["counts"]["found"] == 1
    assert contents(store.folder) == before and version_numbers(path) == [1, 2]
    assert f"{name}: was done before and changes nothing" in caplog.text and "nothing is trained" not in caplog.text
    assert service.unlearn(path, file, exact=True)["version"] == 2
    assert "nothing is trained. Leave out --forget_file to train anew" in caplog.text


def test_what_is_gone_already_is_not_found(store, path):
    pair = data_of(current(path))["train"][5]
    service.unlearn(path, [user("r1", "u17"), pairs("r2", pair)])
    before = contents(current(path))
    write_atomic(Path("again.inter").absolute(), [("u17", ""), *[pair] * 2])
    for mode in ([], ["--dry_run"], ["--exact"]):
        assert as_typed(f"--checkpoint={path}", "--forget_file=again.inter", *mode)[0] == 3
    before = contents(current(path))
    again = DeletionRequest("r3", [("user", "u17", None), ("interaction", *pair), ("item", None, "i99")])
    result = service.unlearn(path, [again])
    receipt = json.loads(Path(store.folder, "receipts", "r3.json").read_text())
    assert receipt == store.receipt("r3") == result["receipts"]["r3"] and receipt["outcome"] == "not found"
    nothing = {"rows": 3, "found": 0, "not_found": 3, "interactions": "0", "users_erased": 0, "items_erased": 0}
    assert receipt["counts"] == nothing and receipt["measures"] is None
    assert contents(current(path)) == before and version_numbers(path) == [1, 2]


def test_one_by_one_or_together(store, path, tmp_path):
    data = data_of(current(path))
    named = {"u3", "u4", "u5", "i1", "i2"}
    rows = [row for part in PARTS for row in data[part] if named.isdisjoint(row)]
    requests = [user("r0", "u3"), item("r1", "i1"), user("r2", "u4"), item("r3", "i2"), user("r4", "u5")]
    requests += [pairs(f"r{5 + n}", rows[n * 60], rows[n * 60 + 7]) for n in range(5)]
    together = shutil.copytree(tmp_path / "saved", tmp_path / "together", symlinks=True) / "X.safetensors"
    for number, request in enumerate(requests, 2):
        assert service.unlearn(path, [request])["version"] == number
    union = DeletionRequest("union", [row for request in requests for row in request.rows])
    assert service.unlearn(together, [union])["version"] == 2
    remaining = without(data, *requests)
    check_version(current(path), remaining)
    check_version(current(together), remaining)
    one, other = (read_content(current(each) / "model.safetensors") for each in (path, together))
    assert one["user_tokens"] == other["user_tokens"] and one["item_tokens"] == other["item_tokens"]
    assert version_numbers(path) == [*range(1, 12)]


# Looking first


@pytest.mark.parametrize("has_store", [False, True])
def test_a_dry_run_changes_no_file(path, tmp_path, has_store):
    if has_store:
        service.unlearn(path, [user("r1", "u3")])
    rows = [("r2", "u17", ""), ("r2", "", "i23"), ("r3", "u3", "i4")]
    write_atomic(tmp_path / "requests.inter", rows, ("request_id", "user_id", "item_id"))
    before = everything(tmp_path)
    counts = service.dry_run(path, "requests.inter")
    code, out, err = as_typed(f"--checkpoint={path}", "--forget_file=requests.inter", "--dry_run")
    assert everything(tmp_path) == before
    assert code == 0 and err == "" and "r2 would forget" in out
    receipts = service.unlearn(path, "requests.inter")["receipts"]
    assert counts == {name: receipt["counts"] for name, receipt in receipts.items()}
    assert counts["r2"]["interactions"] == "10-99"
    assert counts["r3"]["found"] == (not has_store and ("u3", "i4") in tiny_rows())


def test_a_dry_run_of_what_was_done_before_says_so(store, path, tmp_path):
    write_atomic(tmp_path / "requests.inter", [("r1", "u3")], ("request_id", "user_id"))
    receipt = service.unlearn(path, "requests.inter")["receipts"]["r1"]
    assert service.dry_run(path, "requests.inter") == {"r1": receipt["counts"]}
    code, out, _ = as_typed(f"--checkpoint={path}", "--forget_file=requests.inter", "--dry_run")
    assert code == 0 and "r1 was done before and changes nothing" in out


def test_what_a_revision_does_not_read_is_reported_and_kept_out(store, path, caplog):
    trained = load_model(str(current(path) / "model.safetensors"))[0]
    changes = {"reg_weight": 0.5, "data_path": "/nowhere", "ie_change_weight": 0.7}
    service.unlearn(path, [user("r1", "u3")], changes)
    assert "reg_weight, data_path not read. Only --exact trains." in caplog.text
    config = load_model(str(current(path) / "model.safetensors"))[0]
    assert config["reg_weight"] == trained["reg_weight"] != 0.5 and config["ie_change_weight"] == 0.7
    assert config.as_dict()["data_path"] == trained.as_dict()["data_path"]


# Training anew


def test_exact_is_a_training_on_what_remains(store, path, tmp_path):
    data = data_of(current(path))
    requests = user("r1", "u17"), item("r2", "i23"), pairs("r3", *data["train"][:5], data["test"][9])
    service.unlearn(path, [requests[0]])
    shutil.copytree("saved", "revised", symlinks=True)
    revised = service.unlearn("revised/X.safetensors", requests)
    result = service.unlearn(path, requests, exact=True)
    check_version(current(path), without(data, *requests))
    assert data_of(current(path)) == data_of(Path(revised["store"], "current"))
    assert {result["receipts"][name]["method"] for name in ("r2", "r3")} == {store.current().method} == {"Retrain"}
    assert store.current().details["drift"]["requests"] == 0 and store.current().details["drift"]["interactions"] == 0
    assert not Path(store.folder, "work").exists()

    _, ours, tokens = load_model(result["model"])
    _, other, other_tokens = load_model(revised["model"])
    assert tokens == other_tokens and not torch.equal(ours.ego_embeddings(), other.ego_embeddings())
    settings = {**read_content(path)["config"], "checkpoint_dir": str(tmp_path / "reference"), "forget_type": "random"}
    settings |= {"data_path": str(current(path) / "data"), "benchmark_filename": list(PARTS)}
    config = Config(config_dict=settings)
    dataset, *parts = split(config)
    reference = train_backbone(config, parts[0], "exact", evaluation_loaders(config, dataset, *parts)[0]).model
    users, items = (dataset.field2id_token[field][1:] for field in ("user_id", "item_id"))
    ours_of = [[tokens[side].index(token) for token in names] for side, names in (("user", users), ("item", items))]
    assert len(users) == 39 and len(items) == 29
    torch.testing.assert_close(scores_of(ours)[ours_of[0]][:, ours_of[1]], scores_of(reference)[1:, 1:])


def test_drift_recommends_retraining(store, path, caplog):
    limits = {"unlearn_retrain_requests": 3, "unlearn_retrain_share": 0.5, "unlearn_least_utility": 0.01}
    pair = iter(data_of(current(path))["train"][::20])
    for number in range(1, 4):
        drift = service.unlearn(path, [pairs(f"r{number}", next(pair))], limits)["receipts"][f"r{number}"]["drift"]
        assert (drift["requests"], drift["interactions"], drift["share"]) == (number, "1-9", round(number / 400, 2))
        assert store.current().details["drift"]["interactions"] == number
        assert drift["recommend_retraining"] == (number == 3) == ("Retraining is due" in caplog.text)
    assert drift["reason"] == "3 requests" and "use --exact, without --forget_file" in caplog.text
    code, out, err = as_typed(f"--checkpoint={path}", "--exact")  # without a request
    assert code == 0 and "Traceback" not in err and store.current().method == "Retrain"
    assert store.current().number == 5 and store.current().details["trained_on"] == 397
    for share, due in ((0.01, False), (0.003, True)):  # of one in 397, then two
        limits = {**limits, "unlearn_retrain_share": share}
        drift = service.unlearn(path, [pairs(f"s{share}", next(pair))], limits)["receipts"][f"s{share}"]["drift"]
        assert drift["recommend_retraining"] == due
    assert store.current().details["drift"]["share"] == pytest.approx(2 / 397)
    assert drift["reason"] == "at least 0.3 % of the interactions"
    limits = {**limits, "unlearn_retrain_share": 1, "unlearn_least_utility": 1}
    many = [user(f"l{i}", f"u{i}") for i in range(1, 30)]
    drift = service.unlearn(path, many, limits, force=True)["receipts"]["l1"]["drift"]
    assert drift["utility"] < 1 and "of the last training's" in drift["reason"]


# Checkpoints


def test_a_model_that_has_forgotten_before_remembers_nobody(path):
    """Its data's files may still have their rows."""
    config, model, tokens = load_model(str(path))
    _, dataset, _, _ = split(config)
    gone = model.graph.users == tokens["user"].index("u17")
    save_model(str(path), model.revised(model.ego_embeddings(), model.graph.subgraph(~gone)), config, dataset)
    before = contents(service.prepare(path).current().folder)
    assert [name for name, content in before.items() if b"u17" in content] == []
    data = data_of(current(path))
    check_version(current(path), data)
    others = sorted(row for row in tiny_rows() if row[0] != "u17")
    assert sorted(row for rows in data.values() for row in rows) == others
    assert service.unlearn(path, [user("r1", "u17")])["receipts"]["r1"]["outcome"] == "not found"


def test_a_stock_checkpoint_is_served(stock, settings):
    path, model, _ = stock(RecBoleLightGCN, epochs=20)
    store = service.prepare(path)
    _, ours, tokens = load_model(str(Path(store.current().folder, "model.safetensors")))
    everybody = torch.arange(1, model.n_users)
    model.restore_user_e = None  # which RecBole keeps from the last evaluation
    model.load_state_dict(torch.load(path, weights_only=False)["state_dict"])  # of its best epoch
    expected = model.eval().full_sort_predict({"user_id": everybody}).view(len(everybody), -1).detach()
    torch.testing.assert_close(scores_of(ours)[1:, 1:], expected[:, 1:])
    before = data_of(current(path))
    assert sorted(row for rows in before.values() for row in rows) == sorted(tiny_rows())
    recbole_unlearn.unlearn(path, [user("r1", "u17")])
    check_version(current(path), without(before, user("r1", "u17")))
    assert service.verify(path).findings == []


def no_store(path, message, **settings):
    before = contents(Path(path).parent)
    given = [f"--{key}={value}" for key, value in settings.items()]
    code, _, err = as_typed(f"--checkpoint={path}", "--prepare", *given)
    assert (code, err.count("\n")) == (2, 1) and message in err, err
    assert contents(Path(path).parent) == before


@pytest.mark.parametrize("kind", ["stock", "ours"])
def test_another_dataset_is_refused(stock, path, tmp_path, kind):
    of_stock, data = kind == "stock", {"data_path": tmp_path / "data"}
    checkpoint_path = stock(RecBoleLightGCN, epochs=20)[0] if of_stock else path
    others = [("u40", f"i{item}") for item in range(10)]
    write_atomic(tmp_path / "data" / "tiny" / "tiny.inter", [*tiny_rows(), *others])
    write_atomic(tmp_path / "data" / "other" / "other.inter", tiny_rows())
    other_users = "does not fit dataset 'tiny', which has 41 users"
    no_store(checkpoint_path, other_users if of_stock else "are not those that the model was trained", **data)
    no_store(checkpoint_path, "holds LightGCN on tiny, not dataset 'other'", dataset="other", **data)
    no_store(checkpoint_path, "holds LightGCN on tiny, not model 'BPR'", model="BPR")


def test_other_ids_are_refused(stock):
    path, _, _ = stock(RecBoleLightGCN, epochs=20)
    state = torch.load(path, weights_only=False)
    weight = state["state_dict"]["user_embedding.weight"]
    weight[1:] = weight[1:].roll(1, dims=0)  # another taste
    torch.save(state, path)
    no_store(path, "final embeddings are not those")
    forget_final_embeddings(path)
    no_store(path, "does not know the training data")


def forget_final_embeddings(path):
    """Leave what RecBole keeps of a training without validation data."""
    state = torch.load(path, weights_only=False)
    state["other_parameter"] = {"restore_user_e": None, "restore_item_e": None}
    torch.save(state, path)


@pytest.mark.parametrize("model_class", [RecBoleLightGCN, RecBoleSGL])
def test_a_training_on_another_split_is_refused_by_its_final_embeddings(stock, tmp_path, model_class):
    """RecBole draws the split from torch's global generator, which a script may not have seeded."""
    path, model, _ = stock(model_class, epochs=1, seeded=False)
    no_store(path, "final embeddings are not those of the split that its settings give: it was trained on other rows")
    others = rows_file(model.trained_on, tmp_path, 1)
    no_store(
        path, "final embeddings are not those of the rows in --train_file: it was trained on others", train_file=others
    )
    pairs_of_training, rows = rows_of(model.trained_on), rows_file(model.trained_on, tmp_path)
    served = recbole_unlearn.unlearn(path, [pairs("r1", pairs_of_training[0])], {"train_file": rows})
    assert served["receipts"]["r1"]["outcome"] == "forgotten"
    assert set(edges_of(current(path))) == set(pairs_of_training[1:])
    data = data_of(current(path))
    assert sorted(row for rows in data.values() for row in rows) == sorted(set(tiny_rows()) - {pairs_of_training[0]})
    assert len(data["valid"]) == len(data["test"]) == 40


@pytest.mark.parametrize("model_class", [BPR, RecBoleLightGCN])
def test_a_split_is_proved_by_what_the_model_remembers(stock, model_class, tmp_path):
    learned_by_heart = {"epochs": 100, "eval_step": 100, "embedding_size": 32, "learning_rate": 0.05}
    path, _, _ = stock(model_class, **learned_by_heart)
    forget_final_embeddings(path)
    assert service.prepare(path).current().number == 1
    unseeded = {"seeded": False, "checkpoint_dir": str(tmp_path / "unseeded")}  # RecBole's file names are of seconds
    path, _, _ = stock(model_class, **unseeded, **learned_by_heart)
    forget_final_embeddings(path)
    no_store(path, "name its training rows with --train_file=FILE")


def test_an_undertrained_model_is_refused_as_such(stock, tmp_path):
    path, _, _ = stock(BPR, epochs=1, learning_rate=1e-5)
    no_store(path, "is undertrained: its rows are hardly other than before the first epoch. Train it longer.")


@pytest.mark.parametrize("model_class", [BPR, RecBoleLightGCN, RecBoleSGL, SimGCL])
@pytest.mark.parametrize("repeats", [False, True])
def test_every_stock_model_ranks_as_it_did(stock, gnn_class, tmp_path, model_class, repeats):
    rows = list(tiny_rows())
    write_atomic(tmp_path / "repeated" / "tiny" / "tiny.inter", [*rows, *rows[::3]])
    changes = {"data_path": str(tmp_path / "repeated")} if repeats else {}
    changes |= {"epochs": 60, "eval_step": 60, "embedding_size": 32, "learning_rate": 0.05}
    path, model, _ = stock(model_class, **(GNN if model_class is SimGCL else {}), **changes)
    if repeats and model_class in (RecBoleSGL, SimGCL):
        no_store(path, "repeated training interactions, which it adds up in its graph")
        return
    ours, theirs = (
        scores_of(import_checkpoint(path).model),
        model.full_sort_predict({"user_id": torch.arange(model.n_users)}),
    )
    first, second = (scores.view(ours.shape)[1:, 1:].topk(10).indices for scores in (ours, theirs.detach()))
    assert torch.equal(first, second)


def test_exact_trains_recbole_gnns_simgcl_with_its_own_settings(stock, gnn_class):
    path, _, _ = stock(gnn_class, **GNN)
    service.unlearn(path, [user("r1", "u17")], exact=True, force=True)
    config, model, _ = load_model(current(path) / "model.safetensors")
    assert (model.ssl_weight, model.noise_length, model.temperature, model.sums) == (0.3, 0.15, 0.4, True)


def test_exact_is_refused_for_an_unknown_class(stock, unknown_class):
    path, _, _ = stock(unknown_class)
    refusal = "^--exact cannot train this model again: its class their.models.LightGCN is not RecBole's"
    with pytest.raises(UsageError, match=refusal):
        service.unlearn(path, [user("r1", "u17")], exact=True)
    assert Store(service.store_folder(path)).requests() == []
    assert service.unlearn(path, [user("r1", "u17")], force=True)["receipts"]["r1"]["outcome"] == "forgotten"


BAD_TRAIN_FILES = [
    (
        [("u1", "i1")],
        {"header": ("reader", "book")},
        "has no column user_id:token: name the training rows in tab-separated",
    ),
    ([("u1", "nothing")], {}, "1 of the 1 rows of 'train.inter' name users or items that 'tiny' does not have"),
    ([], {}, "0 of the 0 rows"),
    ([(f"u{n}", f"i{m}") for n in range(2) for m in range(30)], {}, "40 of the 60 rows of"),
    ([*tiny_rows()], {}, "names all of dataset 'tiny'"),
]


def test_bad_files_of_training_rows(stock, path):
    checkpoint_path, _, _ = stock(RecBoleLightGCN, epochs=1)
    no_store(checkpoint_path, "'train.inter' cannot be read", train_file="train.inter")
    for rows, header, message in BAD_TRAIN_FILES:
        write_atomic(Path("train.inter").absolute(), rows, **header)
        no_store(checkpoint_path, message, train_file="train.inter")
    no_store(path, "holds its training rows itself: leave out --train_file", train_file="train.inter")


def rows_of(train):
    """The pairs of a dataset of RecBole's, sorted."""
    columns = (train.id2token(field, train.inter_feat[field]) for field in (train.uid_field, train.iid_field))
    return sorted(zip(*columns))


def rows_file(train, folder, missing=0):
    """A file that names all training rows but the last ones."""
    rows = rows_of(train)
    return write_atomic(folder / "train.inter", rows[: len(rows) - missing])


# As a user types it


def test_as_a_user_types_it(path, tmp_path):
    write_atomic(tmp_path / "requests.inter", [("u17", "")])
    command = [sys.executable, str(SCRIPT), "--checkpoint=saved/X.safetensors", "--forget_file=requests.inter"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0 and process.stderr == "", process.stderr
    assert "10-99 interactions, 1 users and 0 items as a whole" in process.stdout
    assert sorted(os.listdir(tmp_path)) == ["requests.inter", "saved"]
    assert sorted(os.listdir(tmp_path / "saved")) == ["X.safetensors", "X.store"]
    assert "u17" not in load_model("saved/X.store/current/model.safetensors")[2]["user"]
