"""RecBole's Trainer, made resumable."""

import glob
import os
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from recbole.trainer import Trainer
from recbole.utils import set_color
from torch.utils.tensorboard import SummaryWriter

from recbole_unlearn.cost import measured
from recbole_unlearn.display import note, show
from recbole_unlearn.errors import Diverged
from recbole_unlearn.files import checkpoint
from recbole_unlearn.model.base import MODELS
from recbole_unlearn.settings import Count, CountOrZero, Epochs, LearningRate, Settings, setting
from recbole_unlearn.streams import begin_stream, stream_seed
from recbole_unlearn.trainer.code import training_code
from recbole_unlearn.trainer.collector import TopCollector

SECONDS_BETWEEN_SAVES = 5
PROGRESS = ("epoch", "cur_step", "best_valid_score", "best_valid_result", "seconds", "peak_memory_mb")


class TrainingSettings(Settings):
    """Training: RecBole's keys where the plugin's defaults differ"""

    epochs: Epochs = 80
    train_batch_size: Count = setting(2048, "The training batch size.")
    learning_rate: LearningRate = 0.005
    eval_step: Count = setting(5, "The number of training epochs before an evaluation on the valid dataset.")
    stopping_step: CountOrZero = setting(3, "Evaluations without improvement before training stops.")


class ResumableTrainer(Trainer):
    """RecBole's Trainer with files that are named by content, written whole, and resumed from.

    ``NAME-CODE.pth`` holds the best weights, ``NAME-CODE.pth.resume`` the last state. ``CODE`` changes with the code
    that trains, the libraries and the machine (:func:`~recbole_unlearn.trainer.code.training_code`). The seed and the
    epoch determine each epoch's random streams, and a state is saved only before an epoch that draws views of its own,
    so a resumed training gives the same result as an uninterrupted one. :meth:`fit` loads a training that finished
    before.

    Args:
        config (Config): settings.
        model: the module to train.
        name: begins the file name under ``checkpoint_dir``; must change with the settings and data that change the
            result.
    """

    tensorboard: SummaryWriter
    n_processes = 1  # that train together

    def __init__(self, config: Any, model: torch.nn.Module, name: str) -> None:
        super().__init__(config, model)
        self.eval_collector = TopCollector(config)
        code = training_code(self.device, self.n_processes, type(model), type(self), MODELS[config["model"]])
        self._any_code = os.path.join(glob.escape(config["checkpoint_dir"]), f"{glob.escape(name)}*.pth")
        self.saved_model_file = os.path.join(config["checkpoint_dir"], f"{name}-{code}.pth")
        self.resume_file = f"{self.saved_model_file}.resume"
        self.tensorboard.close()
        self.tensorboard = SummaryWriter(os.path.join(self.tensorboard.log_dir, name))
        self.epoch = 0
        self.seconds = 0.0  # spent training, earlier runs included
        self.seconds_before = 0.0  # spent by earlier runs, without the time that this one waited for another process
        self.peak_memory_mb = 0.0  # of the process that trained
        self._waited = 0.0  # seconds
        self._resumable = False  # fit sets it
        self._resumed_at = self._last_save = perf_counter()

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Train, resume or load. The model then holds the best weights, or without validation data the last ones."""
        self._resumable = saved
        if not saved:
            return self._fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)
        with checkpoint.alone(
            self.saved_model_file
        ) as self._waited:  # if another process runs the same training, wait for it and load its result
            if self._load_finished():
                return self.best_valid_score, self.best_valid_result
            if os.path.exists(self.resume_file):
                self.resume_checkpoint(self.resume_file)
            elif others := set(glob.glob(self._any_code)) - {self.saved_model_file}:
                self.logger.info(f"Training anew: other code, other libraries or another machine made {min(others)}")
            result = self._fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)
            if self.best_valid_result is not None:
                self.model.load_state_dict(checkpoint.load(self.saved_model_file, self.device)["state_dict"])
            checkpoint.save(self.saved_model_file, {**self._state(), "finished": True})
            if os.path.exists(self.resume_file):
                os.remove(self.resume_file)
        return result

    def _fit(self, *arguments):
        *others, callback = arguments
        self._resumed_at = self._last_save = perf_counter()
        with measured(self.device, within=True) as cost:
            result = super().fit(*others, self._untimed(callback) if callback else None)
        self.model.epoch = None
        self.peak_memory_mb = max(self.peak_memory_mb, cost.peak_memory_mb)
        self._count_seconds()
        self.tensorboard.close()
        return result

    def _build_optimizer(self, **kwargs):
        optimizer = super()._build_optimizer(**kwargs)
        if isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)):
            for group in optimizer.param_groups:
                group["fused"] = True  # the update in one pass over memory instead of ten
        return optimizer

    def resume_checkpoint(self, resume_file: str) -> None:
        """Continue from the ``.resume`` file of the same training."""
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
        self.tensorboard.close()
        self.logger.info(set_color("Trained before", "blue") + f" in {self.seconds:.1f}s: {self.saved_model_file}")
        return True

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        self.epoch = epoch_idx
        if (
            self._resumable
            and epoch_idx > self.start_epoch
            and epoch_idx % (getattr(self.model, "epochs_of_views", None) or 1) == 0
            and perf_counter() - self._last_save > SECONDS_BETWEEN_SAVES
        ):
            self._count_seconds()
            checkpoint.save(self.resume_file, {**self._state(), "optimizer": self.optimizer.state_dict()})
            self._last_save = perf_counter()
        return self.one_pass(train_data, epoch_idx, loss_func, show_progress)

    def one_pass(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> float | tuple[float, ...]:
        """Train on all batches once, with the epoch's random streams; returns the sum of their losses."""
        begin_stream(self.config, "epoch", epoch_idx)
        self.model.epoch = epoch_idx
        train_data = self._start_epoch(train_data, epoch_idx)
        self.order_rows(train_data, epoch_idx)
        if show_progress:
            show("epoch", epoch_idx + 1, self.epochs)
        return super()._train_epoch(train_data, epoch_idx, loss_func)  # without RecBole's bar of each epoch

    def _valid_epoch(self, valid_data, show_progress=False):
        score, result = super()._valid_epoch(valid_data)
        if show_progress:
            note(f"{self.valid_metric} {score:.4f}")
        return score, result

    def order_rows(self, train_data: Any, *purpose: str | int) -> None:
        """Let a loader begin the order of rows of one purpose, e.g. an epoch's number."""
        train_data.generator.manual_seed(stream_seed(self.config["seed"], "order of the rows", *purpose))

    def _start_epoch(self, train_data, epoch_idx):
        """The loader of this epoch's batches; called right after the epoch's random streams are seeded."""
        return train_data

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        checkpoint.save(self.saved_model_file, {**self._state(), "finished": False})

    def _check_nan(self, loss):
        if not torch.isfinite(loss):
            raise Diverged(
                f"The loss of {type(self.model).__name__} became {loss.item()} in epoch {self.epoch}; "
                "nothing was saved from it. Try a smaller learning rate."
            )

    def _state(self):
        return {"state_dict": self.model.state_dict(), **{key: _plain(getattr(self, key)) for key in PROGRESS}}

    def _restore_progress(self, state):
        for key in PROGRESS:
            setattr(self, key, state[key])
        self.seconds_before = max(0.0, self.seconds - self._waited)

    def _untimed(self, callback):
        """The callback, with its time not counted as training."""

        def call(*arguments):
            self._count_seconds()
            callback(*arguments)
            self._resumed_at = perf_counter()

        return call

    def _count_seconds(self):
        now = perf_counter()
        self.seconds += now - self._resumed_at
        self._resumed_at = now


def _plain(value):
    """A value of plain Python: RecBole's scores are numpy scalars, which a safe load refuses."""
    if isinstance(value, dict):
        return {key: float(entry) for key, entry in value.items()}
    return value if value is None or isinstance(value, int) else float(value)
