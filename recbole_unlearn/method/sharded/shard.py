"""A shard as a dataset of its own: only the users and items that have edges there, renumbered."""

from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.dataset import Dataset

from recbole_unlearn.data.copies import with_edges, with_edges_of, with_nodes
from recbole_unlearn.data.split import evaluation_loaders
from recbole_unlearn.graph import Graph, dataset_graph


@dataclass(frozen=True)
class ShardData:
    """The training data of a shard's model. Its size is that of the shard; edges of other shards do not change it.

    Args:
        users, items: ids in the whole dataset of the nodes that are 1, 2, ... here.
        parts: the datasets that the model trains on in turn, each containing the previous one.
        valid_data: RecBole's evaluation loader of the validation pairs between the shard's nodes, for early stopping;
            ``None`` if there are several parts, no such pairs, or too few items to rank.
    """

    users: torch.Tensor
    items: torch.Tensor
    parts: list[Dataset]
    valid_data: AbstractDataLoader | None

    @classmethod
    def of(cls, config: Any, train: Dataset, valid: Dataset, graph: Graph, parts: list[Graph]) -> "ShardData":
        """The data of one shard.

        Args:
            config (Config): settings of the training.
            train, valid: the datasets of all shards.
            graph: the shard's edges before any request; its nodes keep their numbers when edges are forgotten.
            parts: the edges to train on in turn, as in the result.
        """
        users, items = nodes_of(graph)
        parts = [with_nodes(with_edges_of(train, part), users, items) for part in parts]
        valid_data = _validation_loader(config, parts[0], with_nodes(valid, users, items)) if len(parts) == 1 else None
        return cls(users, items, parts, valid_data)

    @classmethod
    def of_users(cls, config: Any, train: Dataset, valid: Dataset, graph: Graph, parts: list[Graph]) -> "ShardData":
        """The data of a shard of users, which keep their numbers, as all items do; arguments as for :meth:`of`."""
        users, items = torch.arange(1, graph.n_users), torch.arange(1, graph.n_items)
        mine = torch.zeros(graph.n_users, dtype=torch.bool).index_fill_(0, graph.users, True)
        valid = with_edges(valid, mine[valid.inter_feat[valid.uid_field]])
        datasets = [with_edges_of(train, part) for part in parts]
        valid_data = _validation_loader(config, datasets[0], valid) if len(parts) == 1 else None
        return cls(users, items, datasets, valid_data)


def nodes_of(graph: Graph) -> list[torch.Tensor]:
    """Ascending ids of the users, and of the items, that have edges; they are 1, 2, ... in a shard's data."""
    return [torch.nonzero(degrees).flatten() for degrees in graph.degrees().split([graph.n_users, graph.n_items])]


def in_all_data(table: torch.Tensor, graph: Graph) -> torch.Tensor:
    """A table of a shard's nodes (shape ``(n, d)``) as a table of all nodes, shape ``(N, d)``, zero for the others.

    Args:
        table: with a padding row before the users' rows and one before the items'.
        graph: the shard's edges, before any request.
    """
    users, items = nodes_of(graph)
    of_users, of_items = table.split([len(users) + 1, len(items) + 1])
    nodes, rows = torch.cat([users, items + graph.n_users]), torch.cat([of_users[1:], of_items[1:]])
    return table.new_zeros(graph.n_nodes, table.shape[1]).index_copy(0, nodes, rows)


def _validation_loader(config, train, valid):
    """An evaluation loader that hides the items of ``train``, without the users who have all items."""
    seen = Graph.union(dataset_graph(train), dataset_graph(valid))
    some_left = seen.degrees()[: seen.n_users] < seen.n_items - 1
    train, valid = (with_edges(part, some_left[part.inter_feat[part.uid_field]]) for part in (train, valid))
    if len(valid) == 0 or valid.item_num <= max(config["topk"]):
        return None
    return evaluation_loaders(config, valid, train, valid, valid)[0]
