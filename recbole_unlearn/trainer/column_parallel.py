"""Training a backbone in several processes, each with some of the table's columns."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist

from recbole_unlearn.columns import by_columns, gathered_columns, own_columns
from recbole_unlearn.errors import UsageError
from recbole_unlearn.process_group import process_group
from recbole_unlearn.streams import begin_stream
from recbole_unlearn.torchrun import torchrun_size
from recbole_unlearn.trainer.resumable import ResumableTrainer

TOLERANCE = 1e-3  # of a gradient, of its largest entry: sums in another order differ by less
END = -1  # told instead of an epoch


class ColumnParallelTrainer(ResumableTrainer):
    """Trains a backbone in ``nproc`` processes; the result is that of one process up to the order of sums.

    This process keeps the whole model for validation and files, and gives its columns up only for the time of an epoch.
    The others, which have a copy of this trainer, do nothing but the epochs that this one tells them. Before the first,
    all compare the loss and the gradient of a batch with those of one process.

    Raises:
        UsageError: the model mixes columns otherwise than by the functions of :mod:`recbole_unlearn.columns`, or the
            table's width is no multiple of ``nproc``.
    """

    def __init__(self, config: Any, model: torch.nn.Module, name: str) -> None:
        self.n_processes = config["nproc"]
        super().__init__(config, model, name)

    def _fit(self, train_data, *others):
        self._check_columns(self.n_processes)
        start = perf_counter()
        with process_group(self.config, work, (self, train_data)):
            self.check_gradient(train_data)
            self.seconds += perf_counter() - start
            result = super()._fit(train_data, *others)
            tell(END)
        return result

    def __getstate__(self):
        return {**self.__dict__, "tensorboard": None}  # it cannot be pickled, and the others write nothing

    def one_pass(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> float | tuple[float, ...]:
        """An epoch by columns; the first process tells the others."""
        if dist.get_rank() == 0:
            tell(epoch_idx)
        self.optimizer.zero_grad()
        with self._columns():
            return super().one_pass(train_data, epoch_idx, loss_func, show_progress)

    @contextmanager
    def _columns(self) -> Iterator[None]:
        """In this block, the model and the optimiser have this process's columns; after it, all columns as trained."""
        parameters = list(self.model.parameters())
        whole = [parameter.data for parameter in parameters]
        with by_columns():
            for parameter in parameters:
                self._replace(parameter, own_columns)
            try:
                yield
                for parameter in parameters:
                    self._replace(parameter, gathered_columns)
            except BaseException:  # the others may be gone
                for parameter, data in zip(parameters, whole):
                    parameter.data = data
                raise

    def _replace(self, parameter, function):
        """Apply a function to a parameter and to the optimiser's tensors of its shape."""
        state, shape = self.optimizer.state.get(parameter, {}), parameter.shape
        for name, value in state.items():
            if torch.is_tensor(value) and value.shape == shape:
                state[name] = function(value)
        parameter.grad, parameter.data = None, function(parameter.data)

    def _check_columns(self, size):
        """Refuse what several processes cannot train by columns."""
        width, weights = self.model.ego_embeddings().shape[1], self.model.weights_beyond_table
        if weights:
            raise UsageError(
                f"--nproc={size} divides the table's columns among processes, but {', '.join(weights)} of "
                f"{type(self.model).__name__} mix them: leave out --nproc."
            )
        if width % size:
            raise UsageError(
                f"--nproc={size} divides the table's {width} columns among processes: choose a divisor of {width}."
            )
        if self.device.type == "cuda" and not self.config["ray_address"] and not torchrun_size():
            if size > torch.cuda.device_count():
                raise UsageError(f"--nproc={size} needs a GPU each, but there are {torch.cuda.device_count()}.")
        for name in ("clip_grad_norm", "enable_amp"):
            if self.config[name]:
                raise UsageError(f"Setting '{name}' needs all columns of a gradient: leave it out, or --nproc.")

    def check_gradient(self, train_data: Any) -> None:
        """Compare loss and gradient of a batch with those of all columns.

        Raises:
            UsageError: they differ.
        """
        of_all, whole = self._gradient(train_data)
        if not torch.isfinite(of_all):
            return  # the first epoch says so
        with self._columns():
            loss, parts = self._gradient(train_data)
            pairs = [(loss, of_all), *zip(parts, map(own_columns, whole))]
            differ = not all((part - same).abs().max() <= TOLERANCE * same.abs().max() for part, same in pairs)
        differences = torch.tensor(int(differ))
        dist.all_reduce(differences)
        if differences:
            raise UsageError(
                f"{type(self.model).__name__} cannot be trained by columns: its loss is not a function of "
                "bpr_loss, info_nce, embedding_regulariser and sum_columns. Leave out --nproc."
            )

    def _gradient(self, train_data):
        """The loss of a batch, always the same, and its gradient."""
        begin_stream(self.config, "check of the columns")
        self.order_rows(train_data, "check of the columns")
        self.model.train()
        loss = self.model.calculate_loss(next(iter(train_data)).to(self.device))
        return loss.detach(), torch.autograd.grad(loss, list(self.model.parameters()))


def work(job: tuple[ColumnParallelTrainer, Any]) -> None:
    """What the other processes do of a training."""
    trainer, train_data = job
    if trainer.device.type == "cuda":
        _move(trainer, torch.device("cuda", torch.cuda.current_device()))
    trainer.check_gradient(train_data)
    while (epoch := told()) != END:
        trainer.one_pass(train_data, epoch)


def _move(trainer, device):
    """Let a copy of a trainer work on another GPU."""
    model = trainer.model.to(device)
    trainer.device = model.device = device
    model.set_graph(model.graph)
    trainer.optimizer.load_state_dict(trainer.optimizer.state_dict())


def tell(epoch: int) -> None:
    """Tell the other processes an epoch."""
    dist.broadcast(torch.tensor(epoch), src=0)


def told() -> int:
    """In another process: the epoch that the first tells."""
    epoch = torch.tensor(END)
    dist.broadcast(epoch, src=0)
    return int(epoch)
