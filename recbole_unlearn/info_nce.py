"""InfoNCE as a pure function of two tables, twice differentiable, among all candidates or some that stand for all."""

from functools import wraps

import torch

from recbole_unlearn.columns import all_columns, all_columns_of_own_part, own_part, sum_columns


def _exact(backward):
    """A backward pass of a custom function with autocast off: it mixes saved tensors, which are exact, with others."""

    @wraps(backward)
    def call(ctx, *changes):
        with torch.autocast(changes[0].device.type, enabled=False):
            return backward(ctx, *changes)

    return call


INFO_NCE_BLOCK = 1 << 20  # similarities held at a time: 4 MiB, small enough for a CPU's cache
INFO_NCE_BLOCK_ON_GPU = 1 << 26  # 256 MiB: a kernel has enough to do


class _InfoNCE(torch.autograd.Function):
    """Sum of ``w_b (log n_b - a_b . c_pos(b) / tau)`` for rows of unit length, where ``n_b`` estimates InfoNCE's sum.

    ``n_b`` is ``k_b exp(a_b . c_pos(b) / tau) + s_b sum_m exp(a_b . c_m / tau)`` over the chosen candidates m: with the
    factors of :func:`_factors`, the positive counts once and the chosen others stand for all. The forward pass computes
    the gradient too, block by block: it computes exp once and never holds all similarities. Unit length bounds the
    logits by 1 / tau, which serves as their maximum.
    """

    @staticmethod
    def forward(ctx, anchors, candidates, positives, weights, temperature, chosen):
        others, matching = _chosen(candidates, chosen), candidates[positives]
        scale, own = _factors(len(candidates), positives, chosen, anchors)
        own = own * _exponential(anchors, matching, temperature)
        normalisers, grad_anchors = torch.empty_like(own), torch.empty_like(anchors)
        grad_others, grad_candidates = torch.zeros_like(others), torch.zeros_like(candidates)
        for rows, a, e in _exponential_blocks(anchors, others, temperature):
            normalisers[rows] = scale[rows] * e.sum(dim=1, keepdim=True) + own[rows]
            share = weights[rows, None] * scale[rows] / normalisers[rows] / temperature
            torch.mm(e, others, out=grad_anchors[rows]).mul_(share)
            grad_others.addmm_(e.t(), a * share)
        pull = weights[:, None] * (1 - own / normalisers) / temperature
        losses = normalisers.log() + (1 - (anchors * matching).sum(dim=1, keepdim=True)) / temperature
        grad_anchors.sub_(pull * matching)
        _add_chosen(grad_candidates, chosen, grad_others).index_add_(0, positives, pull * anchors, alpha=-1)
        ctx.temperature, ctx.chosen = temperature, chosen
        ctx.save_for_backward(anchors, candidates, positives, weights, grad_anchors, grad_candidates)
        return (weights[:, None] * losses).sum()

    @staticmethod
    def backward(ctx, gradient):
        *inputs, grad_anchors, grad_candidates = ctx.saved_tensors
        if torch.is_grad_enabled():  # the caller may differentiate the gradient
            grad_anchors, grad_candidates = _InfoNCEGradient.apply(
                *inputs, ctx.temperature, ctx.chosen, grad_anchors, grad_candidates
            )
        return gradient * grad_anchors, gradient * grad_candidates, None, None, None, None


class _InfoNCEGradient(torch.autograd.Function):
    """The gradient that :class:`_InfoNCE` computed, with the Hessian-vector product as its backward pass.

    P are the shares of the sum, the positive's own term among them, and S' the change of the logits. Then
    ``P' = P * (S' - sum_m P S')``, and the gradients change by ``w (P' c + P c' - c'_pos) / tau`` and
    ``(P'^T w a + P^T w a' - sum_pos w a') / tau``.
    """

    @staticmethod
    def forward(ctx, anchors, candidates, positives, weights, temperature, chosen, grad_anchors, grad_candidates):
        ctx.temperature, ctx.chosen = temperature, chosen
        ctx.save_for_backward(anchors, candidates, positives, weights)
        return grad_anchors.clone(), grad_candidates.clone()

    @staticmethod
    @_exact
    def backward(ctx, anchor_change, candidate_change):
        anchors, candidates, positives, weights = ctx.saved_tensors
        temperature, chosen = ctx.temperature, ctx.chosen
        scaled = weights[:, None] / temperature
        others, other_change = _chosen(candidates, chosen), _chosen(candidate_change, chosen)
        matching, matching_change = candidates[positives], candidate_change[positives]
        scale, own = _factors(len(candidates), positives, chosen, anchors)
        own = own * _exponential(anchors, matching, temperature)
        own_change = (anchor_change * matching + anchors * matching_change).sum(dim=1, keepdim=True) / temperature
        change_anchors, change_candidates = torch.empty_like(anchors), torch.zeros_like(candidates)
        change_others = torch.zeros_like(others)
        both = torch.cat([others, other_change], dim=1)
        pull, pull_change = torch.empty_like(own), torch.empty_like(own)  # the positive's own share less 1
        for rows, a, e in _exponential_blocks(anchors, others, temperature):
            normaliser = scale[rows] * e.sum(dim=1, keepdim=True) + own[rows]
            p, own_p = e.mul_(scale[rows] / normaliser), own[rows] / normaliser
            a_change = anchor_change[rows]
            change = torch.mm(torch.cat([a_change, a], dim=1), both.t()).div_(temperature)
            mean = (p * change).sum(dim=1, keepdim=True) + own_p * own_change[rows]
            p_change = change.sub_(mean).mul_(p)
            pull[rows], pull_change[rows] = own_p - 1, own_p * (own_change[rows] - mean)
            change_anchors[rows] = p_change @ others + p @ other_change
            w = scaled[rows]
            change_others.addmm_(p_change.t(), w * a).addmm_(p.t(), w * a_change)
        change_anchors.add_(pull_change * matching).add_(pull * matching_change).mul_(scaled)
        of_positives = scaled * (pull_change * anchors + pull * anchor_change)
        _add_chosen(change_candidates, chosen, change_others).index_add_(0, positives, of_positives)
        return change_anchors, change_candidates, None, None, None, None, None, None


def _chosen(candidates, chosen):
    return candidates if chosen is None else candidates.index_select(0, chosen)


def _add_chosen(table, chosen, rows):
    return table.add_(rows) if chosen is None else table.index_add_(0, chosen, rows)


def _factors(n_candidates, positives, chosen, like):
    """Of each anchor: the factor of the chosen candidates' exponentials and of its positive's own, shape ``(B, 1)``.

    The chosen others stand for all others; the positive counts once, whether it is among the chosen or not.
    """
    if chosen is None:
        return like.new_ones(len(positives), 1), like.new_zeros(len(positives), 1)
    is_chosen = torch.zeros(n_candidates, dtype=torch.bool, device=positives.device).index_fill_(0, chosen, True)
    inside = is_chosen[positives][:, None].to(like)
    scale = (n_candidates - 1) / (len(chosen) - inside).clamp(min=1)
    return scale, 1 - scale * inside


def _exponential(anchors, others, temperature):
    return (((anchors * others).sum(dim=1, keepdim=True) - 1) / temperature).exp_()


def _exponential_blocks(anchors, candidates, temperature):
    """Blocks of anchors: their slice, their rows, and ``exp(s - 1 / tau)`` for all candidates."""
    held = INFO_NCE_BLOCK if anchors.device.type == "cpu" else INFO_NCE_BLOCK_ON_GPU
    size = max(1, held // max(1, len(candidates)))
    block = anchors.new_empty(min(size, len(anchors)), len(candidates))
    for start in range(0, len(anchors), size):
        rows = slice(start, start + size)
        a = anchors[rows]
        e = torch.mm(a / temperature, candidates.t(), out=block[: len(a)])
        yield rows, a, e.sub_(1 / temperature).exp_()


def info_nce(
    anchors: torch.Tensor,
    candidates: torch.Tensor,
    positives: torch.Tensor,
    temperature: float,
    weights: torch.Tensor | None = None,
    chosen: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""InfoNCE, summed over anchors: each anchor against its positive among all candidates.

    .. math::
        \sum_b w_b \Big( \log \sum_m e^{\cos(a_b, c_m) / \tau} - \cos(a_b, c_{pos(b)}) / \tau \Big)

    Args:
        anchors: shape ``(B, d)``.
        candidates: shape ``(M, d)``.
        positives: row of each anchor's positive among the candidates, shape ``(B,)``.
        temperature: tau, at least about .03: below that, exp underflows if all similarities are low.
        weights: weight of each anchor, shape ``(B,)``; default all 1.
        chosen: rows of different candidates, drawn at random, shape ``(S,)``. The sum over all candidates is then
            estimated without bias: the positive's term, and ``(M - 1) / S'`` times those of the ``S'`` chosen others
            (at least two are to be chosen, so that there is another than the positive).

    Returns:
        Scalar, twice differentiable. Cost ``O(B M d)``, or ``O(B S d)``; memory ``O(B d + M d)``.
    """
    if weights is None:
        weights = anchors.new_ones(len(anchors))
    anchors, candidates = unit_rows(all_columns_of_own_part(anchors)), unit_rows(all_columns(candidates))
    loss = _InfoNCE.apply(anchors, candidates, own_part(positives), own_part(weights), temperature, chosen)
    return sum_columns(loss)


def some_of(n: int, most: int | None, device: torch.device) -> torch.Tensor | None:
    """Rows for ``chosen`` of :func:`info_nce`: ``most`` of ``n`` by torch's global generator, or ``None`` for all."""
    return torch.randperm(n, device=device)[:most] if most and most < n else None


def unit_rows(table):
    """Rows of length 1. A row of zeros stays, with finite derivatives, unlike with ``F.normalize``."""
    squares = table.square().sum(dim=1, keepdim=True)
    return table / torch.where(squares > 0, squares, 1).sqrt()
