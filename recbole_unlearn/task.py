"""The data of a run: split, request, what remains, and the evaluation loaders that all rows of a report share."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import torch
from recbole.data.dataloader import FullSortEvalDataLoader

from recbole_unlearn.config import Config
from recbole_unlearn.data import attack, spam
from recbole_unlearn.data import request as requests
from recbole_unlearn.data.copies import with_edges, with_edges_of, with_extra_edges
from recbole_unlearn.data.dataset import Dataset
from recbole_unlearn.data.split import evaluation_loaders, split
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.streams import torch_stream
from recbole_unlearn.trainer import train_backbone


def attack_config(config: Config) -> Config:
    """LightGCN with shipped settings and ``forget_attack_epochs``: every backbone, however set, gets the same request.

    It trains on the CPU, so that a run on a GPU gets the same edges too.
    """
    return config.for_model("LightGCN").replace(epochs=config["forget_attack_epochs"], device=torch.device("cpu"))


@dataclass(frozen=True)
class UnlearningData:
    """Everything that a run's methods and its evaluation see.

    Args:
        train: what the original model is trained on, injected edges included.
        graph: its edges.
        request: what to forget.
        valid, test: held-out positives.
        valid_data, test_data: RecBole's evaluation loaders; both hide all items of ``train``, forgotten ones too, so
            that every row of a report ranks the same items.

    With ``unlearn_measure_on: valid``, which a sweep sets, ``test`` is one half of the validation pairs and ``valid``
    the other. ``valid_data``, which stops the training of backbones early, has both halves.
    """

    train: Dataset
    graph: Graph
    request: requests.Request
    valid: Graph
    test: Graph
    valid_data: FullSortEvalDataLoader
    test_data: FullSortEvalDataLoader

    @cached_property
    def remaining_graph(self) -> Graph:
        """The edges without the request."""
        return self.graph.without(self.request.users, self.request.items)

    @cached_property
    def remaining(self) -> Dataset:
        """``train`` without the request."""
        return with_edges_of(self.train, self.remaining_graph)

    def cold(self) -> "UnlearningData":
        """The same data, from which nothing is computed yet: what a method derives from them is its own work."""
        return dataclasses.replace(self, graph=self.graph.copy())

    @property
    def observed(self) -> tuple[Graph, Graph, Graph]:
        """The edges of training, validation and test: pairs that are no negatives."""
        return self.graph, self.valid, self.test


def prepare_data(config: Config) -> UnlearningData:
    """Load and split the dataset, and draw or read the request; an adversarial request first trains its attacker.

    Raises:
        UsageError: the dataset does not exist, the request file is invalid, or a part of the split is empty.
    """
    if config["train_file"]:
        raise UsageError(
            "Setting 'train_file' names the training rows of a checkpoint of RecBole's: it needs --checkpoint."
        )
    parts, request = _draw_request(config, split(config))
    dataset, train, valid, test = parts
    graph = dataset_graph(train)
    valid_data, test_data = evaluation_loaders(config, dataset, train, valid, test)
    if config["unlearn_measure_on"] == "valid":
        everything, (valid, test) = (
            valid,
            _halves(valid, torch_stream(config["seed"], "halves of the validation pairs")),
        )
        _, test_data = evaluation_loaders(config, dataset, train, everything, test)
    return UnlearningData(
        train=train,
        graph=graph,
        request=request,
        valid=dataset_graph(valid),
        test=dataset_graph(test),
        valid_data=valid_data,
        test_data=test_data,
    )


def _halves(part, generator):
    """Two datasets of half of the interactions each, drawn at random."""
    order = torch.randperm(len(part), generator=generator)
    first = torch.zeros(len(part), dtype=torch.bool)
    first[order[: len(part) // 2]] = True
    return with_edges(part, first), with_edges(part, ~first)


def _draw_request(config, parts):
    """The request, and the dataset and its three parts with what the request injects."""
    dataset, train, valid, test = parts
    kind = config["forget_type"]
    graph = dataset_graph(train)
    if kind == "adversarial":
        attacker = train_backbone(attack_config(config), train, name="attack")
        held_out = (
            [valid] if config["unlearn_measure_on"] == "valid" else [valid, test]
        )  # a sweep looks at no test data
        observed = Graph.union(graph, *map(dataset_graph, held_out))
        request = attack.least_likely_edges(
            attacker.model.final_embeddings().cpu(),
            observed,
            max(1, round(config["forget_ratio"] * len(graph))),
            config["forget_attack_pool"],
            requests.generator_for(config),
        )
        return (dataset, with_extra_edges(train, request.users, request.items), valid, test), request
    if kind == "spam":
        request = spam.spam_request(config, train, graph)
        dataset, train, valid, test = spam.with_accounts(parts, request.how["n_accounts"])
        return (dataset, with_extra_edges(train, request.users, request.items), valid, test), request
    return parts, REQUESTS[kind](config, train, graph)


REQUESTS = {
    "random": requests.random_request,
    "user": requests.user_request,
    "item": requests.item_request,
    "file": requests.file_request,
}
