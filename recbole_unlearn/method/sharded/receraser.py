"""RecEraser: balanced shards of interactions, aggregated by attention."""

from math import ceil
from typing import Literal

import torch
from recbole.data.dataset import Dataset
from recbole.utils import InputType

from recbole_unlearn.graph import Graph
from recbole_unlearn.method.base import METHODS
from recbole_unlearn.method.sharded.aggregation import AttentionAggregator, table_model
from recbole_unlearn.method.sharded.base import ShardedUnlearner, ShardSettings
from recbole_unlearn.method.sharded.partition import edge_shards, node_shards
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.settings import Count, Positive, setting
from recbole_unlearn.streams import begin_stream, torch_stream
from recbole_unlearn.trainer import train, train_backbone

CAP = 1.2  # largest shard over the mean shard (section 4.2 of the paper)
NEGATIVES = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0}


class RecEraserSettings(ShardSettings):
    """The partition, and the attention"""

    unlearn_receraser_shards: Count = setting(10, "Number of shards.", "Its paper's section 5.1.")
    unlearn_receraser_partition: Literal["interaction", "user", "item"] = setting(
        "interaction",
        "What is grouped: interaction, user or item.",
        "Its paper's InBP, UBP, IBP; InBP does best there.",
    )
    unlearn_receraser_rounds: Count = setting(50, "Rounds of the partition at most.", "Its released code.")
    unlearn_receraser_epochs: Count = setting(
        50, "Epochs of the attention at most.", "Ours; early stopping ends most fits before."
    )
    unlearn_receraser_learning_rate: Positive = setting(0.001, "Of the attention.", "Its released code.")
    unlearn_receraser_stopping_step: Count = setting(
        3, "Epochs without a better validation before the attention's training stops.", "Ours."
    )


@METHODS.register
class RecEraser(ShardedUnlearner):
    """Shards of similar interactions (or users, or items), aggregated by attention.

    A pre-trained matrix factorisation gives the similarity. The attention is fitted anew after every request. If the
    backbone trains weights besides its table, each shard has its own: the attention then takes the shards' final
    embeddings, and the result is a table that scores by itself.

    Reference: Chen et al., "Recommendation Unlearning", WWW 2022.
    """

    settings = RecEraserSettings

    def partition(self) -> tuple[torch.Tensor, int, float]:
        config, data = self.config, self.data
        kind, n_shards, rounds = (config[f"unlearn_receraser_{key}"] for key in ("partition", "shards", "rounds"))
        trained = train_backbone(config.for_model("BPR"), data.train, "RecEraser-factors", data.valid_data)
        users, items = trained.model.final_embeddings().cpu().split([data.graph.n_users, data.graph.n_items])
        generator = torch_stream(config["seed"], "anchors")
        graph = data.graph
        if kind == "interaction":
            cap = ceil(CAP * len(graph) / n_shards)
            shard = edge_shards(graph.users, graph.items, users, items, n_shards, cap, rounds, generator)
        else:
            table, side = (users, graph.users) if kind == "user" else (items, graph.items)
            anchors = table[torch.randperm(len(table), generator=generator)[:n_shards]]
            shard = node_shards(table, anchors, ceil(CAP * len(table) / n_shards), rounds)[side]
        return shard, n_shards, trained.seconds_before

    @staticmethod
    def shard_table(model: UnlearnableRecommender) -> torch.Tensor:
        return model.final_embeddings() if model.weights_beyond_table else model.ego_embeddings()

    def aggregate(
        self, shards: list[tuple[torch.Tensor, Graph]], dataset: Dataset, graph: Graph
    ) -> tuple[UnlearnableRecommender, float]:
        fitting = self.config.stream("aggregation").replace(
            epochs=self.config["unlearn_receraser_epochs"],
            learning_rate=self.config["unlearn_receraser_learning_rate"],
            eval_step=1,
            stopping_step=self.config["unlearn_receraser_stopping_step"],
        )
        if fitting["MODEL_INPUT_TYPE"] != InputType.PAIRWISE:  # the backbone's loss may do without negative items
            fitting = fitting.replace(MODEL_INPUT_TYPE=InputType.PAIRWISE, train_neg_sample_args=NEGATIVES)
        tables = torch.stack([table for table, _ in shards])
        present = torch.stack([part.degrees() > 0 for _, part in shards])
        backbone = self.original
        if backbone.weights_beyond_table:  # the original's weights would remember the request
            backbone = table_model(self.config, dataset, tables[0], graph)
        begin_stream(fitting, "weights")
        aggregator = AttentionAggregator(fitting, dataset, backbone, tables, present, graph)
        fitted = train(fitting, aggregator, dataset, "RecEraser-aggregator", self.data.valid_data, content=[tables])
        with torch.no_grad():
            return backbone.revised(aggregator.ego_embeddings(), graph), fitted.seconds_before
