"""Import a trained checkpoint, with its data, as the first version of a store."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recbole.data.dataset import Dataset

from recbole_unlearn.config import Config
from recbole_unlearn.data.copies import with_edges
from recbole_unlearn.data.split import split, split_of
from recbole_unlearn.deletion.importing.proof import check_knowledge, check_split
from recbole_unlearn.deletion.importing.stock_checkpoint import read_stock
from recbole_unlearn.deletion.importing.training_rows import split_by_file
from recbole_unlearn.deletion.version.inter_file import write_dataset
from recbole_unlearn.deletion.version.row_counts import counts_of
from recbole_unlearn.deletion.version.state import HELD_OUT, State, erased_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import torch_file
from recbole_unlearn.files.tensor_file import is_tensor_file
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import MODELS, ExactRecommender, NetworkRecommender, Recommender, dataset_graph
from recbole_unlearn.model_file import KEYS, check_sizes, load_model, read_content


@dataclass(frozen=True)
class Imported:
    """A trained model with the data of its training.

    Args:
        config: of its training.
        model: on its training graph.
        parts: ``train``, ``valid`` and ``test`` datasets, built.
        tokens: external tokens of ``user`` and ``item``, object arrays in the order of internal ids; None where
            the model has already forgotten somebody.
    """

    config: Config
    model: Recommender
    parts: dict[str, Dataset]
    tokens: dict[str, np.ndarray]

    def graphs(self) -> dict[str, Graph]:
        """The graph of each part of the data."""
        return {part: dataset_graph(dataset) for part, dataset in self.parts.items()}

    def counts(self) -> dict[str, torch.Tensor]:
        """Numbers of rows of the edges, of parts in which some edge has several; see :class:`State`."""
        counts = {}
        for part, data in self.parts.items():
            ends = (data.inter_feat[field] for field in (data.uid_field, data.iid_field))
            counts[part] = counts_of(dataset_graph(data), *ends)
        return {part: of for part, of in counts.items() if of is not None}

    def state(self) -> State:
        """The model as a state that is ready for requests."""
        held_out = {part: graph for part, graph in self.graphs().items() if part in HELD_OUT}
        return State.prepare(self.config, self.model, self.tokens, held_out, self.counts())

    def write_rows(self, part: str, path: str) -> None:
        """Write a part of the data; see :meth:`State.write`."""
        write_dataset(path, self.parts[part])


def import_checkpoint(path: str, config_dict: dict[str, Any] | None = None) -> Imported:
    """Load a checkpoint of this package or of RecBole's own Trainer, and the data that it was trained on.

    Args:
        path: of the checkpoint. Nothing in it is executed.
        config_dict: settings to change, e.g. ``data_path``. ``train_file`` names an ``.inter`` file with the training
            rows of a RecBole checkpoint.

    Returns:
        The model and its data, checked against each other.

    Raises:
        UsageError: the file does not exist or is of another kind, or the model was not trained on the data.
    """
    config_dict = {**(config_dict or {}), "unlearn_methods": ["UnlearnRec"]}  # the store needs its yaml's settings
    if not os.path.isfile(path):
        raise UsageError(f"Checkpoint '{path}' does not exist.")
    return _of_this_package(path, config_dict) if _is_ours(path) else _of_recbole(path, config_dict)


def _of_this_package(path, config_dict):
    if config_dict.get("train_file"):
        raise UsageError(
            f"'{path}' holds its training rows itself: leave out --train_file, which is for RecBole's checkpoints."
        )
    config, model, names = load_model(path, config_dict)
    _check_names(path, config, read_content(path)["config"])
    if isinstance(model, NetworkRecommender):
        raise UsageError(
            f"'{path}' holds a {config['model']}, a network: a store revises tables and fits, and no receipt could say "
            "what of a network has forgotten. Train it anew without the request: run_unlearn.py, method Retrain."
        )
    _, _, train, valid, test = split_of(config, model.graph.to("cpu"), names)
    tokens = {side: np.array(of_side, dtype=object) for side, of_side in names.items()}
    valid, test = (_without_erased(part, tokens) for part in (valid, test))
    if not isinstance(model, ExactRecommender):  # whose equations prove it: see check_fit
        check_knowledge(path, config["dataset"], model)
    return Imported(config, model, {"train": train, "valid": valid, "test": test}, tokens)


def _of_recbole(path, config_dict):
    stock = read_stock(path)
    if MODELS[stock.settings["model"]].weights_beyond_table:
        raise UsageError(
            f"'{path}' holds RecBole's {stock.settings['model']}, whose weights besides the table only a training of "
            "this package's class forgets in: train it with run_unlearn.py, whose checkpoints --exact serves."
        )
    recorded = {"unlearn_exact_obstacle": stock.exact_obstacle(), "forget_type": "file"}
    config = Config(config_dict=config_dict, stored={**recorded, **stock.settings})
    _check_names(path, config, stock.settings)
    whole, *parts = split(config, as_recbole=True)
    names = {side: whole.field2id_token[config[f"{side.upper()}_ID_FIELD"]] for side in ("user", "item")}
    tokens = {side: np.array([*map(str, of_side)], dtype=object) for side, of_side in names.items()}
    if config["train_file"]:
        parts = split_by_file(config["train_file"], config, parts, tokens)
    train, *held_out = parts
    _check_repeats(path, stock, train)
    try:
        check_sizes(config, stock.weights, train.user_num + train.item_num)
        model = MODELS[config["model"]](config, train).to(config["device"])
        model.load_state_dict(stock.weights)
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"'{path}' does not fit dataset '{config['dataset']}', which has {train.user_num - 1} users and "
            f"{train.item_num - 1} items: {' '.join(str(error).split())}"
        ) from None
    model.eval()
    rest = Graph.union(*map(dataset_graph, held_out))
    check_split(path, config["dataset"], model, rest, stock.final, bool(config["train_file"]))
    return Imported(config, model, dict(zip(("train", *HELD_OUT), parts)), tokens)


def _check_repeats(path, stock, train):
    """Refuse a model whose graph counted repeated interactions each time: this package's graphs count them once."""
    repeats = len(train) - len(dataset_graph(train))
    if repeats and stock.counts_repeats():
        raise UsageError(
            f"'{path}' is a {stock.model_class} on data with {repeats} repeated training interactions, which it "
            f"adds up in its graph; the {stock.settings['model']} of this package has each once. Train it again "
            "with `rm_dup_inter: first`."
        )


def _without_erased(dataset, tokens):
    """A part without rows of users and items that the model has forgotten: the data's files may still have them."""
    users, items = map(torch.from_numpy, erased_of(tokens).values())
    ends = (dataset.inter_feat[field] for field in (dataset.uid_field, dataset.iid_field))
    return with_edges(dataset, ~(users[next(ends)] | items[next(ends)]))


def _is_ours(path):
    try:
        return is_tensor_file(path) or KEYS <= torch_file.read(path, torch_file.stub).keys()
    except (AttributeError, UsageError):  # no dictionary, or no torch file: the other reader says what is wrong
        return False


def _check_names(path, config, trained):
    for name in ("model", "dataset"):
        if config[name] != trained[name]:
            raise UsageError(f"'{path}' holds {trained['model']} on {trained['dataset']}, not {name} '{config[name]}'.")
