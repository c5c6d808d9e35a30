"""Saved models: they score as before, and hold nothing of what was forgotten."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import tiny_rows, write_atomic
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from served import changed
from test_checkpoint import Touch

from recbole_unlearn import load_data_and_model, run_unlearn
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import checkpoint, tensor_file
from recbole_unlearn.method import METHODS
from recbole_unlearn.model_file import load_model, read_content, save_model, write_content

MODELS = ["BPR", "LightGCN", "SGL", "SimGCL"]


def all_scores(model):
    return model.full_sort_predict(Interaction({"user_id": torch.arange(model.n_users)}))


@pytest.fixture
def saved(prepared, tmp_path):
    """A DropEdges model, its run, and the path that it was saved to."""

    def save(model="LightGCN", **changes):
        run = prepared(model, **changes)
        unlearned = next(METHODS["DropEdges"](run.config, run.data, run.original).unlearn()).model
        path = str(tmp_path / "model.safetensors")
        save_model(path, unlearned, run.config, run.data.train)
        return path, unlearned, run

    return save


@pytest.fixture
def path(tmp_path, saved, content={}):  # noqa: B006  (one training for all tests)
    """A model's file to be changed."""
    if not content:
        content["file"] = Path(saved()[0]).read_bytes()
    path = tmp_path / "changed.safetensors"
    path.write_bytes(content["file"])
    return str(path)


@pytest.mark.parametrize("model", MODELS)
def test_loaded_model_gives_the_same_scores(saved, model):
    path, unlearned, run = saved(model)
    config, loaded, tokens = load_model(path)
    assert torch.equal(all_scores(loaded), all_scores(unlearned))
    assert config["model"] == model and not loaded.training
    assert tokens["user"] == list(run.data.train.field2id_token["user_id"])
    assert tokens["item"] == list(run.data.train.field2id_token["item_id"])


@pytest.mark.parametrize("model", MODELS)
def test_loaded_model_can_be_trained_and_unlearn_again(saved, model):
    path, _, run = saved(model)
    _, loaded, _ = load_model(path)
    users, items = loaded.graph.users, loaded.graph.items
    loaded.train()
    batch = Interaction({"user_id": users, "item_id": items, "neg_item_id": items.flip(0)})
    assert torch.isfinite(loaded.calculate_loss(batch))
    again = loaded.revised(loaded.ego_embeddings(), loaded.graph.without(users[:1], items[:1]))
    assert len(again.graph) == len(run.data.remaining_graph) - 1


def test_file_holds_no_forgotten_pair(saved):
    path, _, run = saved()
    state = read_content(path)
    stored = set(zip(*state["edges"].tolist()))
    request = set(zip(run.data.request.users.tolist(), run.data.request.items.tolist()))
    remaining = set(zip(run.data.remaining_graph.users.tolist(), run.data.remaining_graph.items.tolist()))
    assert request and stored.isdisjoint(request) and stored == remaining


@pytest.mark.parametrize("kind, setting", [("user", "forget_users"), ("item", "forget_items"), ("user", "forget_file")])
def test_file_names_nobody_whose_interactions_were_all_forgotten(saved, tmp_path, kind, setting):
    token = {"user": "u17", "item": "i23"}[kind]
    file = write_atomic(tmp_path / "request.inter", [(token,)], (f"{kind}_id",))
    named = {"forget_type": "file", "forget_file": file} if setting == "forget_file" else {setting: [token]}
    path, _, run = saved(**{"forget_type": kind, **named})
    assert token in run.data.train.field2id_token[f"{kind}_id"]
    content = Path(path).read_bytes()
    assert b"u18" in content and b"i22" in content and token.encode() not in content
    _, _, tokens = load_model(path)
    assert tokens[kind].count(None) == 1 and len(tokens[kind]) == run.data.train.num(f"{kind}_id")


def test_run_saves_what_load_data_and_model_returns(settings, tmp_path):
    changes = {**settings, "forget_type": "user", "forget_ratio": 0.1, "unlearn_methods": ["DropEdges", "UnlearnRec"]}
    report = run_unlearn("LightGCN", "tiny", config_dict=changes)
    files = sorted(path.name for path in (tmp_path / "saved").glob("*-user-7.safetensors"))
    assert files == [
        "DropEdges-LightGCN-tiny-user-7.safetensors",
        "UnlearnRec-fine-tuned-LightGCN-tiny-user-7.safetensors",
        "UnlearnRec-zero-shot-LightGCN-tiny-user-7.safetensors",
        "original-LightGCN-tiny-user-7.safetensors",
    ]
    result = load_data_and_model(str(tmp_path / "saved" / files[0]))
    config, model, dataset, train_data, valid_data, test_data = result
    assert config["model"] == "LightGCN" and type(dataset).__name__ == "Dataset"
    n_trained = sum(len(batch) for batch in train_data)
    assert n_trained == len(model.graph) == 320 - report["forget"]["n_interactions"]
    trained = {pair for b in train_data for pair in zip(b["user_id"].tolist(), b["item_id"].tolist())}
    assert trained == set(zip(model.graph.users.tolist(), model.graph.items.tolist()))

    trainer = Trainer(config, model)
    expected = next(row for row in report["results"] if row["method"] == "DropEdges")
    assert trainer.evaluate(test_data, load_best_model=False)["ndcg@5"] == pytest.approx(expected["ndcg@5"])
    assert np.isfinite(trainer.evaluate(valid_data, load_best_model=False)["ndcg@5"])


def test_adversarial_model_comes_back_with_its_clean_data(settings, tmp_path):
    changes = {**settings, "forget_type": "adversarial", "unlearn_methods": "DropEdges"}
    run_unlearn("LightGCN", "tiny", config_dict=changes)
    _, model, _, train_data, _, _ = load_data_and_model(
        str(tmp_path / "saved" / "DropEdges-LightGCN-tiny-adversarial-7.safetensors")
    )
    assert sum(len(batch) for batch in train_data) == len(model.graph) == 320


def test_settings_may_change_on_loading(saved, tmp_path):
    path, _, _ = saved()
    write_atomic(tmp_path / "moved" / "tiny" / "tiny.inter", tiny_rows())
    config, *_ = load_data_and_model(path, {"data_path": str(tmp_path / "moved"), "eval_batch_size": 123})
    assert config["eval_batch_size"] == 123 and config["data_path"].startswith(str(tmp_path / "moved"))


def test_changed_data_and_another_split_are_noticed(saved, tmp_path):
    path, _, _ = saved()
    rows = [("someone", item) if user == "u0" else (user, item) for user, item in tiny_rows()]
    write_atomic(tmp_path / "moved" / "tiny" / "tiny.inter", rows)
    with pytest.raises(UsageError, match="The user_ids of dataset 'tiny' are not those.*load_model"):
        load_data_and_model(path, {"data_path": str(tmp_path / "moved")})
    with pytest.raises(UsageError, match="interactions are not in the training part of 'tiny'.*seed"):
        load_data_and_model(path, {"seed": 8})


def test_model_alone_needs_no_data(saved):
    path, unlearned, _ = saved()
    _, loaded, _ = load_model(path, {"data_path": "gone"})
    assert torch.equal(all_scores(loaded), all_scores(unlearned))


def test_the_same_model_is_the_same_file_whose_size_is_its_content(saved, tmp_path):
    path, unlearned, run = saved()
    save_model(str(tmp_path / "again.safetensors"), unlearned, run.config, run.data.train)
    assert (tmp_path / "again.safetensors").read_bytes() == Path(path).read_bytes()
    with safetensors.safe_open(path, framework="pt") as file:
        sizes = [file.get_tensor(name).nbytes for name in file.keys()]
    assert os.path.getsize(path) - sum(sizes) < 10_000


@pytest.mark.parametrize("kind", ["user", "item"])
def test_files_of_earlier_releases_load(saved, tmp_path, kind):
    path, unlearned, _ = saved(forget_type=kind, **{f"forget_{kind}s": ["u17" if kind == "user" else "i23"]})
    checkpoint.save(tmp_path / "model.pth", read_content(path))
    config, loaded, tokens = load_model(str(tmp_path / "model.pth"))
    assert torch.equal(all_scores(loaded), all_scores(unlearned)) and config["model"] == "LightGCN"
    assert tokens == load_model(path)[2] and tokens[kind].count(None) == 1


def test_tokens_are_any_text(path):
    content = read_content(path)
    content["user_tokens"][1:6] = ["", "\u00e4\u4e2d\U0001f600", "a\nb\t", "NA", None]
    write_content(path, content)
    assert load_model(path)[2]["user"] == content["user_tokens"]


def flip(place):
    def spoil(path):
        content = bytearray(Path(path).read_bytes())
        content[place] ^= 16
        Path(path).write_bytes(content)

    return spoil


def cut(path):
    Path(path).write_bytes(Path(path).read_bytes()[:-100])


def of_a_later_release(path):
    header = {"format": tensor_file.FORMAT + 1, "kind": "model", "checksum": 0, "settings": "{}"}
    safetensors.torch.save_file({"a": torch.zeros(2)}, path, {"recbole_unlearn": json.dumps(header)})


def with_a_long_header(path):
    Path(path).write_bytes((2**21).to_bytes(8, "little") + b"{" + b" " * 2**21)


DAMAGES = {
    "a weight's bit": (flip(-9), "some of its bytes have changed"),
    "a token's bit": (flip(-2500), "some of its bytes have changed"),
    "cut off": (cut, "not a complete safetensors file"),
    "other tensors": (
        lambda path: safetensors.torch.save_file({"a": torch.zeros(3)}, path),
        "safetensors file of something else",
    ),
    "an encoder": (lambda path: tensor_file.write(path, "encoder", {}, {}), "of something else than a model"),
    "later": (of_a_later_release, "format 2 of a later release"),
    "long header": (with_a_long_header, "header is longer than 1048576 bytes"),
    "no edges": (changed(lambda tensors, _: tensors.pop("edges")), "it has no 'edges'"),
    "one side of edges": (
        changed(lambda tensors, _: tensors.update(edges=tensors["edges"][:1])),
        "edges are torch.int32 of shape",
    ),
    "edges of nobody": (
        changed(lambda tensors, _: tensors["edges"][0].fill_(41)),
        "edges name users or items that it does not",
    ),
    "negative edges": (
        changed(lambda tensors, _: tensors["edges"][1].fill_(-1)),
        "edges name users or items that it does not",
    ),
    "ends": (changed(lambda tensors, _: tensors["user_tokens.ends"][-1].add_(10**9)), "user_tokens do not end where"),
    "erased tokens": (
        changed(lambda tensors, _: tensors["item_tokens.erased"][3].fill_(True)),
        "item_tokens do not end where",
    ),
    "mask": (
        changed(lambda tensors, _: tensors.update({"item_tokens.erased": torch.zeros(3, dtype=torch.bool)})),
        "type or shape",
    ),
    "no utf-8": (changed(lambda tensors, _: tensors["user_tokens.bytes"].fill_(255)), "utf-8"),
    "nan": (
        changed(lambda tensors, _: tensors["state_dict.user_embedding.weight"][3].fill_(float("nan"))),
        "not finite",
    ),
    "embedding_size": (
        changed(lambda _, settings: settings.update(embedding_size=10**6)),
        "`embedding_size` 1000000 of 72 users",
    ),
    "n_layers": (
        changed(lambda _, settings: settings.update(n_layers=10**4)),
        "`n_layers` 10000 is not a whole number from 0 to 100",
    ),
    "more users": (
        changed(
            lambda tensors, _: tensors.update(
                {
                    f"user_tokens.{part}": torch.zeros(10**4, dtype=kind)
                    for part, kind in (("ends", torch.int64), ("erased", torch.bool))
                },
                **{"user_tokens.bytes": torch.zeros(0, dtype=torch.uint8)},
            )
        ),
        "`embedding_size` 8 of 10031 users and items is more than its 576 weights",
    ),
    "other table": (
        changed(lambda tensors, _: tensors.update({"state_dict.item_embedding.weight": torch.ones(99, 8)})),
        "does not fit",
    ),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_files_are_refused_in_one_line(path, what):
    spoil, message = DAMAGES[what]
    spoil(path)
    with pytest.raises(UsageError, match=f"^'{path}' is (not a model saved|damaged).*{message}") as error:
        load_model(path)
    assert "\n" not in str(error.value)


def test_settings_of_the_caller_are_checked_like_those_of_the_file(path):
    with pytest.raises(UsageError, match="`embedding_size` 1000000 of 72 users and items is more than its 576 weights"):
        load_model(path, {"embedding_size": 10**6})


def test_missing_file():
    with pytest.raises(UsageError, match="'gone.pth' does not exist"):
        load_model("gone.pth")


OTHERS = {
    **{str(content): lambda path, content=content: path.write_bytes(content) for content in (b"", b"x", b"\x80\x04N.")},
    "other content": lambda path: checkpoint.save(path, {"state_dict": {}}),
    "code": lambda path: torch.save({"config": Touch()}, path),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_files_are_refused_and_not_executed(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    OTHERS[what](tmp_path / "other.pth")
    with pytest.raises(UsageError, match="'other.pth' is not a model saved by recbole_unlearn"):
        load_model("other.pth")
    assert os.listdir() == ["other.pth"]
