"""Products of a graph's adjacency and a node table, differentiable in the table."""

from functools import partial

import torch
import torch.nn.functional as F

COLUMNS = 32  # that go through all layers together on a CPU: more of their rows fit into its cache


def multiply(matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """``matrix @ x`` on any device, not differentiable.

    Args:
        matrix: sparse CSR with 32-bit indices, shape ``(M, N)``.
        x: shape ``(N, d)``, of the matrix's dtype.

    Returns:
        Shape ``(M, d)``.
    """
    return _by_columns(partial(_multiply, matrix), x, len(matrix))


def _multiply(matrix, x):
    if x.device.type != "cpu" or x.dtype != torch.float32 or matrix.layout != torch.sparse_csr:
        return matrix @ x
    # A row of the product sums weighted rows of x, as an embedding bag does. Its kernel fetches rows ahead, and is up
    # to three times as fast as MKL's sparse product where that has no kernel for the processor.
    parts = matrix.col_indices(), x, matrix.crow_indices()
    return F.embedding_bag(*parts, mode="sum", per_sample_weights=matrix.values(), include_last_offset=True)


def _by_columns(propagation, x, n_rows):
    """Apply a propagation, which treats each column alike, to blocks of a table's columns."""
    if x.device.type != "cpu" or x.shape[1] <= COLUMNS:
        return propagation(x.contiguous())
    result = x.new_empty(n_rows, x.shape[1])
    for start in range(0, x.shape[1], COLUMNS):
        columns = slice(start, start + COLUMNS)
        result[:, columns] = propagation(x[:, columns].contiguous())
    return result


class _SymmetricProduct(torch.autograd.Function):
    """``A @ x`` for a symmetric sparse ``A``. The backward pass is the same product and builds no transpose."""

    @staticmethod
    def forward(ctx, adjacency, x):
        ctx.adjacency = adjacency
        return multiply(adjacency, x)

    @staticmethod
    def backward(ctx, gradient):
        return None, _SymmetricProduct.apply(ctx.adjacency, gradient)


class _MeanPropagation(torch.autograd.Function):
    """Mean of ``x, A_1 x, A_2 A_1 x, ...``."""

    @staticmethod
    def forward(ctx, adjacencies, x):
        ctx.adjacencies = adjacencies
        same = all(adjacency is adjacencies[0] for adjacency in adjacencies)
        return _by_columns(partial(_horner if same else _mean_of_layers, adjacencies), x, len(x))

    @staticmethod
    def backward(ctx, gradient):
        return None, _TransposedMeanPropagation.apply(ctx.adjacencies, gradient)


class _TransposedMeanPropagation(torch.autograd.Function):
    """Mean of ``x, A_1 x, A_1 A_2 x, ...``: the transpose of the mean propagation."""

    @staticmethod
    def forward(ctx, adjacencies, x):
        ctx.adjacencies = adjacencies
        return _by_columns(partial(_horner, adjacencies), x, len(x))

    @staticmethod
    def backward(ctx, gradient):
        return None, _MeanPropagation.apply(ctx.adjacencies, gradient)


def _mean_of_layers(adjacencies, x):
    total, layer = x.clone(), x
    for adjacency in adjacencies:
        layer = _multiply(adjacency, layer)
        total += layer
    return total.div_(len(adjacencies) + 1)


def _horner(adjacencies, x):
    """Horner's rule, ``x + A_1 (x + A_2 (x + ...))``: it keeps no sum beside the layers."""
    total = x
    for adjacency in reversed(adjacencies):
        total = _multiply(adjacency, total).add_(x)
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
