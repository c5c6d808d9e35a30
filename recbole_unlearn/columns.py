"""Column-parallel training: each of several processes holds some columns of the table, and all train one model.

A propagation treats each column of the table alike, and a score is a sum over columns. Processes with ``d / P`` columns
each, their optimiser's state and the same graph therefore compute what one process does, and exchange only sums over
columns: the scores of a batch, and for a contrastive loss its rows. Outside :func:`by_columns`, nothing here does
anything.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

_active = False  # whether tables have this process's columns only


@contextmanager
def by_columns() -> Iterator[None]:
    """In this block, tables have the columns of this process; the others of torch's default group have the rest."""
    global _active
    _active = True
    try:
        yield
    finally:
        _active = False


def are_split() -> bool:
    """Whether tables have this process's columns only."""
    return _active


def sum_columns_(partial: torch.Tensor) -> torch.Tensor:
    """Add up, in place, the sums over each process's columns; without a derivative."""
    if _active:
        dist.all_reduce(partial)
    return partial


def sum_columns(partial: torch.Tensor) -> torch.Tensor:
    """The sum over all columns from the sum over this process's, e.g. of a dot product; twice differentiable.

    What follows must be the same in all processes: the gradient of the result is that of each part.
    """
    return _Sum.apply(partial) if _active else partial


def all_columns(rows: torch.Tensor) -> torch.Tensor:
    """Rows of all columns, shape ``(B, d)``, from this process's columns, shape ``(B, d / P)``; differentiable.

    What follows must be this process's own part of a loss, which :func:`sum_columns` adds up.
    """
    return _Gather.apply(rows) if _active else rows


def all_columns_of_own_part(rows: torch.Tensor) -> torch.Tensor:
    """This process's part of the rows (:func:`own_part`), with all columns; otherwise as :func:`all_columns`."""
    return _Rows.apply(rows) if _active else rows


def own_columns(table: torch.Tensor) -> torch.Tensor:
    """This process's columns of a table, shape ``(n, d / P)``."""
    if not _active:
        return table
    width = table.shape[1] // dist.get_world_size()
    return table.narrow(1, dist.get_rank() * width, width).contiguous()


def own_part(rows: torch.Tensor) -> torch.Tensor:
    """This process's part of some rows, about ``1 / P`` of them."""
    return rows.tensor_split(dist.get_world_size())[dist.get_rank()] if _active else rows


def rand_like_all(table: torch.Tensor) -> torch.Tensor:
    """``torch.rand_like`` of the table with all columns: the same numbers, however many processes there are."""
    n_rows, width = table.shape
    return table.new_empty(n_rows, width * dist.get_world_size() if _active else width).uniform_()


def gathered_columns(rows: torch.Tensor) -> torch.Tensor:
    """:func:`all_columns` without a derivative."""
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows)
    return torch.cat(parts, dim=1)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, partial):
        return sum_columns_(partial.clone())

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows):
        return gathered_columns(rows.contiguous())

    @staticmethod
    def backward(ctx, gradient):
        parts = _exchanged(gradient.tensor_split(dist.get_world_size(), dim=1), [len(gradient)] * dist.get_world_size())
        return torch.stack(parts).sum(dim=0)


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows):
        parts = rows.tensor_split(dist.get_world_size())
        ctx.sizes = [len(part) for part in parts]
        return torch.cat(_exchanged(parts, [ctx.sizes[dist.get_rank()]] * len(parts)), dim=1)

    @staticmethod
    def backward(ctx, gradient):
        return torch.cat(_exchanged(gradient.tensor_split(len(ctx.sizes), dim=1), ctx.sizes))


def _exchanged(parts, sizes):
    """Give each process its part, of this process's width; returns those of all, with these numbers of rows."""
    width = parts[0].shape[1]
    sent = torch.cat([part.reshape(-1) for part in parts])
    received = sent.new_empty(sum(sizes) * width)
    dist.all_to_all_single(received, sent, [size * width for size in sizes], [part.numel() for part in parts])
    return [part.view(-1, width) for part in received.split([size * width for size in sizes])]
