"""The common part of methods that train a model for each shard and retrain only the shards that a request touches."""

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from recbole.data.dataset import Dataset
from typing_extensions import Self

from recbole_unlearn.data.sampler import rankable
from recbole_unlearn.display import counted
from recbole_unlearn.files import checkpoint
from recbole_unlearn.graph import Graph
from recbole_unlearn.method.base import Stage, Unlearner
from recbole_unlearn.method.sharded.shard import ShardData, in_all_data
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender
from recbole_unlearn.parallel import device_of, n_workers, side_by_side
from recbole_unlearn.settings import Count, Settings, setting
from recbole_unlearn.streams import begin_stream
from recbole_unlearn.trainer import ResumableTrainer, train


class ShardSettings(Settings):
    """The training of shards"""

    unlearn_shard_batch_size: Count | None = setting(None, "Training batch size of a shard; empty takes the run's.")
    unlearn_shard_workers: Count | None = setting(
        None, "Shards trained at a time; empty takes one a thread of a training, or one a GPU."
    )


class ShardedUnlearner(Unlearner):
    """Implement :meth:`partition` and :meth:`aggregate`, and :meth:`shard_table` to choose the table of a shard.

    The training data is partitioned once. The shards train apart, in parallel on ``unlearn_shard_workers`` processes,
    and only one table of each stays in memory. A shard's model knows only the users and items that have edges there: it
    draws its negative items among them and stops early on the validation pairs between them. Given the partition, which
    the forgotten edges did influence, a shard that a request does not touch is as if these edges had never existed.
    Online, the method retrains the touched shards on their remaining edges and aggregates anew.
    """

    settings = ShardSettings

    def partition(self) -> tuple[torch.Tensor, int, float]:
        """Each training edge's shard (shape ``(E,)``; -1: in none), number of shards, and seconds of earlier runs."""
        raise NotImplementedError

    def aggregate(
        self, shards: list[tuple[torch.Tensor, Graph]], dataset: Dataset, graph: Graph
    ) -> tuple[torch.nn.Module, float]:
        """One model from the shards' tables, and the seconds that earlier runs spent on it.

        Args:
            shards: each shard's table (shape ``(N, d)``, zeros for nodes without edges there) and graph.
            dataset: all shards' interactions.
            graph: their edges.
        """
        raise NotImplementedError

    @staticmethod
    def shard_table(model: UnlearnableRecommender) -> torch.Tensor:
        """The table of a shard's model for :meth:`aggregate`, shape ``(N, d)``; by default the final embeddings."""
        return model.final_embeddings()

    def shard_data(self, config: Any, before: Graph, parts: list[Graph]) -> ShardData:
        """The training data of a shard; by default it has only the shard's users and items.

        Args:
            config (Config): settings of the training.
            before: the shard's edges before any request.
            parts: the edges to train on in turn.
        """
        return ShardData.of(config, self.data.train, self.data.valid_data._dataset, before, parts)

    @staticmethod
    def in_all_data(table: torch.Tensor, before: Graph, graph: Graph) -> torch.Tensor:
        """What :meth:`shard_table` gave, for all users and items: zeros for nodes without edges in the shard.

        Args:
            table: of the nodes of :meth:`shard_data`.
            before, graph: the shard's edges before any request, and those that are left.
        """
        present = (graph.degrees() > 0)[:, None]  # a request may have taken a node's last edge
        return torch.where(present, in_all_data(table, before), 0.0)

    def parts(self, graph: Graph) -> list[Graph]:
        """The graphs that a shard's model trains on in turn, each containing the previous one; by default one."""
        return [graph]

    def prepare(self) -> float:
        self.shard, self.n_shards, partitioning = self.partition()
        graphs = {k: self.data.graph.subgraph(self.shard == k) for k in range(self.n_shards)}
        self.shards, earlier = self._train(graphs, graphs)
        self._prepared, self._retrained = set(earlier), dict[int, tuple[torch.Tensor, Graph]]()
        self.model, aggregating = self._aggregated(self.shards, self.data.train, self.data.graph)
        return partitioning + sum(earlier.values()) + aggregating

    def before(self) -> torch.nn.Module:
        return self.model

    def unlearn(self) -> Iterator[Stage]:
        data = self.data
        forgotten = ~data.remaining_graph.contains(data.graph.users, data.graph.items)
        touched = [k for k in torch.unique(self.shard[forgotten]).tolist() if k >= 0]
        kept = {k: data.graph.subgraph((self.shard == k) & ~forgotten) for k in touched}
        retrained, earlier = self._train(kept, {k: self.shards[k][1] for k in touched})
        self._retrained, self._files = retrained, set(earlier)  # the next request of a sequence starts from them
        # Slices before the request's are loaded from the preparation: they cost no time now.
        training = sum(seconds for file, seconds in earlier.items() if file not in self._prepared)
        details = {"shards retrained": f"{len(touched)} of {self.n_shards}", **self.details()}
        if not forgotten.any():
            yield Stage("", self.model, details=details)
            return
        model, aggregating = self._aggregated({**self.shards, **retrained}, data.remaining, data.remaining_graph)
        yield Stage("", model, training + aggregating, details)

    def continued(self, data: Any, model: torch.nn.Module) -> Self:
        following = super().continued(data, model)
        following.original = self.original  # whose class the shards train
        following.shards = {**self.shards, **self._retrained}
        following.shard = self.shard[self.data.remaining_graph.contains(self.data.graph.users, self.data.graph.items)]
        following._prepared = self._prepared | self._files
        following.model = model
        return following

    def details(self) -> dict[str, Any]:
        """Further entries of the report on the partition."""
        return {}

    def _aggregated(self, shards, dataset, graph):
        return self.aggregate([shards[k] for k in sorted(shards)], dataset, graph)

    def _train(
        self, graphs: dict[int, Graph], before: dict[int, Graph]
    ) -> tuple[dict[int, tuple[torch.Tensor, Graph]], dict[str, float]]:
        """Train a model on each graph.

        Args:
            graphs, before: each shard's edges, and its edges before any request, whose nodes its model knows.

        Returns:
            Each shard's table and graph; and for each training's file the seconds that earlier runs spent on it,
            divided by the number of workers.
        """
        owner = type(self).__name__
        config = self.config.replace(
            train_batch_size=self.config["unlearn_shard_batch_size"] or self.config["train_batch_size"], nproc=1
        )
        workers = n_workers(self.config, len(graphs), config["unlearn_shard_workers"])
        jobs = (
            (
                type(self.original),
                self.shard_table,
                config.replace(device=device_of(config["device"], k, workers)),
                self.shard_data(config, before[k], self.parts(graph)),
                f"{owner}-{k}",
            )
            for k, graph in graphs.items()
        )
        results = counted(side_by_side(_train_shard, jobs, workers, config), "shard", len(graphs))
        shards: dict[int, tuple[torch.Tensor, Graph]] = {}
        earlier: dict[str, float] = {}
        for (table, seconds_before), (k, graph) in zip(results, graphs.items()):
            shards[k] = self.in_all_data(table, before[k], graph), graph
            earlier |= {file: seconds / workers for file, seconds in seconds_before.items()}
        return shards, earlier


def _train_shard(model_class, table_of, config, shard, name):
    """The table of the shard's nodes on the CPU, and for each training's file the seconds that earlier runs spent."""
    MODELS.register(model_class)  # a fresh process does not know a user's own model
    if len(shard.parts) > 1:
        # As much work as without slices: sum_r (r / R) 2 / (R + 1) = 1.
        config = config.replace(epochs=max(1, round(2 * config["epochs"] / (len(shard.parts) + 1))))
    file, seconds_before = None, {}
    for number, part in enumerate(shard.parts):
        of_part = config.stream(name, number)
        begin_stream(of_part, "weights")
        model = model_class(of_part, part)
        graph = model.graph
        content = [shard.users, shard.items, graph.users, graph.items, os.path.basename(file or "")]
        trainer_class = partial(_GoingOn, file) if len(shard.parts) > 1 else ResumableTrainer
        # The model uses the graph of the whole part; batches have only pairs for which a negative item can be drawn.
        trained = train(of_part, model, rankable(part), name, shard.valid_data, content, trainer_class, verbose=False)
        if trained.file:
            file = trained.file
            seconds_before[file] = trained.seconds_before
    return table_of(trained.model).detach().cpu(), seconds_before


class _GoingOn(ResumableTrainer):
    """Starts from the weights and the optimiser of a finished training's file, and also saves its own optimiser."""

    def __init__(self, file, *arguments):
        super().__init__(*arguments)
        if file:
            state = checkpoint.load(file, self.device)
            self.model.load_state_dict(state["state_dict"])
            self.optimizer.load_state_dict(state["optimizer"])

    def _state(self):
        return {**super()._state(), "optimizer": self.optimizer.state_dict()}
