"""RecBole's own checkpoints: their settings and weights come out of them, and nothing in them runs."""

import json
import os
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import tiny_rows
from recbole.config import Config as RecBoleConfig
from recbole.data.dataset import Dataset as RecBoleDataset
from recbole.data.utils import data_preparation
from recbole.model.general_recommender import BPR, NeuMF
from recbole.model.general_recommender import LightGCN as RecBoleLightGCN
from recbole.trainer import Trainer
from recbole.utils import init_seed
from test_checkpoint import Touch

from recbole_unlearn.config import Config
from recbole_unlearn.deletion.importing.checkpoint import import_checkpoint
from recbole_unlearn.deletion.importing.stock_checkpoint import read_stock
from recbole_unlearn.errors import UsageError
from recbole_unlearn.model import MODELS
from recbole_unlearn.task import prepare_data


@pytest.fixture
def trained(settings, monkeypatch):
    """Train a model of RecBole's for one epoch with RecBole's Trainer: its checkpoint, itself (with ``trained_on``) and
    its Config. If it is not ``seeded``, the split is not the one that its Config gives."""
    monkeypatch.setattr(sys, "argv", ["pytest"])  # RecBole's Config reads them

    def train(model_class, seeded=True, **changes):
        stock = {key: value for key, value in settings.items() if not key.startswith(("forget_", "unlearn_", "ie_"))}
        config = RecBoleConfig(model_class, "tiny", config_dict={**stock, "epochs": 1, "eval_step": 1, **changes})
        init_seed(config["seed"] if seeded else 1234, config["reproducibility"])
        train_data, valid_data, _ = data_preparation(config, RecBoleDataset(config))
        model = model_class(config, train_data.dataset)
        model.trained_on = train_data.dataset
        trainer = Trainer(config, model)
        trainer.fit(train_data, valid_data, verbose=False)
        return trainer.saved_model_file, model, config

    return train


@pytest.mark.parametrize("model_class", [BPR, RecBoleLightGCN])
def test_weights_and_settings_survive(trained, model_class):
    changes = {
        "embedding_size": 12,
        "reg_weight": 0.003,
        "topk": [3, 5],
        "my_setting": {"a": [1, None]},
        "its": np.float64(0.5),
    }
    not_plain = {"odd": torch.float32, "deep": {"odd": [torch.device("cpu")]}, "trap": Touch()}
    path, model, stock = trained(model_class, **changes, **not_plain)
    held = read_stock(path)
    assert held.weights.keys() == model.state_dict().keys()
    assert all(torch.equal(held.weights[name], weight) for name, weight in model.state_dict().items())
    settings = held.settings
    assert (settings["model"], settings["dataset"]) == (model_class.__name__, "tiny")
    assert settings["data_path"] == os.path.dirname(stock["data_path"])
    for key in (*changes, "seed", "eval_args", "load_col", "metrics"):
        assert settings[key] == stock[key]
    dropped = set(stock.final_config_dict) - set(settings)
    assert dropped >= {*not_plain, "device", "MODEL_TYPE", "eval_type"} and len(dropped) < 17
    assert json.loads(json.dumps(settings)) == settings and not os.path.exists("executed")


@pytest.mark.parametrize("model_class", [BPR, RecBoleLightGCN])
def test_they_make_the_plugins_model_on_the_same_data(trained, model_class):
    """The same ids, the same split and the same scores, from the file alone."""
    path, model, _ = trained(model_class)
    held = read_stock(path)
    settings, weights = held.settings, held.weights
    config = Config(config_dict={**settings, "forget_type": "random"})  # an adversarial request would add edges
    assert {key: config.as_dict()[key] for key in settings} == settings
    ours = MODELS[config["model"]](config, prepare_data(config).train)
    ours.load_state_dict(weights)
    everybody = {"user_id": torch.arange(model.n_users), "item_id": torch.arange(model.n_users) % model.n_items}
    torch.testing.assert_close(ours.eval().predict(everybody), model.eval().predict(everybody))


def test_models_without_counterpart_are_refused(trained):
    path, _, _ = trained(NeuMF)
    with pytest.raises(UsageError, match=r"holds a NeuMF, .* Models that do: .*BPR, .*LightGCN, .*SGL, .*SimGCL"):
        read_stock(path)


@pytest.mark.parametrize(
    "content, reason",
    [
        ([1], "it holds no dictionary"),
        ({"state_dict": {}}, "it has no pickled Config"),
        ({"config": {"model": "BPR"}, "state_dict": {}}, "it has no pickled Config"),
        ({"config": UsageError("x"), "state_dict": {}}, "it has no pickled Config"),
    ],
)
def test_other_files_are_refused(tmp_path, content, reason):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=f"other.pth' is not a checkpoint of RecBole's Trainer: {reason}"):
        read_stock(str(tmp_path / "other.pth"))


def named_over_and_over(depth=6):
    """A list of a list of a list, each named ten times, is a million values."""
    value = [1]
    for _ in range(depth):
        value = [value] * 10
    return value


def test_broken_checkpoints_are_refused(trained):
    path, _, _ = trained(BPR)
    changes = [
        (lambda state, _: state.update(state_dict="weights.txt"), "no dictionary of tensors"),
        (lambda state, _: state.update(state_dict={"a": 1}), "no dictionary of tensors"),
        (lambda _, settings: settings.pop("dataset"), "no settings with a model, a dataset"),
        (lambda state, _: delattr(state["config"], "final_config_dict"), "no settings with a model, a dataset"),
        (lambda _, settings: settings.update(many=named_over_and_over()), "has more settings than anybody writes"),
    ]
    for change, reason in changes:
        state = torch.load(path, weights_only=False)
        change(state, state["config"].final_config_dict)
        torch.save(state, "broken.pth")
        with pytest.raises(UsageError, match=reason):
            read_stock("broken.pth")


def test_settings_that_contain_themselves(trained):
    path, _, _ = trained(BPR)
    state = torch.load(path, weights_only=False)
    state["config"].final_config_dict["endless"] = endless = []
    endless.append(endless)
    torch.save(state, path)
    settings = read_stock(path).settings
    assert "endless" not in settings and settings["model"] == "BPR"


def test_the_data_of_a_checkpoint_are_split_as_recbole_did(trained, tmp_path):
    """By rounded times: what it was trained on is in the training part, and nothing else."""
    rows = "".join(f"{user}\t{item}\t{1_600_000_000 + n * 7919 % 200}\n" for n, (user, item) in enumerate(tiny_rows()))
    (tmp_path / "timed" / "tiny").mkdir(parents=True)
    (tmp_path / "timed" / "tiny" / "tiny.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + rows)
    changes = {"data_path": str(tmp_path / "timed"), "eval_args": {"order": "TO"}, "load_col": {"inter": "*"}}
    path, _, config = trained(RecBoleLightGCN, epochs=30, save_dataset=True, **changes)
    imported = import_checkpoint(path)
    for part, stock in zip(("train", "valid", "test"), RecBoleDataset(config).build()):
        both = [
            sorted(zip(*(data.inter_feat[field].tolist() for field in ("user_id", "item_id"))))
            for data in (imported.parts[part], stock)
        ]
        assert both[0] == both[1]


class SimGCL(RecBoleLightGCN):
    """As RecBole-GNN's: LightGCN without the table in its mean, and these names of settings."""

    __module__ = "recbole_gnn.model.general_recommender.simgcl"

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.loss_of = config["lambda"], config["eps"], config["temperature"]

    def forward(self):
        layer, layers = self.get_ego_embeddings(), []
        for _ in range(self.n_layers):
            layer = torch.sparse.mm(self.norm_adj_matrix, layer)
            layers.append(layer)
        return torch.stack(layers).mean(dim=0).split([self.n_users, self.n_items])


@pytest.fixture
def installed(monkeypatch):
    """Let a class be pickled by its module's name, which no package of here has."""

    def install(cls):
        names = cls.__module__.split(".")
        for depth in range(1, len(names) + 1):
            module = ModuleType(".".join(names[:depth]))
            monkeypatch.setitem(sys.modules, module.__name__, module)
        setattr(module, cls.__name__, cls)
        return cls

    return install


@pytest.fixture
def gnn_class(installed):
    """RecBole-GNN's SimGCL."""
    return installed(SimGCL)


@pytest.fixture
def unknown_class(installed):
    """Somebody's own LightGCN, which may train in another way."""
    return installed(type("LightGCN", (RecBoleLightGCN,), {"__module__": "their.models"}))


OF_GNN = {"lambda": 0.3, "eps": 0.15, "temperature": 0.4}
GNN = {**OF_GNN, "reg_weight": 1e-4, "require_pow": True}


def test_settings_of_recbole_gnn_get_our_names(trained, gnn_class):
    path, model, _ = trained(gnn_class, **GNN)
    held = read_stock(path)
    names = {"simgcl_lambda": 0.3, "simgcl_eps": 0.15, "simgcl_temperature": 0.4, "simgcl_sum": True}
    assert {name: held.settings.get(name) for name in (*names, *OF_GNN)} == {**names, **dict.fromkeys(OF_GNN)}
    assert held.counts_repeats() and held.exact_obstacle() is None
    assert torch.equal(held.final, torch.cat([model.restore_user_e, model.restore_item_e]))


def test_an_unknown_class_cannot_be_trained_again(trained, unknown_class):
    assert "its class their.models.LightGCN is not RecBole's" in read_stock(trained(unknown_class)[0]).exact_obstacle()
