"""Many convex quadratic programs with one matrix and weights that must not be negative, by block principal pivoting."""

import torch

from recbole_unlearn.errors import Diverged

BLOCK = 2**22  # numbers of the systems solved at a time: 32 MiB
FIRST = 32  # weights that may join a column's support in a round, at first
PATIENCE = 3  # rounds without progress before a column exchanges one weight at a time
MOST_ROUNDS = 1_000
TOLERANCE = 1e-12  # of a weight's and a gradient's sign, relative to the largest number of the matrix


def solve_nonnegative(
    matrix: torch.Tensor, right: torch.Tensor, excluded: torch.Tensor, support: torch.Tensor | None = None
) -> torch.Tensor:
    """The minimum of ``w' H w / 2 - b' w`` over ``w >= 0`` with ``w_e = 0``, for each column ``b`` and item ``e``.

    A column's support is guessed, its weights solve ``H_FF w_F = b_F``, and weights of the wrong sign leave the support
    while gradients of the wrong sign join it, until none is left: the minimum is unique, and no step size or tolerance
    of convergence decides it. Reference: Kim and Park, "Fast Nonnegative Matrix Factorization", SISC 2011, section 3;
    here the support grows by the largest gradients, which keeps the systems small from a start at 0.

    Args:
        matrix: ``H``, symmetric positive definite, float64, shape ``(n, n)``.
        right: ``b`` of each problem, a row each, shape ``(c, n)``.
        excluded: ``e`` of each problem, shape ``(c,)``.
        support: a first guess, boolean, shape ``(c, n)``; default nothing.

    Returns:
        The weights, a row for each problem, shape ``(c, n)``.

    Raises:
        Diverged: a problem is not solved after 1,000 rounds, for want of precision.
    """
    weights = torch.zeros_like(right)
    support = torch.zeros_like(right, dtype=torch.bool) if support is None else support.clone()
    pending = torch.arange(len(right), device=right.device)
    support[pending, excluded] = False
    fewest = torch.full_like(pending, right.shape[1] + 1)
    patience = torch.full_like(pending, PATIENCE)
    slack = TOLERANCE * float(matrix.abs().max())
    for _ in range(MOST_ROUNDS):
        inside = support[pending]
        solved = _solved(matrix, right[pending], inside)
        gradient = solved @ matrix - right[pending]
        gradient[torch.arange(len(pending)), excluded[pending]] = 0
        leaves, joins = inside & (solved < -slack), ~inside & (gradient < -slack)
        wrong = leaves | joins
        n_wrong = wrong.sum(dim=1)
        done = n_wrong == 0
        weights[pending[done]] = solved[done].clamp(min=0)
        if done.all():
            return weights
        pending, inside, gradient, wrong, n_wrong = (x[~done] for x in (pending, inside, gradient, wrong, n_wrong))
        better = n_wrong < fewest[pending]
        fewest[pending] = torch.minimum(n_wrong, fewest[pending])
        patience[pending] = torch.where(better, PATIENCE, patience[pending] - 1)
        support[pending] = inside ^ _exchanged(inside, gradient, wrong, patience[pending] >= 0)
    raise Diverged(f"{len(pending)} columns of weights were not solved: their regression is too ill-conditioned.")


def _exchanged(inside, gradient, wrong, many):
    """What changes sides: all that leave and the steepest that join, or the last one of columns without progress."""
    most = inside.sum(dim=1).clamp(min=FIRST)
    steepness = torch.where(wrong & ~inside, -gradient, 0.0)
    size = min(int(most.max()), steepness.shape[1])
    ordered = steepness.topk(size, dim=1).values
    least = ordered.gather(1, (most.clamp(max=size) - 1)[:, None])
    of_many = (wrong & inside) | ((steepness > 0) & (steepness >= least))
    n = wrong.shape[1]
    last = (wrong * torch.arange(1, n + 1, device=wrong.device)).argmax(dim=1)
    of_one = torch.nn.functional.one_hot(last, n).bool()
    return torch.where(many[:, None], of_many, of_one)


def _solved(matrix, right, support):
    """The weights of each row's support, and 0 outside of it."""
    weights, sizes = torch.zeros_like(right), support.sum(dim=1)
    order = torch.argsort(sizes)
    start = int((sizes == 0).sum())
    while start < len(order):
        end = start + 1  # rows of like sizes together: the others are padded to the largest
        end = max(end, _end(sizes[order], start))
        rows = order[start:end]
        size = int(sizes[rows[-1]])
        inside, places = support[rows].byte().topk(size, dim=1)
        pad = inside == 0
        systems = matrix[places[:, :, None], places[:, None, :]]
        systems.masked_fill_(pad[:, :, None] | pad[:, None, :], 0.0)
        systems.diagonal(dim1=1, dim2=2).masked_fill_(pad, 1.0)
        values = right[rows].gather(1, places).masked_fill_(pad, 0.0)
        values = torch.cholesky_solve(values[:, :, None], torch.linalg.cholesky(systems)).squeeze(2)
        weights[rows] = weights[rows].scatter_add(1, places, values)
        start = end
    return weights


def _end(sizes, start):
    """The end of the longest run of systems, sorted by size, whose padded numbers fit into a block."""
    counts = torch.arange(1, len(sizes) - start + 1, device=sizes.device)
    return start + int((counts * sizes[start:] ** 2 <= BLOCK).sum())
