"""A small trained model to send deletion requests to, and what is in its store."""

import csv
import logging
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from test_store import fork

from recbole_unlearn import command_line
from recbole_unlearn.config import Config
from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store.layout import store_folder
from recbole_unlearn.files import tensor_file
from recbole_unlearn.model_file import load_model, read_content, save_model
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import train_backbone

PARTS = ("train", "valid", "test")


def train(folder, data_path, model="LightGCN", **changes):
    """Train a model on the tiny dataset; the path of its checkpoint, alone in a folder."""
    settings = {
        "data_path": data_path,
        "checkpoint_dir": str(folder / "training"),
        "gpu_id": "",
        "seed": 7,
        "show_progress": False,
        "embedding_size": 8,
        "n_layers": 2,
        "epochs": 20,
        "eval_step": 5,
        "train_batch_size": 128,
        "learning_rate": 0.02,
        "topk": [5],
        "valid_metric": "NDCG@5",
        "forget_type": "random",
        "unlearn_least_utility": 0.1,  # a few dozen validation pairs measure no better
    }
    config = Config(model, "tiny", config_dict={**settings, **changes})
    data = prepare_data(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where RecBole logs
        trained = train_backbone(config, data.train, "original", data.valid_data).model
    path = folder / "saved" / "X.safetensors"
    save_model(str(path), trained, config, data.train)
    return path


def user(name, token):
    return DeletionRequest(name, [("user", token, None)])


def item(name, token):
    return DeletionRequest(name, [("item", None, token)])


def pairs(name, *rows):
    return DeletionRequest(name, [("interaction", *row) for row in rows])


def current(path):
    """The folder of the current version in the store of a checkpoint."""
    return Path(store_folder(path), "current")


def changed(change):
    """Change a model file's tensors and settings: ``changed(lambda tensors, settings: ...)(path)``."""

    def spoil(path):
        tensors, settings = tensor_file.read(path, "model")
        change(tensors, settings)
        tensor_file.write(path, "model", tensors, settings)

    return spoil


def data_of(folder):
    """Each part of a version's data to its rows, (user, item)."""
    files = {part: Path(folder, "data", "tiny", f"tiny.{part}.inter") for part in PARTS}
    texts = {part: file.read_text(encoding="utf-8").splitlines()[1:] for part, file in files.items()}
    return {part: [tuple(row[:2]) for row in csv.reader(lines, delimiter="\t")] for part, lines in texts.items()}


def without(data, *requests):
    """The rows that no request names."""
    named = {row for request in requests for row in request.rows}

    def is_named(user, item):
        return not named.isdisjoint({("user", user, None), ("item", None, item), ("interaction", user, item)})

    return {part: [row for row in rows if not is_named(*row)] for part, rows in data.items()}


def edges_of(folder):
    """The edges of a version's model, as tokens."""
    state = read_content(Path(folder, "model.safetensors"))
    return [(state["user_tokens"][user], state["item_tokens"][item]) for user, item in state["edges"].t().tolist()]


def scores_of(model):
    """All scores, shape ``(users, items)``."""
    everybody = Interaction({model.USER_ID: torch.arange(model.n_users)})
    return model.full_sort_predict(everybody).view(model.n_users, model.n_items).detach()


def check_version(folder, data):
    """A version's files say the same: these data and no other, and a model of them that can be served."""
    assert data_of(folder) == data
    assert sorted(edges_of(folder)) == sorted(set(data["train"]))
    _, model, tokens = load_model(str(Path(folder, "model.safetensors")))
    assert scores_of(model).isfinite().all()
    everything = [row for rows in data.values() for row in rows]
    for side, name in enumerate(("user", "item")):
        there = {row[side] for row in everything}
        assert [token for token in tokens[name][1:] if token is not None] == [t for t in tokens[name][1:] if t in there]
        table = model.ego_embeddings().split([model.n_users, model.n_items])[side]
        gone = np.flatnonzero([token is None for token in tokens[name]])
        assert torch.equal(table[gone], table[0].expand(len(gone), -1))


def contents(folder):
    """Each file's bytes, but not of the lock file, which names its holder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and path.name != "lock"
    }


def as_typed(*arguments):
    """What a user gets for a command: exit code, standard output and standard error."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        process = fork(_main, arguments, *files)
        process.join()
        return process.exitcode, *(file.read_text() for file in files)


def _main(arguments, *files):
    torch.set_num_threads(1)
    for handler in list(logging.root.handlers):  # pytest's
        logging.root.removeHandler(handler)
    sys.stdout, sys.stderr = (open(file, "w") for file in files)
    command_line.main(list(map(str, arguments)))
