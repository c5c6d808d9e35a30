"""Products of a graph's adjacency and a node table, differentiable in the table."""

from functools import partial

import torch

COLUMNS = 32  # that go through all layers together on a CPU: more of their rows fit into its cache


def _by_columns(propagation, x):
    """Apply a propagation, which treats each column alike, to blocks of a table's columns."""
    if x.device.type != "cpu" or x.shape[1] <= COLUMNS:
        return propagation(x.contiguous())
    result = torch.empty_like(x, memory_format=torch.contiguous_format)
    for start in range(0, x.shape[1], COLUMNS):
        columns = slice(start, start + COLUMNS)
        result[:, columns] = propagation(x[:, columns].contiguous())
    return result


class _SymmetricProduct(torch.autograd.Function):
    """``A @ x`` for a symmetric sparse ``A``. The backward pass is the same product and builds no transpose."""

    @staticmethod
    def forward(ctx, adjacency, x):
        ctx.adjacency = adjacency
        return adjacency @ x

    @staticmethod
    def backward(ctx, gradient):
        return None, _SymmetricProduct.apply(ctx.adjacency, gradient)


class _MeanPropagation(torch.autograd.Function):
    """Mean of ``x, A_1 x, A_2 A_1 x, ...``."""

    @staticmethod
    def forward(ctx, adjacencies, x):
        ctx.adjacencies = adjacencies
        same = all(adjacency is adjacencies[0] for adjacency in adjacencies)
        return _by_columns(partial(_horner if same else _mean_of_layers, adjacencies), x)

    @staticmethod
    def backward(ctx, gradient):
        return None, _TransposedMeanPropagation.apply(ctx.adjacencies, gradient)


class _TransposedMeanPropagation(torch.autograd.Function):
    """Mean of ``x, A_1 x, A_1 A_2 x, ...``: the transpose of the mean propagation."""

    @staticmethod
    def forward(ctx, adjacencies, x):
        ctx.adjacencies = adjacencies
        return _by_columns(partial(_horner, adjacencies), x)

    @staticmethod
    def backward(ctx, gradient):
        return None, _MeanPropagation.apply(ctx.adjacencies, gradient)


def _mean_of_layers(adjacencies, x):
    total, layer = x.clone(), x
    for adjacency in adjacencies:
        layer = adjacency @ layer
        total += layer
    return total.div_(len(adjacencies) + 1)


def _horner(adjacencies, x):
    """Horner's rule, ``x + A_1 (x + A_2 (x + ...))``: each product adds the next layer in the same pass."""
    total = x
    for adjacency in reversed(adjacencies):
        total = torch.addmm(x, adjacency, total)
    return total / (len(adjacencies) + 1)


def propagate(adjacency: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """One step of message passing, ``A @ x``, differentiable in ``x``.

    Args:
        adjacency: symmetric sparse CSR, shape ``(N, N)``.
        x: node table, shape ``(N, d)``.
    """
    with torch.autocast(x.device.type, enabled=False):  # torch has no sparse product in half precision on a CPU
        return _SymmetricProduct.apply(adjacency, x.to(adjacency.dtype))


def mean_propagation(adjacencies: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    r"""LightGCN's readout :math:`\frac{1}{L+1} \sum_{l=0}^{L} A_l \cdots A_1 x`, differentiable in ``x``.

    Costs L sparse products forward and as many backward (He et al., SIGIR 2020, Eq. 8).

    Args:
        adjacencies: one symmetric sparse CSR matrix a layer, shape ``(N, N)`` each.
        x: node table, shape ``(N, d)``.

    Returns:
        Shape ``(N, d)``.
    """
    with torch.autocast(x.device.type, enabled=False):
        return _MeanPropagation.apply(adjacencies, x.to(adjacencies[0].dtype) if adjacencies else x)
