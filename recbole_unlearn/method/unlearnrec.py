"""UnlearnRec: an influence encoder, prepared before requests come, revises the table in one pass."""

import copy
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BeforeValidator
from recbole.data.interaction import Interaction
from typing_extensions import Self

from recbole_unlearn.calibration import TwinTraining, fit_encoder
from recbole_unlearn.data.request import random_edges
from recbole_unlearn.data.sampler import EdgeSampler, train_loader
from recbole_unlearn.digest import digest
from recbole_unlearn.encoder.calibrated import CalibratedEncoder, CalibratedSettings, CalibratedTable
from recbole_unlearn.encoder.paper import InfluenceEncoder, PaperEncoderSettings
from recbole_unlearn.encoder.snapshot import Snapshot
from recbole_unlearn.errors import NoResult
from recbole_unlearn.graph import Graph
from recbole_unlearn.method.base import METHODS, Stage, Unlearner
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.settings import Count, CountOrZero, Positive, Settings, Words, setting
from recbole_unlearn.streams import begin_stream, torch_stream
from recbole_unlearn.trainer import InfluenceEncoderTrainer, UnlearningTask
from recbole_unlearn.trainer.influence_encoder import LossSettings


def _ascend(ratio):
    if len(ratio) != 2 or not 0 < ratio[0] <= ratio[1] < 1:
        raise ValueError
    return ratio


class PretrainingSettings(Settings):
    """negative: its pre-training on simulated requests"""

    ie_epochs: Count = setting(10, "Pre-training epochs.")
    ie_batch_size: Count = setting(8192, "Remaining interactions in a batch.")
    ie_learning_rate: Positive = setting(0.01, "Learning rate.")
    ie_stopping_step: Count = setting(
        5, "Epochs without a better loss on the held-out request before pre-training stops."
    )
    ie_request_ratio: Annotated[
        list[float],
        BeforeValidator(lambda ratio: list(ratio) if isinstance(ratio, tuple) else ratio),
        AfterValidator(_ascend),
        Words("[LEAST, LARGEST] with 0 < LEAST <= LARGEST < 1"),
    ] = setting([0.05, 0.2], "Least and largest share of edges in a simulated request.")
    ie_epochs_per_request: Count = setting(1, "Epochs on one simulated request.")


class FineTuningSettings(Settings):
    """Fine-tuning on the actual request"""

    unlearn_finetune_epochs: CountOrZero | None = setting(
        None, "Epochs of fine-tuning; 0 leaves the zero-shot result; empty: 0 with ie_target unseen, 1 with negative."
    )
    unlearn_finetune_batch_size: Count = setting(16384, "Remaining interactions in a batch.")
    unlearn_finetune_learning_rate: Positive = setting(0.02, "Learning rate.")


class TeacherSettings(Settings):
    """unseen: what teaches the target"""

    ie_teacher: Literal["none", "twin"] = setting(
        "none",
        "unseen: none: the original itself, by pairs that it never saw; twin: also a second model, trained in "
        "preparation without some pairs and with decoys.",
    )


class UnlearnRecSettings(
    TeacherSettings, CalibratedSettings, PaperEncoderSettings, PretrainingSettings, LossSettings, FineTuningSettings
):
    """Searched by sweeps on simulated requests; how, and what they found: benchmarks/settings.md, Sweeps

    The target of a forgotten pair's score: that of a pair never seen (ours), or low (the paper's)
    """

    ie_target: Literal["unseen", "negative"] = setting(
        "unseen", "unseen: in closed form, without pre-training; negative: the paper's encoder, pre-trained."
    )


@METHODS.register
class UnlearnRec(Unlearner):
    """An influence encoder, prepared offline. Online one pass (stage ``zero-shot``), then fine-tuning (``fine-tuned``).

    ``ie_target: unseen`` selects the :class:`~recbole_unlearn.encoder.calibrated.CalibratedEncoder`, ``negative`` the
    paper's, which pre-trains on simulated requests. Both revise the table alone. Fine-tuning also trains the weights
    that a backbone may have besides.

    Reference: Chen et al., "Pre-training for Recommendation Unlearning", SIGIR 2025.
    """

    settings = UnlearnRecSettings

    def prepare(self) -> float:
        begin_stream(self.config, "weights")
        kinds: dict[str, type[Calibrated] | type[Pretrained]] = {"unseen": Calibrated, "negative": Pretrained}
        self.encoder = kinds[self.config["ie_target"]](self.config, self.data, self.original)
        return self.encoder.pretrain(self.after_epoch)

    def unlearn(self) -> Iterator[Stage]:
        config, data = self.config, self.data
        epochs = config["unlearn_finetune_epochs"]
        if epochs is None:
            epochs = {"unseen": 0, "negative": 1}[config["ie_target"]]
        finetuning = config.stream("fine-tuning").replace(
            epochs=epochs,
            train_batch_size=config["unlearn_finetune_batch_size"],
            learning_rate=config["unlearn_finetune_learning_rate"],
            ie_contrast_weight=0,
        )
        task = UnlearningTask(finetuning, data.train, data.graph, data.request, remaining=data.remaining_graph)
        table = self.encoder.revise(task)  # a module: the revised table and the parameters that fine-tuning trains
        yield Stage("zero-shot", self._model(table, task))

        if epochs == 0 or len(task.remaining_graph) == 0 or len(data.request) == 0:
            return
        with torch.no_grad():
            backbone = self.original.revised(self.original.ego_embeddings(), task.remaining_graph)
        weights = backbone.named_weights()
        table.weights = torch.nn.ParameterList(weights.values())  # shared: what trains here is what the backbone uses
        trainer = InfluenceEncoderTrainer(finetuning, table, backbone, "finetuning", lambda epoch: task)
        trainer.fit(task.loader, saved=False, verbose=False)
        yield Stage("fine-tuned", self._model(table, task, weights))

    def continued(self, data: Any, model: torch.nn.Module) -> Self:
        following = super().continued(data, model)
        following.encoder = self.encoder.of(following.original)
        return following

    @torch.no_grad()
    def _model(self, table, task, weights=None):
        return self.revised(self.original, table(task), weights)


class Calibrated:
    """The closed-form encoder towards the scores of pairs never seen.

    Args:
        config (Config): settings.
        data (UnlearningData): only its training and validation data are used.
        original: the trained model.
    """

    encoder: CalibratedEncoder
    snapshot: Snapshot | None = None

    def __init__(self, config: Any, data: Any, original: UnlearnableRecommender) -> None:
        self.config, self.data, self.original = config, data, original

    def pretrain(self, after_epoch: Callable[[int], None]) -> float:
        """Train the twin, if there is one, and fit; returns the seconds that earlier runs spent on the training."""
        config, data = self.config, self.data
        twin = TwinTraining(data.train, data.valid_data) if config["ie_teacher"] == "twin" else None
        self.snapshot = Snapshot.of(self.original)
        self.encoder, seconds_before = fit_encoder(config, self.original, data.valid, twin, self.snapshot)
        return seconds_before

    def of(self, model: UnlearnableRecommender) -> "Calibrated":
        """The same encoder for a revised model."""
        following = copy.copy(self)
        following.original, following.snapshot = model, None  # made by its request
        return following

    def revise(self, task: UnlearningTask) -> CalibratedTable:
        """The revised table of a request."""
        remaining = task.remaining_graph.to(self.original.device)
        revision = self.encoder(self.original, remaining, task.request, self.snapshot)
        return CalibratedTable(revision, self.original.final_embeddings())


class Pretrained:
    """The paper's encoder, pre-trained on simulated requests to lower the scores of forgotten pairs.

    Args:
        config, data, original: see :class:`Calibrated`.
    """

    def __init__(self, config: Any, data: Any, original: UnlearnableRecommender) -> None:
        self.config, self.data, self.original = config, data, original
        with torch.no_grad():
            ego, final = original.ego_embeddings(), original.final_embeddings()
        if ego.shape != final.shape:
            raise NoResult(
                f"the paper's encoder adds final embeddings to rows of the table, but {type(original).__name__}'s are "
                f"{final.shape[1]} and {ego.shape[1]} wide; use `ie_target: unseen`."
            )
        self.encoder = InfluenceEncoder(ego, final, config["ie_n_layers"], config["ie_rho"])

    def pretrain(self, after_epoch: Callable[[int], None]) -> float:
        """Train ``influence`` and ``weight``; returns the seconds that earlier runs spent on it."""
        config, data, original = self.config, self.data, self.original
        pretraining = config.stream("pre-training").replace(
            epochs=config["ie_epochs"],
            train_batch_size=config["ie_batch_size"],
            learning_rate=config["ie_learning_rate"],
            eval_step=1,
            stopping_step=config["ie_stopping_step"],
            valid_metric_bigger=False,  # the valid score is a loss
        )
        settings = {key: value for key, value in config.as_dict().items() if key.startswith("ie_")}
        edges = [side for graph in (data.graph, data.valid) for side in (graph.users, graph.items)]
        content = digest(settings, config.training_settings(), config["device"].type, *edges, self.encoder.ego)
        simulate = RequestSimulator(pretraining, data)
        trainer = InfluenceEncoderTrainer(
            pretraining,
            self.encoder,
            original,
            f"encoder-{config['model']}-{config['dataset']}-{content}",
            simulate.task_of,
        )
        trainer.fit(
            simulate.base,
            simulate.held_out(),
            show_progress=config["show_progress"],
            callback_fn=lambda epoch, score: after_epoch(epoch + 1),
        )
        return trainer.seconds_before

    @torch.no_grad()
    def of(self, model: UnlearnableRecommender) -> "Pretrained":
        """The same encoder for a revised model."""
        following = copy.copy(self)
        following.original, following.encoder = model, copy.deepcopy(self.encoder)
        following.encoder.ego.copy_(model.ego_embeddings())
        following.encoder.final.copy_(model.final_embeddings())
        return following

    def revise(self, task: UnlearningTask) -> InfluenceEncoder:
        """The revised table of a request: a copy of the encoder, ready to fine-tune its table and MLP."""
        encoder = copy.deepcopy(self.encoder)  # the pre-trained encoder serves the next request too
        encoder.start_finetuning()
        return encoder


class RequestSimulator:
    """Requests for pre-training: random edges of the training graph, never the actual request.

    Args:
        config (Config): settings of the pre-training.
        data (UnlearningData): only its training and validation data are used.
    """

    _task: UnlearningTask

    def __init__(self, config: Any, data: Any) -> None:
        self.config, self.data = config, data
        self.base = train_loader(config, data.train, data.graph)
        self._round: int | None = None

    def task_of(self, epoch: int) -> UnlearningTask:
        """A request for ``ie_request_ratio`` of the edges; a new one every ``ie_epochs_per_request`` epochs."""
        round_ = epoch // self.config["ie_epochs_per_request"]
        if round_ != self._round:
            self._round, self._task = round_, self._draw(round_)
        return self._task

    def held_out(self) -> tuple[UnlearningTask, Interaction]:
        """A separately drawn request, and validation pairs with negatives, on which early stopping measures the loss.

        Returns:
            The request, and an Interaction of ``ie_batch_size`` users, items and negative items.
        """
        data, config = self.data, self.config
        users, items = data.valid.users, data.valid.items
        chosen = torch.randperm(len(users), generator=torch_stream(config["seed"], "held-out pairs"))
        users, items = (side[chosen[: config["ie_batch_size"]]] for side in (users, items))
        negatives = EdgeSampler(data.train, graph=Graph.union(data.graph, data.valid)).sample_by_key_ids(users, 1)
        fields = self.base.uid_field, self.base.iid_field, self.base.neg_item_id
        return self._draw(-1), Interaction(dict(zip(fields, (users, items, negatives))))

    def _draw(self, round_):
        config, data = self.config, self.data
        generator = torch_stream(config["seed"], "simulated request", round_ + 1)
        low, high = config["ie_request_ratio"]
        ratio = low + (high - low) * torch.rand((), generator=generator).item()
        request = random_edges(data.graph, max(1, round(ratio * len(data.graph))), generator)
        return UnlearningTask(config, data.train, data.graph, request, generator)
