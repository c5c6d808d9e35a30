"""Training the influence encoder, on simulated requests or on the actual one."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from recbole.data.dataloader import TrainDataLoader
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import InputType

from recbole_unlearn.data.copies import with_edges
from recbole_unlearn.data.request import Request
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.display import note
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.loss import contrast_loss, pair_scores, preserving_loss, score_loss
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.settings import Count, Positive, Settings, ShareOrZero, Temperature, Weight, setting
from recbole_unlearn.trainer.resumable import ResumableTrainer

ENCODER_LOSSES = ("model", "unlearning", "preserving", "contrast", "score")


class LossSettings(Settings):
    """Losses (Eq. 25); a weight of 0 also removes the loss's cost"""

    ie_model_weight: Weight = setting(1.0, "Weight of the backbone's own loss.")
    ie_unlearning_weight: Weight = setting(1.0, "Weight of the unlearning loss.")
    ie_preserving_weight: Weight = setting(0.1, "Weight of the preserving loss.")
    ie_preserving_temperature: Positive = setting(1.0, "Temperature of the preserving loss.")
    ie_contrast_weight: Weight = setting(0.001, "Weight of the contrast loss.")
    ie_contrast_temperature: Temperature = setting(1.0, "Temperature of the contrast loss.")
    ie_contrast_drop: ShareOrZero = setting(0.05, "Share of a request's edges that the contrast loss drops.")
    ie_score_weight: Weight = setting(
        0.5, "Weight of the squared change of other pairs' scores (ours; 0 is the paper's)."
    )
    ie_sample_size: Count = setting(1024, "Pairs (nodes) of a batch that the preserving (contrast) loss compares.")


class UnlearningTask:
    """One request as the influence encoder sees it. Each part is derived when it is first used.

    Args:
        config (Config): settings; it reads ``train_batch_size`` and ``ie_contrast_drop``.
        train: the original's training data, built.
        graph: its edges.
        request: the edges to forget.
        generator: draws the edges dropped for the contrast loss.
        remaining: the graph without the request, if it is at hand.
    """

    def __init__(
        self,
        config: Any,
        train: Dataset,
        graph: Graph,
        request: Request,
        generator: torch.Generator | None = None,
        remaining: Graph | None = None,
    ) -> None:
        self.config, self.train, self.request, self.generator = config, train, request, generator
        self.n_users = graph.n_users
        self.forget_graph = Graph.from_edges(request.users, request.items, graph.n_users, graph.n_items)
        self.remaining_graph = graph.without(request.users, request.items) if remaining is None else remaining

    @cached_property
    def forget_adjacency(self) -> torch.Tensor:
        """The adjacency of the request's graph, normalised by its own degrees; sparse CSR, shape ``(N, N)``."""
        return self.forget_graph.to(self.config["device"]).adjacency

    @cached_property
    def partial_adjacency(self) -> torch.Tensor:
        """The same for the request with ``ie_contrast_drop`` of its edges dropped."""
        keep = torch.rand(len(self.forget_graph), generator=self.generator) >= self.config["ie_contrast_drop"]
        return self.forget_graph.subgraph(keep).to(self.config["device"]).adjacency

    @cached_property
    def touched(self) -> torch.Tensor:
        """Nodes of the request, boolean of shape ``(N,)``."""
        return (self.forget_graph.degrees() > 0).to(self.config["device"])

    @cached_property
    def remaining_adjacency(self) -> torch.Tensor:
        """The adjacency of the remaining graph, sparse CSR, shape ``(N, N)``."""
        return self.remaining_graph.to(self.config["device"]).adjacency

    @cached_property
    def loader(self) -> TrainDataLoader:
        """RecBole's training loader over the remaining interactions.

        Raises:
            UsageError: the batches have no negative items, which the losses need.
        """
        kind, negatives = self.config["MODEL_INPUT_TYPE"], self.config["train_neg_sample_args"]
        if kind != InputType.PAIRWISE or negatives["distribution"] == "none":
            raise UsageError(
                f"UnlearnRec trains on pairs with a negative item, which {self.config['model']} does without: give its "
                "class `input_type = InputType.PAIRWISE` and leave `train_neg_sample_args` out, or set "
                "`unlearn_finetune_epochs: 0`."
            )
        users, items = self.train.inter_feat[self.train.uid_field], self.train.inter_feat[self.train.iid_field]
        remaining = with_edges(self.train, ~self.forget_graph.contains(users, items))
        return train_loader(self.config, remaining, self.remaining_graph)


class InfluenceEncoderTrainer(ResumableTrainer):
    """Trains an influence encoder on ``L_M + l_u L_U + l_p L_P + l_c L_C + l_s L_S``, the paper's Eq. 25 and ``L_S``.

    ``L_S`` (:func:`~recbole_unlearn.loss.score_loss`) is ours. ``L_P`` compares softmaxes, which do not change when all
    of a user's scores fall together; that would be the cheapest way to lower the scores of the forgotten pairs.

    The same class pre-trains and fine-tunes. Pre-training trains ``influence`` and ``weight`` of an
    :class:`~recbole_unlearn.encoder.paper.InfluenceEncoder`, on another simulated request every few epochs. Fine-tuning
    trains its ``ego`` and ``mlp``, or a :class:`~recbole_unlearn.encoder.calibrated.CalibratedTable`, on the actual
    request. The module decides which parameters train and what ``L_U`` is; ``task_of`` chooses an epoch's request.

    Args:
        config (Config): settings; ``ie_*_weight`` are the weights of the losses. A loss of weight 0 is not computed.
        encoder: the module to train.
        backbone: the original model; never changed.
        name: file name under ``checkpoint_dir``.
        task_of: epoch number to :class:`UnlearningTask`.
    """

    def __init__(
        self,
        config: Any,
        encoder: torch.nn.Module,
        backbone: UnlearnableRecommender,
        name: str,
        task_of: Callable[[int], UnlearningTask],
    ) -> None:
        super().__init__(config, encoder, name)
        self.backbone, self.task_of = backbone, task_of
        self.loss_weights = {loss: config[f"ie_{loss}_weight"] for loss in ENCODER_LOSSES}
        if not any(self.loss_weights.values()):
            raise UsageError(f"All of {', '.join(f'ie_{loss}_weight' for loss in ENCODER_LOSSES)} are 0.")

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        return super()._train_epoch(train_data, epoch_idx, self.losses, show_progress)

    def _start_epoch(self, train_data, epoch_idx):
        self._take_up(self.task_of(epoch_idx))
        return self.task.loader

    def _take_up(self, task):
        """Make :meth:`losses` use this request, with fresh views of the remaining graph."""
        self.task = task
        with torch.no_grad():
            self.views = self.backbone.views_of(task.remaining_graph.to(self.device), self.model(task))

    def losses(self, interaction: Interaction) -> tuple[torch.Tensor, ...]:
        """The weighted losses on one batch of remaining interactions, those of weight 0 left out.

        Returns:
            Scalars in the order of ``ENCODER_LOSSES``.
        """
        task, encoder, weights = self.task, self.model, self.loss_weights
        n_users, sample = task.n_users, self.config["ie_sample_size"]
        fields = self.backbone.USER_ID, self.backbone.ITEM_ID, self.backbone.NEG_ITEM_ID
        users, items, negatives = (interaction[field] for field in fields)
        ego = encoder(task)
        final = self.backbone.forward(ego, task.remaining_adjacency)

        def unlearning():
            n_pairs = len(task.request)
            drawn = torch.arange(n_pairs) if n_pairs <= len(users) else torch.randint(n_pairs, (len(users),))
            forget_users, forget_items = task.request.users[drawn], task.request.items[drawn]
            scores = pair_scores(final, n_users, forget_users.to(final.device), forget_items.to(final.device))
            return encoder.unlearning_loss(scores, drawn)

        def contrast():
            adjacencies = task.forget_adjacency, task.partial_adjacency
            influence, partial = map(encoder.propagated_influence, adjacencies)
            nodes = torch.nonzero(task.touched).flatten()
            nodes = nodes[torch.randperm(len(nodes), device=nodes.device)[:sample]]
            return contrast_loss(influence, partial, nodes, self.config["ie_contrast_temperature"])

        compute = {
            "model": lambda: self.backbone.model_loss(interaction, ego, *self._trained_on(ego, final)),
            "unlearning": unlearning,
            "preserving": lambda: preserving_loss(
                final, encoder.final, n_users, users[:sample], items[:sample], self.config["ie_preserving_temperature"]
            ),
            "contrast": contrast,
            "score": lambda: score_loss(final, encoder.final, n_users, users, items, negatives),
        }
        return tuple(weights[loss] * compute[loss]() for loss in ENCODER_LOSSES if weights[loss])

    def _trained_on(self, ego, final):
        """What the backbone's training forward gives, without another propagation if that is its forward."""
        if type(self.backbone).training_forward is UnlearnableRecommender.training_forward:
            return final, self.views
        return self.backbone.training_forward(ego, self.task.remaining_adjacency, self.views)

    @torch.no_grad()
    def _valid_epoch(self, valid_data, show_progress=False):
        """The same loss on a held-out request, with validation pairs in place of remaining interactions."""
        task, interaction = valid_data
        self._take_up(task)
        score = float(sum(self.losses(interaction.to(self.device))))
        if show_progress:
            note(f"loss {score:.4f}")
        return score, {"loss": score}

    def _generate_train_loss_output(self, epoch_idx, s_time, e_time, losses):
        line = super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)
        for number, loss in enumerate((loss for loss in ENCODER_LOSSES if self.loss_weights[loss]), start=1):
            line = line.replace(f"train_loss{number}", loss)
        return line
