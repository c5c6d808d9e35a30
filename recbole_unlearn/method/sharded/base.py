"""The common part of the methods that train a model a shard and retrain only the shards that a request touches."""

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import joblib
import torch
from joblib.externals import loky
from recbole.data.dataset import Dataset
from recbole.utils import init_seed
from tqdm import tqdm

from recbole_unlearn.data.sampler import rankable
from recbole_unlearn.files import checkpoint
from recbole_unlearn.graph import Graph
from recbole_unlearn.method.base import Stage, Unlearner
from recbole_unlearn.method.sharded.shard import ShardData, in_all_data
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender
from recbole_unlearn.trainer import ResumableTrainer, train


class ShardedUnlearner(Unlearner):
    """Implement :meth:`partition` and :meth:`aggregate`, and :meth:`shard_table` to say what is kept of a shard's model.

    The partition is drawn once, from the training data; shards are trained apart, in parallel on ``unlearn_shard_workers``
    processes, and of each only one table stays in memory. A shard's model knows the users and items that have edges
    there, draws its negative items among them, and stops early on the validation pairs between them: given the partition
    (which was drawn with the forgotten edges), a shard that a request does not touch is as if they had never been. Online,
    the touched shards are trained anew on what remains of them, and the aggregation is made anew.
    """

    def partition(self) -> tuple[torch.Tensor, int, float]:
        """Shard of each training edge (-1: no shard holds it; shape ``(E,)``), the number of shards, and ``seconds_before``
        as in :meth:`prepare`."""
        raise NotImplementedError

    def aggregate(
        self, shards: list[tuple[torch.Tensor, Graph]], dataset: Dataset, graph: Graph
    ) -> tuple[UnlearnableRecommender, float]:
        """One model of the shards' tables, and ``seconds_before`` as in :meth:`prepare`.

        Args:
            shards: each shard's table (shape ``(N, d)``, zeros for nodes without edges there) and graph.
            dataset: all shards' interactions.
            graph: their edges.
        """
        raise NotImplementedError

    @staticmethod
    def shard_table(model: UnlearnableRecommender) -> torch.Tensor:
        """What :meth:`aggregate` gets of a shard's model, shape ``(N, d)``; by default the final embeddings."""
        return model.final_embeddings()

    def parts(self, graph: Graph) -> list[Graph]:
        """The graphs that a shard's model is trained on in turn, each holding the one before; by default all at once."""
        return [graph]

    def prepare(self) -> float:
        self.shard, self.n_shards, partitioning = self.partition()
        graphs = {k: self.data.graph.subgraph(self.shard == k) for k in range(self.n_shards)}
        self.shards, earlier = self._train(graphs, graphs)
        self._prepared = set(earlier)
        self.model, aggregating = self._aggregated(self.shards, self.data.train, self.data.graph)
        return partitioning + sum(earlier.values()) + aggregating

    def before(self) -> UnlearnableRecommender:
        return self.model

    def unlearn(self) -> Iterator[Stage]:
        data = self.data
        forgotten = ~data.remaining_graph.contains(data.graph.users, data.graph.items)
        touched = [k for k in torch.unique(self.shard[forgotten]).tolist() if k >= 0]
        kept = {k: data.graph.subgraph((self.shard == k) & ~forgotten) for k in touched}
        retrained, earlier = self._train(kept, {k: self.shards[k][1] for k in touched})
        # Slices before the request's are loaded from what prepare trained: nobody waits for them again.
        training = sum(seconds for file, seconds in earlier.items() if file not in self._prepared)
        details = {"shards retrained": f"{len(touched)} of {self.n_shards}", **self.details()}
        if not forgotten.any():
            yield Stage("", self.model, details=details)
            return
        model, aggregating = self._aggregated({**self.shards, **retrained}, data.remaining, data.remaining_graph)
        yield Stage("", model, training + aggregating, details)

    def details(self) -> dict[str, Any]:
        """What else the report should tell about the partition."""
        return {}

    def _aggregated(self, shards, dataset, graph):
        return self.aggregate([shards[k] for k in sorted(shards)], dataset, graph)

    def _train(
        self, graphs: dict[int, Graph], before: dict[int, Graph]
    ) -> tuple[dict[int, tuple[torch.Tensor, Graph]], dict[str, float]]:
        """Train a model on each graph.

        Args:
            graphs, before: a shard's number to its edges, and to those before any request, whose nodes it knows.

        Returns:
            Shard number to table and graph; and each training's file to the seconds that earlier runs had spent
            on it, as the workers together wait for them.
        """
        data, owner = self.data, type(self).__name__
        config = self.config.replace(
            train_batch_size=self.config["unlearn_shard_batch_size"] or self.config["train_batch_size"]
        )
        n_workers = self._n_workers(len(graphs))
        jobs = (
            joblib.delayed(_train_shard)(
                type(self.original),
                self.shard_table,
                self._on_device(config, k, n_workers),
                ShardData.of(config, data.train, data.valid_data._dataset, before[k], self.parts(graph)),
                f"{owner}-{k}",
            )
            for k, graph in graphs.items()
        )
        results = joblib.Parallel(n_jobs=n_workers, return_as="generator", pre_dispatch="n_jobs")(jobs)
        bar = tqdm(results, total=len(graphs), desc=f"{owner}: shards", disable=not config["show_progress"])
        shards, earlier = {}, {}
        for (k, graph), (table, seconds_before) in zip(graphs.items(), bar):
            present = (graph.degrees() > 0)[:, None]  # a request may have taken a node's last edge
            shards[k] = torch.where(present, in_all_data(table, before[k]), 0.0), graph
            earlier |= {file: seconds / n_workers for file, seconds in seconds_before.items()}
        if n_workers > 1:
            loky.get_reusable_executor().shutdown(wait=True)  # idle workers would count as the next method's memory
        return shards, earlier

    def _n_workers(self, n_shards):
        wanted = self.config["unlearn_shard_workers"]
        # As many threads as any other training here has: the comparison with Retrain is of equal means.
        there = torch.cuda.device_count() if self.config["device"].type == "cuda" else torch.get_num_threads()
        return max(1, min(wanted or there, n_shards))

    def _on_device(self, config, k, n_workers):
        if n_workers == 1 or config["device"].type != "cuda":
            return config
        return config.replace(device=torch.device("cuda", k % torch.cuda.device_count()))


def _train_shard(model_class, table_of, config, shard, name):
    """In a worker, or here: the table of the shard's nodes on the CPU, and each training's file with the seconds of earlier runs."""
    MODELS.register(model_class)  # a fresh process does not know a user's own model
    if len(shard.parts) > 1:
        # As much work as without slices: sum_r (r / R) 2 / (R + 1) = 1.
        config = config.replace(epochs=max(1, round(2 * config["epochs"] / (len(shard.parts) + 1))))
    file, seconds_before = None, {}
    for part in shard.parts:
        init_seed(config["seed"], config["reproducibility"])
        model = model_class(config, part)
        graph = model.graph
        content = [shard.users, shard.items, graph.users, graph.items, os.path.basename(file or "")]
        trainer_class = partial(_GoingOn, file) if len(shard.parts) > 1 else ResumableTrainer
        # The model is on the whole part; in batches come only pairs that a negative item can be drawn for.
        trained = train(config, model, rankable(part), name, shard.valid_data, content, trainer_class, verbose=False)
        if trained.file:
            file = trained.file
            seconds_before[file] = trained.seconds_before
    return table_of(trained.model).detach().cpu(), seconds_before


class _GoingOn(ResumableTrainer):
    """Starts from the weights and the optimiser in a finished training's file, and keeps its own optimiser too."""

    def __init__(self, file, *arguments):
        super().__init__(*arguments)
        if file:
            state = checkpoint.load(file, self.device)
            self.model.load_state_dict(state["state_dict"])
            self.optimizer.load_state_dict(state["optimizer"])

    def _state(self):
        return {**super()._state(), "optimizer": self.optimizer.state_dict()}
