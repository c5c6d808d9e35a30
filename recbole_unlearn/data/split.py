"""The split of a dataset, the request on it, and the evaluation loaders that all rows of a report share."""

import os
import traceback
from contextlib import contextmanager
from dataclasses import dataclass

import recbole
import torch
from recbole.config import Config
from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader
from recbole.data.utils import create_samplers, get_dataloader
from recbole.utils import init_seed

import recbole_unlearn
from recbole_unlearn.data import attack, request as requests
from recbole_unlearn.data.dataset import Dataset, with_edges, with_edges_of, with_extra_edges
from recbole_unlearn.data.sampler import SameNegativesLoader, train_loader
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.base import dataset_graph
from recbole_unlearn.trainer import train_backbone

REQUESTS = {
    "random": requests.random_request,
    "user": requests.user_request,
    "item": requests.item_request,
    "file": requests.file_request,
}
FOLDERS = [os.path.join(os.path.dirname(package.__file__), "") for package in (recbole, recbole_unlearn)]


@dataclass(frozen=True)
class UnlearningData:
    """Everything that a run's methods and its evaluation see.

    Args:
        train (Dataset): what the original model is trained on, injected edges included.
        remaining (Dataset): ``train`` without the request.
        graph, remaining_graph (Graph): their edges.
        request (Request): what to forget.
        valid, test (Graph): held-out positives.
        valid_data, test_data: RecBole's evaluation loaders; both hide all items of ``train``, forgotten ones too, so
            that every row of a report ranks the same items.

    With ``unlearn_measure_on: valid``, as a sweep has it, one half of the validation pairs stands in for ``test`` and
    ``valid`` is the other; ``valid_data``, for the early stopping of backbones, is of both.
    """

    train: Dataset
    remaining: Dataset
    graph: Graph
    remaining_graph: Graph
    request: requests.Request
    valid: Graph
    test: Graph
    valid_data: FullSortEvalDataLoader
    test_data: FullSortEvalDataLoader

    def observed(self):
        """All edges of training, validation and test as one graph."""
        return Graph.union(self.graph, self.valid, self.test)


def prepare_data(config):
    """Load, split, and draw or read the request; an adversarial one trains its attacking model first.

    Raises:
        UsageError: no such dataset, a bad request file, an empty part of the split.
    """
    if config["train_file"]:
        raise UsageError("Setting 'train_file' names the training rows of a checkpoint of RecBole's: it needs --checkpoint.")
    dataset, train, valid, test = split(config)
    train, request = _draw_request(config, train, valid, test)
    graph = dataset_graph(train)
    remaining_graph = graph.without(request.users, request.items)
    valid_data, test_data = evaluation_loaders(config, dataset, train, valid, test)
    if config["unlearn_measure_on"] == "valid":
        everything, (valid, test) = valid, _halves(valid, config["seed"])
        _, test_data = evaluation_loaders(config, dataset, train, everything, test)
    return UnlearningData(
        train=train,
        remaining=with_edges_of(train, remaining_graph),
        graph=graph,
        remaining_graph=remaining_graph,
        request=request,
        valid=dataset_graph(valid),
        test=dataset_graph(test),
        valid_data=valid_data,
        test_data=test_data,
    )


def restore_data(config, graph, tokens):
    """The dataset and loaders of an earlier run, with ``graph`` (of its unlearned model) as the training part.

    Args:
        config (Config): of that run.
        graph (Graph): remaining interactions.
        tokens (dict): the run's tokens of ``user`` and ``item`` by id, ``None`` where the model file holds none.

    Returns:
        tuple: ``dataset, train_data, valid_data, test_data``.

    Raises:
        UsageError: the files have changed so that ids mean other users or items now.
    """
    dataset, train, remaining, valid, test = split_of(config, graph, tokens)
    return dataset, train_loader(config, remaining), *evaluation_loaders(config, dataset, train, valid, test)


def split_of(
    config: Config, graph: Graph, tokens: dict[str, list]
) -> tuple[Dataset, Dataset, Dataset, Dataset, Dataset]:
    """The split that a saved model was trained on, with the rows that it still knows.

    Models of earlier releases were trained on RecBole's reading of the files (``as_recbole`` of :func:`split`): it is tried
    if this release's does not fit.

    Args:
        config, graph, tokens: see :func:`restore_data`.

    Returns:
        tuple: ``dataset, train, remaining, valid, test``.

    Raises:
        UsageError: ids mean other users or items than in the model, or rows are missing.
    """
    dataset, train, valid, test = split(config)
    try:
        return dataset, train, _matching_rows(config, train, graph, tokens), valid, test
    except UsageError as error:
        dataset, train, valid, test = split(config, as_recbole=True)
        try:
            return dataset, train, _matching_rows(config, train, graph, tokens), valid, test
        except UsageError:
            raise error from None


def _matching_rows(config, train, graph, tokens):
    for field, stored in ((train.uid_field, tokens["user"]), (train.iid_field, tokens["item"])):
        current = train.field2id_token[field]
        if len(current) != len(stored) or any(s not in (None, str(c)) for s, c in zip(stored, current)):
            raise UsageError(
                f"The {field}s of dataset '{config['dataset']}' are not those that the model was trained with; "
                "load the model alone with recbole_unlearn.saved_model.load_model, which brings its own tokens."
            )
    remaining = with_edges_of(train, graph)
    missing = len(graph) - len(dataset_graph(remaining))
    if missing:
        raise UsageError(
            f"{missing} of the model's {len(graph)} interactions are not in the training part of "
            f"'{config['dataset']}': its files, `seed` or `eval_args` have changed since, or the model was trained with "
            "adversarial edges, which is for comparisons alone."
        )
    return remaining


def split(config: Config, as_recbole: bool = False) -> tuple[Dataset, Dataset, Dataset, Dataset]:
    """The dataset and its training, validation and test parts; the same for the same seed.

    Args:
        config: settings.
        as_recbole: whether the files are read as RecBole reads them; see :class:`Dataset`.

    Raises:
        UsageError: no such dataset, or an empty part.
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
    """What RecBole raises over a dataset, as one line; an error of this package's own code stays what it is."""
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
        raise UsageError(f"RecBole cannot use dataset '{config['dataset']}' in {config['data_path']}: {said}") from error


def evaluation_loaders(config, dataset, train, valid, test):
    """RecBole's loaders of validation and test data, which hide a user's items of the earlier parts.

    With ``uniN`` and ``popN``, each evaluation has the same drawn items.

    Raises:
        UsageError: RecBole cannot make them, as for a user who has all items.
    """
    loaders = []
    with _recboles_errors(config):
        _, *samplers = create_samplers(config, dataset, [train, valid, test])
    for phase, part, sampler in zip(("valid", "test"), (valid, test), samplers):
        kind = get_dataloader(config, phase)
        loader = (SameNegativesLoader if kind is NegSampleEvalDataLoader else kind)(config, part, sampler, shuffle=False)
        if isinstance(loader, FullSortEvalDataLoader):
            sampler.used_ids = None  # a Python set a user, read by now: much of a run's memory
        loaders.append(loader)
    return loaders


def _halves(part, seed):
    """Two datasets of half of the interactions each, drawn at random."""
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))
    first = torch.zeros(len(part), dtype=torch.bool)
    first[order[: len(part) // 2]] = True
    return with_edges(part, first), with_edges(part, ~first)


def _draw_request(config, train, valid, test):
    kind = config["forget_type"]
    graph = dataset_graph(train)
    if kind == "adversarial":
        attacker = train_backbone(attack.attack_config(config), train, name="attack")
        held_out = [valid] if config["unlearn_measure_on"] == "valid" else [valid, test]  # a sweep looks at no test data
        observed = Graph.union(graph, *map(dataset_graph, held_out))
        request = attack.least_likely_edges(
            attacker.model.final_embeddings().cpu(),
            observed,
            max(1, round(config["forget_ratio"] * len(graph))),
            config["forget_attack_pool"],
            requests.generator_for(config),
        )
        return with_extra_edges(train, request.users, request.items), request
    return train, REQUESTS[kind](config, train, graph)
