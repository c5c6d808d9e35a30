"""RecBole's Trainer, made resumable, for backbones and for the influence encoder."""

import os
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import torch
from recbole.trainer import Trainer
from recbole.utils import init_seed, set_color
from torch.utils.tensorboard import SummaryWriter

from recbole_unlearn import checkpoint
from recbole_unlearn.data.dataset import with_edges
from recbole_unlearn.data.request import Request, digest
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.loss import contrast_loss, pair_scores, preserving_loss, score_loss, unlearning_loss
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender, dataset_graph

SECONDS_BETWEEN_SAVES = 5
ENCODER_LOSSES = ("model", "unlearning", "preserving", "contrast", "score")
PROGRESS = ("epoch", "cur_step", "best_valid_score", "best_valid_result", "seconds")


class ResumableTrainer(Trainer):
    """RecBole's Trainer whose files are named by content, written aside and resumed from.

    ``NAME.pth`` holds the best weights, ``NAME.pth.resume`` the last state. Each epoch's random streams are derived
    from the seed and the epoch, so an interrupted training goes on as if it had not been. A training that finished is
    not repeated: :meth:`fit` loads it.

    Args:
        config (Config): settings.
        model (torch.nn.Module): what is trained.
        name (str): file name under ``checkpoint_dir``; must change with whatever changes the result.
    """

    def __init__(self, config, model, name):
        super().__init__(config, model)
        self.saved_model_file = os.path.join(config["checkpoint_dir"], f"{name}.pth")
        self.resume_file = f"{self.saved_model_file}.resume"
        self.tensorboard = SummaryWriter(os.path.join(self.tensorboard.log_dir, name))
        self.epoch = 0
        self.seconds = 0.0  # spent training, earlier runs included
        self.seconds_before = 0.0  # what those had spent
        self._last_save = perf_counter()

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """Train, resume or load; the model then holds the best weights (the last ones without validation data)."""
        if saved and self._load_finished():
            return self.best_valid_score, self.best_valid_result
        if saved and os.path.exists(self.resume_file):
            self.resume_checkpoint(self.resume_file)
        self._resumed_at = self._last_save = perf_counter()
        result = super().fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)
        self._count_seconds()
        if saved:
            if self.best_valid_result is not None:
                self.model.load_state_dict(checkpoint.load(self.saved_model_file, self.device)["state_dict"])
            checkpoint.save(self.saved_model_file, {**self._state(), "finished": True})
            if os.path.exists(self.resume_file):
                os.remove(self.resume_file)
        self.tensorboard.close()
        return result

    def _build_optimizer(self, **kwargs):
        optimizer = super()._build_optimizer(**kwargs)
        for group in optimizer.param_groups:
            if "fused" in group:
                group["fused"] = True  # Adam's update in one pass over memory instead of ten
        return optimizer

    def resume_checkpoint(self, resume_file):
        """Go on from the ``.resume`` file of the same training."""
        state = checkpoint.load(resume_file, self.device)
        self.model.load_state_dict(state["state_dict"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._restore_progress(state)
        self.start_epoch = self.epoch
        self.logger.info(f"Resuming at epoch {self.start_epoch} from {resume_file}")

    def _load_finished(self):
        if not os.path.exists(self.saved_model_file):
            return False
        state = checkpoint.load(self.saved_model_file, self.device)
        if not state["finished"]:
            return False
        self.model.load_state_dict(state["state_dict"])
        self._restore_progress(state)
        self.logger.info(set_color("Trained before", "blue") + f" in {self.seconds:.1f}s: {self.saved_model_file}")
        return True

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        self.epoch = epoch_idx
        if epoch_idx > self.start_epoch and perf_counter() - self._last_save > SECONDS_BETWEEN_SAVES:
            self._count_seconds()
            checkpoint.save(self.resume_file, {**self._state(), "optimizer": self.optimizer.state_dict()})
            self._last_save = perf_counter()
        seed = (self.config["seed"] * 1_000_003 + epoch_idx) % 2**32
        init_seed(seed, self.config["reproducibility"])
        train_data.generator.manual_seed(seed)
        return super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        checkpoint.save(self.saved_model_file, {**self._state(), "finished": False})

    def _check_nan(self, loss):
        if not torch.isfinite(loss):
            raise UsageError(
                f"The loss of {type(self.model).__name__} became {loss.item()} in epoch {self.epoch}; "
                "nothing was saved from it. Try a smaller learning rate."
            )

    def _state(self):
        return {"state_dict": self.model.state_dict(), **{key: _plain(getattr(self, key)) for key in PROGRESS}}

    def _restore_progress(self, state):
        for key in PROGRESS:
            setattr(self, key, state[key])
        self.seconds_before = self.seconds

    def _count_seconds(self):
        now = perf_counter()
        self.seconds += now - self._resumed_at
        self._resumed_at = now


def _plain(value):
    """RecBole's scores are numpy scalars, which a safe load refuses."""
    if isinstance(value, dict):
        return {key: float(entry) for key, entry in value.items()}
    return value if value is None or isinstance(value, int) else float(value)


@dataclass(frozen=True)
class Trained:
    """A trained backbone.

    Args:
        model: in evaluation mode.
        seconds (float): what its training took in all.
        seconds_before (float): the part of it that earlier runs had spent; this one went on from there.
    """

    model: UnlearnableRecommender
    seconds: float
    seconds_before: float


def train_backbone(config, dataset, name, valid_data=None):
    """Train a fresh ``config["model"]`` on a dataset with RecBole's epochs and early stopping.

    Args:
        config (Config): settings of the backbone.
        dataset (Dataset): built; its interactions are the training data.
        name (str): the model's part in the run, e.g. ``original``; begins the file's name.
        valid_data: RecBole's evaluation loader for early stopping; ``None`` trains for all epochs.

    Returns:
        Trained: the model, in evaluation mode. The same training is loaded, not repeated: its file's name is a digest
        of the settings and of the edges themselves.
    """
    init_seed(config["seed"], config["reproducibility"])
    graph = dataset_graph(dataset)
    model = MODELS[config["model"]](config, dataset).to(config["device"])
    content = digest(config.training_settings(), graph.users, graph.items)
    trainer = ResumableTrainer(config, model, f"{name}-{config['model']}-{config['dataset']}-{content}")
    trainer.logger.info(set_color(f"Training {name}", "pink") + f": {config['model']} on {len(graph)} interactions")
    trainer.fit(train_loader(config, dataset), valid_data, show_progress=config["show_progress"])
    model.eval()
    return Trained(model, trainer.seconds, trainer.seconds_before)


class Episode:
    """One request as the influence encoder sees it; all parts are derived, and only when they are asked for.

    Args:
        config (Config): ``train_batch_size`` and ``ie_contrast_drop`` are read.
        train (Dataset): the original's training data, built.
        graph (Graph): its edges.
        request (Request): those to forget.
        generator (torch.Generator): draws the edges dropped for the contrast loss.
    """

    def __init__(self, config, train, graph, request, generator=None):
        self.config, self.train, self.request, self.generator = config, train, request, generator
        self.n_users = graph.n_users
        self.forget_graph = Graph.from_edges(request.users, request.items, graph.n_users, graph.n_items)
        self.remaining_graph = graph.without(request.users, request.items)

    @cached_property
    def forget_adjacency(self):
        """Of the request's graph, with that graph's own degrees; sparse CSR, shape ``(N, N)``."""
        return self.forget_graph.to(self.config["device"]).adjacency

    @cached_property
    def partial_adjacency(self):
        """The same for the request with ``ie_contrast_drop`` of its edges dropped."""
        keep = torch.rand(len(self.forget_graph), generator=self.generator) >= self.config["ie_contrast_drop"]
        return self.forget_graph.subgraph(keep).to(self.config["device"]).adjacency

    @cached_property
    def touched(self):
        """Nodes of the request, boolean of shape ``(N,)``."""
        return (self.forget_graph.degrees() > 0).to(self.config["device"])

    @cached_property
    def remaining_adjacency(self):
        """Sparse CSR, shape ``(N, N)``."""
        return self.remaining_graph.to(self.config["device"]).adjacency

    @cached_property
    def loader(self):
        """RecBole's training loader over the remaining interactions."""
        users, items = self.train.inter_feat[self.train.uid_field], self.train.inter_feat[self.train.iid_field]
        return train_loader(self.config, with_edges(self.train, self.remaining_graph.contains(users, items)))


class InfluenceEncoderTrainer(ResumableTrainer):
    """Trains an influence encoder on the paper's loss (Eq. 25), ``L_M + l_u L_U + l_p L_P + l_c L_C``, and ``l_s L_S``.

    ``L_S`` (:func:`~recbole_unlearn.loss.score_loss`) is ours: ``L_P`` compares softmaxes, which do not see all of a
    user's scores fall together, and that is the cheapest way to lower those of the forgotten pairs.

    The same class pre-trains (parameters ``influence`` and ``weight``, another simulated request every few epochs)
    and fine-tunes (``ego`` and ``mlp``, the actual request): which parameters train is the encoder's state, which
    request an epoch sees is ``episode_of``.

    Args:
        config (Config): settings; ``ie_*_weight`` are the weights of the losses. A loss of weight 0 is not computed.
        encoder (InfluenceEncoder): what is trained.
        backbone (UnlearnableRecommender): the original model; never changed.
        name (str): file name under ``checkpoint_dir``.
        episode_of (callable): epoch number to :class:`Episode`.
    """

    def __init__(self, config, encoder, backbone, name, episode_of):
        super().__init__(config, encoder, name)
        self.backbone, self.episode_of = backbone, episode_of
        self.loss_weights = {loss: config[f"ie_{loss}_weight"] for loss in ENCODER_LOSSES}
        if not any(self.loss_weights.values()):
            raise UsageError(f"All of {', '.join(f'ie_{loss}_weight' for loss in ENCODER_LOSSES)} are 0.")

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        self.episode = self.episode_of(epoch_idx)
        self.views = self.backbone.draw_views(self.episode.remaining_graph.to(self.device))
        return super()._train_epoch(self.episode.loader, epoch_idx, self.losses, show_progress)

    def losses(self, interaction):
        """The weighted losses on one batch of remaining interactions, those of weight 0 left out.

        Returns:
            tuple of torch.Tensor: scalars in the order of ``ENCODER_LOSSES``.
        """
        episode, encoder, weights = self.episode, self.model, self.loss_weights
        n_users, sample = episode.n_users, self.config["ie_sample_size"]
        fields = self.backbone.USER_ID, self.backbone.ITEM_ID, self.backbone.NEG_ITEM_ID
        users, items, negatives = (interaction[field] for field in fields)
        influence = encoder.propagated_influence(episode.forget_adjacency)
        ego = encoder.revise(encoder.shift(influence, episode.forget_adjacency), episode.touched)
        final = self.backbone.forward(ego, episode.remaining_adjacency)

        def unlearning():
            pairs = torch.randint(len(episode.request), (min(len(episode.request), len(interaction)),))
            forget_users, forget_items = episode.request.users[pairs], episode.request.items[pairs]
            return unlearning_loss(pair_scores(final, n_users, forget_users.to(final.device), forget_items.to(final.device)))

        def contrast():
            partial = encoder.propagated_influence(episode.partial_adjacency)
            nodes = torch.nonzero(episode.touched).flatten()
            nodes = nodes[torch.randperm(len(nodes), device=nodes.device)[:sample]]
            return contrast_loss(influence, partial, nodes, self.config["ie_contrast_temperature"])

        compute = {
            "model": lambda: self.backbone.model_loss(interaction, ego, final, self.views),
            "unlearning": unlearning,
            "preserving": lambda: preserving_loss(
                final, encoder.final, n_users, users[:sample], items[:sample], self.config["ie_preserving_temperature"]
            ),
            "contrast": contrast,
            "score": lambda: score_loss(final, encoder.final, n_users, users, items, negatives),
        }
        return tuple(weights[loss] * compute[loss]() for loss in ENCODER_LOSSES if weights[loss])

    @torch.no_grad()
    def _valid_epoch(self, valid_data, show_progress=False):
        """The same loss on requests kept aside, with validation pairs in the place of remaining interactions."""
        self.episode, interaction = valid_data
        self.views = self.backbone.draw_views(self.episode.remaining_graph.to(self.device))
        score = float(sum(self.losses(interaction.to(self.device))))
        return score, {"loss": score}

    def _generate_train_loss_output(self, epoch_idx, s_time, e_time, losses):
        line = super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)
        for number, loss in enumerate((loss for loss in ENCODER_LOSSES if self.loss_weights[loss]), start=1):
            line = line.replace(f"train_loss{number}", loss)
        return line
