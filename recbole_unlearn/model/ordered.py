"""The contract of networks that read a user's interactions in the order of their times."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset

from recbole_unlearn.data.interactions import source_of
from recbole_unlearn.data.settings import LoadedColumns
from recbole_unlearn.data.stored import StoredDataset
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.model.network import NetworkRecommender, NetworkSettings
from recbole_unlearn.settings import setting


class OrderedSettings(NetworkSettings):
    """Data with times, and the evaluation of the next item"""

    load_col: LoadedColumns = {"inter": ["user_id", "item_id", "timestamp"]}
    eval_args: dict = setting(
        {
            "split": {"LS": "valid_and_test"},
            "order": "TO",
            "group_by": "user",
            "mode": {"valid": "full", "test": "full"},
        },
        "A user's latest item is for test and the one before for validation; RecBole's default for sequential models.",
    )


class OrderedNetwork(NetworkRecommender):
    """A network that reads a user's interactions in the order of their times, those at the same time by item id.

    The order is a buffer, so that a file of the model has it. It lists the edges of ``self.graph`` alone:
    :meth:`set_graph` takes out what is forgotten, and leaves no gap where it was. A pair that the data repeat counts
    once, at its latest time. Implement what a :class:`NetworkRecommender` has, from :meth:`sequences`; ``__init__``
    need not call ``set_graph``.

    Raises:
        UsageError: the dataset has no times.
    """

    settings = OrderedSettings
    trait = "network that reads a user's interactions in order"
    order: torch.Tensor

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        graph = dataset_graph(dataset)
        if isinstance(dataset, StoredDataset):  # the file that the weights come from has the order as well
            order = torch.arange(len(graph), device=graph.device)
        else:
            order = torch.tensor(np.lexsort((_times(dataset, graph), graph.users.numpy())))
        self.graph = graph.to(self.device)
        self.register_buffer("order", order.to(self.device))

    def set_graph(self, graph: Graph) -> None:
        """Make the model read this graph, whose edges are some of the present one's.

        Raises:
            ValueError: it has an edge that the present one lacks, so that nothing says its time.
        """
        graph = graph.to(self.device)
        place, found = self.graph.find(graph.users, graph.items)
        if not found.all():
            raise ValueError(f"{int((~found).sum())} edges are new to {type(self).__name__}, which has no time of them")
        rank = torch.empty_like(self.order)
        rank[self.order] = torch.arange(len(rank), device=rank.device)
        self.order, self.graph = torch.argsort(rank[place]), graph

    def sizes(self, users: torch.Tensor) -> torch.Tensor:
        """How many interactions some users have, shape ``(B,)``."""
        return self.graph.degrees()[users]

    def sequences(self, users: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The last items of some users, in order, after a 0 that begins each user's sequence.

        Args:
            users: ids, shape ``(B,)``.
            length: items at most, the 0 included.

        Returns:
            Items, shape ``(B, L)``, and how many of each row count, shape ``(B,)``, from 1 to L; zeros follow them.
        """
        graph = self.graph
        first, end = graph.bounds(users)
        sizes = (end - first + 1).clamp(max=length)
        steps = torch.arange(int(sizes.max()) if len(sizes) else 1, device=users.device)
        places = (end - sizes)[:, None] + steps
        real = (places >= first[:, None]) & (places < end[:, None])
        items = torch.zeros_like(places)
        items[real] = graph.items[self.order[places[real]]]
        return items, sizes

    def load_state_dict(self, state_dict: Mapping[str, Any], *arguments: Any, **named: Any) -> Any:
        """Load weights and order.

        Raises:
            ValueError: the order is none of the graph's edges.
        """
        loaded = super().load_state_dict(state_dict, *arguments, **named)
        each = torch.arange(len(self.graph), device=self.order.device)
        users = self.graph.users
        if not torch.equal(torch.sort(self.order).values, each) or not torch.equal(users[self.order], users):
            raise ValueError("its order is none of its edges")
        return loaded


def _times(dataset, graph):
    """The latest time of each edge, shape ``(E,)``, in the source's precision."""
    field, rows = dataset.time_field, dataset.inter_feat
    if field not in rows or not rows[field].dtype.is_floating_point:
        raise UsageError(
            f"{dataset.config['model']} reads interactions in the order of their times, and dataset "
            f"'{dataset.dataset_name}' has loaded no column '{field}' of type float. Name the column of times with "
            f"--TIME_FIELD=NAME, and let `load_col` have it."
        )
    times = source_of(rows).get(field, rows[field]).double()
    times = torch.where(times.isnan(), times.nanmean(), times)  # as the split orders them
    edge, _ = graph.find(rows[dataset.uid_field], rows[dataset.iid_field])
    return torch.full((len(graph),), -torch.inf, dtype=times.dtype).scatter_reduce(0, edge, times, "amax").numpy()
