"""SISA: random shards of edges, in slices, with the mean of the shards' scores."""

from typing import Any

import torch
from recbole.data.dataset import Dataset
from typing_extensions import Self

from recbole_unlearn.graph import Graph
from recbole_unlearn.method.base import METHODS
from recbole_unlearn.method.sharded.aggregation import table_model, weighted_concatenation
from recbole_unlearn.method.sharded.base import ShardedUnlearner, ShardSettings
from recbole_unlearn.method.sharded.committee import Committee
from recbole_unlearn.method.sharded.partition import random_shards
from recbole_unlearn.method.sharded.shard import ShardData
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.model.network import NetworkRecommender
from recbole_unlearn.model.recommender import Recommender
from recbole_unlearn.settings import Count, setting
from recbole_unlearn.streams import torch_stream


class SISASettings(ShardSettings):
    """Shards and slices"""

    unlearn_sisa_shards: Count = setting(
        10, "Number of shards.", "RecEraser's paper compares all sharded methods at 10."
    )
    unlearn_sisa_slices: Count = setting(
        1, "Slices of a shard, each a step of its training.", "SISA's paper: sharding alone is 1."
    )


@METHODS.register
class SISA(ShardedUnlearner):
    """Sharded, isolated, sliced, aggregated training.

    A shard's edges come in R slices (``unlearn_sisa_slices``). Step r trains on the first r of them, from the weights
    and the optimiser of step r - 1. Forgetting a request repeats the steps from its first slice on. With one slice, a
    shard stops early on validation data; with several, each step has a fixed number of epochs, ``2 / (R + 1)`` of all.

    A network needs a user's interactions together, as its input: its shards are of users (:class:`SISAOfUsers`).

    Reference: Bourtoule et al., "Machine Unlearning", S&P 2021.
    """

    settings = SISASettings
    serves: tuple[type[Recommender], ...] = (UnlearnableRecommender, NetworkRecommender)

    def __new__(cls, *arguments: Any, **named: Any) -> "SISA":
        """The kind that serves the original, as ``pathlib.Path`` gives the kind of the system."""
        original = named.get("original", arguments[-1] if arguments else None)
        return super().__new__(SISAOfUsers if isinstance(original, NetworkRecommender) else cls)

    def partition(self) -> tuple[torch.Tensor, int, float]:
        n_shards, n_edges = self.config["unlearn_sisa_shards"], len(self.data.graph)
        generator = torch_stream(self.config["seed"], "partition")
        shard = random_shards(n_edges, n_shards, generator)
        self.slice = random_shards(n_edges, self.config["unlearn_sisa_slices"], generator)
        return shard, n_shards, 0.0

    def continued(self, data: Any, model: torch.nn.Module) -> Self:
        following = super().continued(data, model)
        following.slice = self.slice[self.data.remaining_graph.contains(self.data.graph.users, self.data.graph.items)]
        return following

    def parts(self, graph: Graph) -> list[Graph]:
        last = self.config["unlearn_sisa_slices"] - 1
        if last == 0:
            return [graph]
        whole = self.data.graph
        earlier = [whole.subgraph(self.slice <= r) for r in range(last)]
        return [graph.subgraph(part.contains(graph.users, graph.items)) for part in earlier] + [graph]

    def aggregate(
        self, shards: list[tuple[torch.Tensor, Graph]], dataset: Dataset, graph: Graph
    ) -> tuple[torch.nn.Module, float]:
        table = weighted_concatenation([table for table, _ in shards], [1 / len(shards)] * len(shards))
        return table_model(self.config, dataset, table, graph), 0.0


class SISAOfUsers(SISA):
    """SISA of a network: each shard has some users with all of their interactions, and all items.

    A model of each shard scores every user, by what remains of the user; the score is the mean.
    """

    serves = (NetworkRecommender,)

    def partition(self) -> tuple[torch.Tensor, int, float]:
        _, n_shards, seconds = super().partition()
        of_user = random_shards(self.data.graph.n_users, n_shards, torch_stream(self.config["seed"], "users' shards"))
        return of_user[self.data.graph.users], n_shards, seconds

    @staticmethod
    def shard_table(model: NetworkRecommender) -> torch.Tensor:
        """The weights as one vector."""
        return torch.nn.utils.parameters_to_vector(model.weights().values())

    def shard_data(self, config: Any, before: Graph, parts: list[Graph]) -> ShardData:
        return ShardData.of_users(config, self.data.train, self.data.valid_data._dataset, before, parts)

    @staticmethod
    def in_all_data(table: torch.Tensor, before: Graph, graph: Graph) -> torch.Tensor:
        return table

    def aggregate(
        self, shards: list[tuple[torch.Tensor, Graph]], dataset: Dataset, graph: Graph
    ) -> tuple[torch.nn.Module, float]:
        return Committee(self.original.on_graph(graph), [weights for weights, _ in shards]), 0.0

    def details(self) -> dict[str, Any]:
        return {"not saved": "the mean of several networks is no model of one file"}
