"""GraphEraser: balanced shards of nodes, with a learned weight for each shard."""

from typing import Any, Literal

import torch
from recbole.data.dataset import Dataset

from recbole_unlearn.data.sampler import EdgeSampler
from recbole_unlearn.errors import NoResult
from recbole_unlearn.graph import Graph
from recbole_unlearn.method.base import METHODS
from recbole_unlearn.method.influence.frozen_loss import Triples
from recbole_unlearn.method.sharded.aggregation import learned_weights, table_model, weighted_concatenation
from recbole_unlearn.method.sharded.base import ShardedUnlearner, ShardSettings
from recbole_unlearn.method.sharded.partition import first_centres, node_shards, propagated_labels
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.settings import Count, ShareOrZero, Weight, setting
from recbole_unlearn.streams import begin_stream, stream_seed, torch_stream

SHARE_OF_TRIPLES = 0.1  # share of the training data that the weights learn from (section 4.4 of the paper)


class GraphEraserSettings(ShardSettings):
    """The partition, and the shards' weights"""

    unlearn_grapheraser_shards: Count = setting(
        10, "Number of shards.", "RecEraser's paper compares all sharded methods at 10."
    )
    unlearn_grapheraser_partition: Literal["BEKM", "BLPA"] = setting(
        "BEKM", "BEKM (balanced k-means) or BLPA (balanced label propagation); its paper has both."
    )
    unlearn_grapheraser_partition_on: Literal["nodes", "users"] = setting(
        "users",
        "users (items are in all shards, no edge is lost), or nodes (edges between shards are lost).",
        "Ours: its paper classifies nodes.",
    )
    unlearn_grapheraser_slack: ShareOrZero = setting(
        0.005, "Share of all other nodes that a shard may hold beyond its own part.", "Its paper's delta."
    )
    unlearn_grapheraser_rounds: Count = setting(20, "Rounds of the partition at most.", "Its released code.")
    unlearn_grapheraser_penalty: Weight = setting(
        1e-3, "Weight of the norm of the shards' weights.", "Ours: the paper names no value for ranking."
    )


@METHODS.register
class GraphEraser(ShardedUnlearner):
    """Shards of nodes by balanced k-means (BEKM) or balanced label propagation (BLPA), aggregated by LBAggr.

    With ``unlearn_grapheraser_partition_on: users``, a shard has its users' edges, items are in all shards, and no edge
    is lost. With ``nodes``, as in the paper, which classifies nodes, a shard is the graph that its users and items
    induce. Edges between shards are lost, and a pair of nodes of different shards scores 0: a user gets recommendations
    from one shard only. Forgetting an edge between shards retrains nothing, as no shard learned it. The report gives
    the share of edges kept.

    Reference: Chen et al., "Graph Unlearning", CCS 2022.
    """

    settings = GraphEraserSettings

    def partition(self) -> tuple[torch.Tensor, int, float]:
        config, graph = self.config, self.data.graph
        on_users = config["unlearn_grapheraser_partition_on"] == "users"
        shard = self._node_shards(graph.n_users if on_users else graph.n_nodes)
        shard_of_edge = shard[graph.users]
        if not on_users:
            inside = shard_of_edge == shard[graph.items + graph.n_users]
            shard_of_edge = torch.where(inside, shard_of_edge, -1)
        self.kept = float((shard_of_edge >= 0).float().mean())
        return shard_of_edge, config["unlearn_grapheraser_shards"], 0.0

    def _node_shards(self, n_nodes):
        """Shards of the first ``n_nodes`` nodes; labels always spread over users and items."""
        config, graph = self.config, self.data.graph
        n_shards, rounds = config["unlearn_grapheraser_shards"], config["unlearn_grapheraser_rounds"]
        if config["unlearn_grapheraser_partition"] == "BLPA":
            generator = torch_stream(config["seed"], "first labels")
            caps = self._cap(graph.n_users), self._cap(graph.n_items)
            return propagated_labels(graph, n_shards, caps, rounds, generator)[:n_nodes]
        table = self.original.final_embeddings()[:n_nodes].cpu()
        if n_shards > n_nodes:
            raise NoResult(
                f"unlearn_grapheraser_shards is {n_shards}, but there are only {n_nodes} nodes to partition."
            )
        return node_shards(
            table,
            first_centres(table, n_shards, stream_seed(config["seed"], "first centres")),
            self._cap(n_nodes),
            rounds,
        )

    def _cap(self, n_nodes):
        least = -(-n_nodes // self.config["unlearn_grapheraser_shards"])
        return least + int(self.config["unlearn_grapheraser_slack"] * (n_nodes - least))

    def details(self) -> dict[str, Any]:
        return {"edges in shards": f"{self.kept:.0%}"}

    def aggregate(
        self, shards: list[tuple[torch.Tensor, Graph]], dataset: Dataset, graph: Graph
    ) -> tuple[UnlearnableRecommender, float]:
        config = self.config
        begin_stream(config, "aggregation")
        chosen = torch.randperm(len(graph))[: max(1, int(SHARE_OF_TRIPLES * len(graph)))]
        users, items = graph.users[chosen], graph.items[chosen]
        negatives = EdgeSampler(dataset, graph=graph).sample_by_key_ids(users, 1)
        triples = Triples(users, items, negatives, graph.n_users, graph.n_items)
        tables = [table for table, _ in shards]
        differences = torch.stack([triples.differences(table, table) for table in tables], dim=1)
        weights = learned_weights(differences.numpy(), config["unlearn_grapheraser_penalty"])
        return table_model(config, dataset, weighted_concatenation(tables, weights), graph), 0.0
