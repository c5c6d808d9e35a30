"""The split of a dataset, the request on it, and the evaluation loaders that all rows of a report share."""

import os
import traceback
from collections.abc import Mapping, Sequence
from contextlib import contextmanager

import recbole
from recbole.config import Config
from recbole.data.dataloader import AbstractDataLoader, NegSampleEvalDataLoader
from recbole.data.utils import create_samplers, get_dataloader
from recbole.utils import init_seed

import recbole_unlearn
from recbole_unlearn.data.copies import with_edges_of
from recbole_unlearn.data.dataset import Dataset
from recbole_unlearn.data.full_sort import FullSortLoader
from recbole_unlearn.data.sampler import SameNegativesLoader, train_loader
from recbole_unlearn.data.spam import with_accounts
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph, dataset_graph

FOLDERS = [os.path.join(package.__path__[0], "") for package in (recbole, recbole_unlearn)]


def restore_data(
    config: Config, graph: Graph, tokens: Mapping[str, Sequence[str | None]]
) -> tuple[Dataset, AbstractDataLoader, AbstractDataLoader, AbstractDataLoader]:
    """The dataset and loaders of an earlier run, with the ``graph`` of its unlearned model as the training part.

    Args:
        config: of that run.
        graph: remaining interactions.
        tokens: the run's tokens of ``user`` and ``item`` by id, ``None`` where the model file holds none.

    Returns:
        ``dataset, train_data, valid_data, test_data``.

    Raises:
        UsageError: the files have changed, so that ids mean other users or items now.
    """
    dataset, train, remaining, valid, test = split_of(config, graph, tokens)
    return dataset, train_loader(config, remaining), *evaluation_loaders(config, dataset, train, valid, test)


def split_of(
    config: Config, graph: Graph, tokens: Mapping[str, Sequence[str | None]]
) -> tuple[Dataset, Dataset, Dataset, Dataset, Dataset]:
    """The split that a saved model was trained on, with the rows that it still knows.

    Earlier releases trained models on RecBole's reading of the files (``as_recbole`` of :func:`split`). The function
    tries that reading if this release's does not fit.

    Args:
        config, graph, tokens: see :func:`restore_data`.

    Returns:
        ``dataset, train, remaining, valid, test``.

    Raises:
        UsageError: ids do not mean the users and items of the model, or rows are missing.
    """
    dataset, train, valid, test = _with_spam(split(config), tokens)
    try:
        return dataset, train, _matching_rows(config, train, graph, tokens), valid, test
    except UsageError as error:
        dataset, train, valid, test = _with_spam(split(config, as_recbole=True), tokens)
        try:
            return dataset, train, _matching_rows(config, train, graph, tokens), valid, test
        except UsageError:
            raise error from None


def _with_spam(parts, tokens):
    """The parts with as many users as a model has: fake accounts, whose names the model holds or has erased."""
    n_accounts = len(tokens["user"]) - parts[0].user_num
    return with_accounts(parts, n_accounts) if n_accounts > 0 else parts


def _matching_rows(config, train, graph, tokens):
    for field, stored in ((train.uid_field, tokens["user"]), (train.iid_field, tokens["item"])):
        current = train.field2id_token[field]
        if len(current) != len(stored) or any(s not in (None, str(c)) for s, c in zip(stored, current)):
            raise UsageError(
                f"The {field}s of dataset '{config['dataset']}' are not those that the model was trained with; "
                "load the model alone with recbole_unlearn.model_file.load_model, which brings its own tokens."
            )
    remaining = with_edges_of(train, graph)
    missing = len(graph) - len(dataset_graph(remaining))
    if missing:
        raise UsageError(
            f"{missing} of the model's {len(graph)} interactions are not in the training part of "
            f"'{config['dataset']}': its files, `seed` or `eval_args` have changed since, or the model was trained "
            "with injected interactions, which only comparisons do."
        )
    return remaining


def split(config: Config, as_recbole: bool = False) -> tuple[Dataset, Dataset, Dataset, Dataset]:
    """The dataset and its training, validation and test parts; one seed always gives the same split.

    Args:
        config: settings.
        as_recbole: whether the files are read as RecBole reads them; see :class:`Dataset`.

    Raises:
        UsageError: there is no such dataset, or a part is empty.
    """
    init_seed(config["seed"], config["reproducibility"])
    with _recboles_errors(config):
        dataset = Dataset(config, as_recbole)
        parts = dataset.build()
    if len(parts) != 3:
        raise UsageError(f"`eval_args` must split into training, validation and test, not into {len(parts)} parts.")
    for name, part in zip(("training", "validation", "test"), parts):
        if len(part) == 0:
            raise UsageError(f"The {name} part of the split is empty; change `eval_args`.")
    if max(config["topk"]) >= dataset.item_num:
        raise UsageError(f"Setting 'topk' asks for {max(config['topk'])} of {dataset.item_num - 1} items; lower it.")
    return dataset, *parts


@contextmanager
def _recboles_errors(config):
    """Turn what RecBole raises over a dataset into one line; an error of this package's own code stays as it is."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        theirs, ours = (max(n if file.startswith(folder) else -1 for n, file in enumerate(files)) for folder in FOLDERS)
        if theirs < ours:
            raise
        said = f"({type(error).__name__}) {' '.join(str(error).split())[:500]}"
        raise UsageError(
            f"RecBole cannot use dataset '{config['dataset']}' in {config['data_path']}: {said}"
        ) from error


def evaluation_loaders(
    config: Config, dataset: Dataset, train: Dataset, valid: Dataset, test: Dataset
) -> list[AbstractDataLoader]:
    """RecBole's loaders of validation and test data, which hide a user's items of the earlier parts.

    With ``uniN`` and ``popN``, every evaluation has the same drawn items.

    Raises:
        UsageError: RecBole cannot make them, e.g. because it draws items and a user has them all.
    """
    loaders, samplers, earlier = [], {}, [train]
    kinds = {phase: get_dataloader(config, phase) for phase in ("valid", "test")}
    if NegSampleEvalDataLoader in kinds.values():
        with _recboles_errors(config):
            _, samplers["valid"], samplers["test"] = create_samplers(config, dataset, [train, valid, test])
    for part, (phase, kind) in zip((valid, test), kinds.items()):
        if kind is NegSampleEvalDataLoader:
            loaders.append(SameNegativesLoader(config, part, samplers[phase], shuffle=False))
        else:
            loaders.append(FullSortLoader(config, part, Graph.union(*map(dataset_graph, earlier))))
        earlier.append(part)
    return loaders
