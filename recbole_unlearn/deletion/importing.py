"""From a trained checkpoint to the first version of a store."""

import os
import zipfile
from dataclasses import dataclass

import numpy as np
import torch
from recbole.data.dataset import Dataset

from recbole_unlearn import checkpoint
from recbole_unlearn.config import Config
from recbole_unlearn.data.dataset import with_edges
from recbole_unlearn.data.split import split, split_of
from recbole_unlearn.deletion.rows import counts_of, write_dataset
from recbole_unlearn.deletion.state import HELD_OUT, State
from recbole_unlearn.errors import UsageError
from recbole_unlearn.evaluator.metrics import auc
from recbole_unlearn.graph import Graph
from recbole_unlearn.loss import pair_scores
from recbole_unlearn.model import MODELS, UnlearnableRecommender, dataset_graph
from recbole_unlearn.saved_model import load_model, read_content
from recbole_unlearn.stock_checkpoint import read_stock
from recbole_unlearn.tensor_file import is_tensor_file

LEAST_AUC = 0.55  # of training pairs against others of the same degrees; .5 if ids mean somebody else, above .64 if not


@dataclass(frozen=True)
class Imported:
    """A trained model with the data of its training.

    Args:
        config (Config): of its training.
        model (UnlearnableRecommender): on its training graph.
        parts (dict): ``train``, ``valid`` and ``test`` datasets, built.
        tokens (dict): external tokens of ``user`` and ``item``, object arrays in the order of internal ids; None where
            the model had forgotten somebody before.
    """

    config: Config
    model: UnlearnableRecommender
    parts: dict[str, Dataset]
    tokens: dict[str, np.ndarray]

    def graphs(self):
        """Each part of the data to its graph."""
        return {part: dataset_graph(dataset) for part, dataset in self.parts.items()}

    def counts(self):
        """How many rows the edges of those parts have in which some has several; see :class:`State`."""
        counts = {}
        for part, graph in self.graphs().items():
            feat, fields = self.parts[part].inter_feat, (self.parts[part].uid_field, self.parts[part].iid_field)
            counts[part] = counts_of(graph, *(feat[field] for field in fields))
        return {part: of for part, of in counts.items() if of is not None}

    def state(self):
        """The model ready for requests."""
        held_out = {part: graph for part, graph in self.graphs().items() if part in HELD_OUT}
        return State.prepare(self.config, self.model, self.tokens, held_out, self.counts())

    def write_rows(self, part, path):
        """Write a part of the data; see :meth:`State.write`."""
        write_dataset(path, self.parts[part])


def import_checkpoint(path, config_dict=None):
    """Load a checkpoint of this package, or one that RecBole's own Trainer wrote, and the data that it was trained on.

    Args:
        path (str): the file. Nothing in it is executed.
        config_dict (dict): settings to change, e.g. ``data_path``.

    Returns:
        Imported: checked against its data.

    Raises:
        UsageError: no such file, one of another kind, or data that the model was not trained on.
    """
    config_dict = {**(config_dict or {}), "unlearn_methods": ["UnlearnRec"]}  # whose yaml the store's settings need
    if not os.path.isfile(path):
        raise UsageError(f"Checkpoint '{path}' does not exist.")
    _check_sums(path)
    if _is_ours(path):
        config, model, tokens = load_model(path, config_dict)
        _check_names(path, config, read_content(path)["config"])
        _, _, train, valid, test = split_of(config, model.graph.to("cpu"), tokens)
        tokens = {side: np.array(names, dtype=object) for side, names in tokens.items()}
        valid, test = (_without_erased(part, tokens) for part in (valid, test))
    else:
        settings, weights = read_stock(path)
        config = Config(config_dict=config_dict, stored={"forget_type": "file", **settings})
        _check_names(path, config, settings)
        _, train, valid, test = split(config, as_recbole=True)
        fields = {"user": train.uid_field, "item": train.iid_field}
        tokens = {side: np.array([*map(str, train.field2id_token[field])], dtype=object) for side, field in fields.items()}
        model = MODELS[config["model"]](config, train).to(config["device"])
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise UsageError(
                f"'{path}' does not fit dataset '{config['dataset']}', which has {train.user_num - 1} users and "
                f"{train.item_num - 1} items: {' '.join(str(error).split())}"
            ) from None
        model.eval()
    _check_fit(path, config, model)
    return Imported(config, model, {"train": train, "valid": valid, "test": test}, tokens)


def _without_erased(dataset, tokens):
    """A part without the rows of users and items that the model had forgotten: the data's files may still have them."""
    erased = [torch.from_numpy(tokens[side] == None) for side in ("user", "item")]  # noqa: E711
    ids = [dataset.inter_feat[field] for field in (dataset.uid_field, dataset.iid_field)]
    return with_edges(dataset, ~(erased[0][ids[0]] | erased[1][ids[1]]))


def _check_sums(path):
    """Refuse a file with a wrong byte somewhere: torch does not look at the checksums that its own files have."""
    try:
        if not zipfile.is_zipfile(path):
            return  # whoever reads it says what it is
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile's and zlib's own, of many types
        damaged = type(error).__name__
    if damaged:
        raise UsageError(f"'{path}' is damaged ({damaged}). Restore it from a copy, or train again.")


def _is_ours(path):
    try:
        return is_tensor_file(path) or "user_tokens" in checkpoint.load(path)
    except Exception:  # pickled objects, or no torch file at all: the other reader says what is wrong
        return False


def _check_names(path, config, trained):
    for name in ("model", "dataset"):
        if config[name] != trained[name]:
            raise UsageError(f"'{path}' holds {trained['model']} on {trained['dataset']}, not {name} '{config[name]}'.")


def _check_fit(path, config, model):
    """Refuse weights whose ids mean other users or items than the data's, which no file format tells."""
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise UsageError(f"'{path}' has weights that are not finite.")
    graph = model.graph.to("cpu")
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(graph), generator=generator)[:10_000]
    users, items = graph.users[chosen], graph.items[chosen]
    others = items[torch.randperm(len(items), generator=generator)]  # as popular; by popularity any model ranks well
    unseen = ~graph.contains(users, others)
    ego = model.ego_embeddings().detach().cpu()  # of the graph's propagation any rows profit, if they are those of others
    pairs = (users, items), (users[unseen], others[unseen])
    value = auc(*(pair_scores(ego, graph.n_users, *pair).numpy() for pair in pairs))
    if not value >= LEAST_AUC:
        raise UsageError(
            f"'{path}' does not know the training data of '{config['dataset']}': its rows tell a training pair from a random "
            f"one in {value:.0%} of cases. Its ids mean other users and items, or the files, `seed` or `eval_args` have changed."
        )
