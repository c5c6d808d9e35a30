"""The losses of the backbones and of the influence encoder, as pure functions of scores and tables."""

import torch
import torch.nn.functional as F
from recbole.model.loss import BPRLoss

from recbole_unlearn.columns import are_split, sum_columns, sum_columns_
from recbole_unlearn.info_nce import info_nce


def pair_scores(table: torch.Tensor, n_users: int, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Dot products of user and item rows of a node table.

    Args:
        table: final embeddings ``Z`` of all nodes, shape ``(N, d)``.
        users, items: ids of each pair, shape ``(B,)``.

    Returns:
        Scores, shape ``(B,)``.
    """
    items = items + n_users
    if table.device.type != "cpu" or (torch.is_grad_enabled() and table.requires_grad):
        return (F.embedding(users, table) * F.embedding(items, table)).sum(dim=1)
    blocks = zip(users.split(BLOCK), items.split(BLOCK))
    return torch.cat([(table.index_select(0, some) * table.index_select(0, of)).sum(dim=1) for some, of in blocks])


BLOCK = 4096  # pairs or triples at a time on a CPU: their rows stay in its cache


def bpr_loss(
    table: torch.Tensor, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
) -> torch.Tensor:
    """RecBole's ``BPRLoss`` of triples of nodes: the mean of ``-log(1e-10 + sigmoid(z_u . (z_p - z_n)))``.

    Args:
        table: final embeddings ``Z`` of all nodes, shape ``(N, d)``.
        users, positives, negatives: nodes of each triple, shape ``(B,)``.

    Returns:
        Scalar, twice differentiable. A CPU holds no tensor of shape ``(B, d)``, unless it is differentiated twice.
    """
    if table.device.type == "cpu" and len(users):
        return _BPR.apply(table, users, positives, negatives)
    return _bpr_of_rows(table, users, positives, negatives)


def _bpr_of_rows(table, *nodes):
    user, positive, negative = (F.embedding(side, table) for side in nodes)
    return BPRLoss()(*(sum_columns((user * other).sum(dim=1)) for other in (positive, negative)))


class _BPR(torch.autograd.Function):
    """BPR block by block. The forward pass computes the gradient too, so that each row is fetched once."""

    @staticmethod
    def forward(ctx, table, *nodes):
        gamma, size = BPRLoss().gamma, len(nodes[0])
        gradient = torch.zeros_like(table)
        loss = table.new_zeros(())
        block = size if are_split() else BLOCK  # among processes, one exchange costs less than the cache gives
        for users, positives, negatives in zip(*(side.split(block) for side in nodes)):
            user = table.index_select(0, users)
            difference = table.index_select(0, positives).sub_(table.index_select(0, negatives))
            margin = (user * difference).sum(dim=1)  # not a product that autocast would round
            likelihood = sum_columns_(margin).sigmoid_()
            loss -= (likelihood + gamma).log_().sum()
            slope = (likelihood * (likelihood - 1)).div_(likelihood + gamma).div_(size)[:, None]
            gradient.index_add_(0, users, difference.mul_(slope))
            gradient.index_add_(0, positives, user.mul_(slope))
            gradient.index_add_(0, negatives, user, alpha=-1)
        ctx.save_for_backward(table, gradient, *nodes)
        return loss / size

    @staticmethod
    def backward(ctx, gradient):
        table, of_table, *nodes = ctx.saved_tensors
        if torch.is_grad_enabled():  # the caller may differentiate the gradient
            (of_table,) = torch.autograd.grad(_bpr_of_rows(table, *nodes), table, create_graph=True)
        return gradient * of_table, None, None, None


def embedding_regulariser(table: torch.Tensor, occurrences: torch.Tensor, squared: bool) -> torch.Tensor:
    """RecBole's ``EmbLoss`` of a batch: ``sum |E_side|^2 / 2B`` or ``sum |E_side| / B``.

    ``E_side`` are the rows of the batch's users, items or negative items, repetitions included, and B their number.

    Args:
        table: 0-layer embeddings, shape ``(N, d)``.
        occurrences: how often each node is one of the three, shape ``(3, N)``.
        squared: whether norms are squared.
    """
    size = occurrences[0].sum()
    squares = sum_columns(occurrences @ table.square().sum(dim=1))
    if squared:
        return squares.sum() / (2 * size)
    return squares.clamp(min=torch.finfo(table.dtype).tiny).sqrt().sum() / size


def unlearning_loss(forget_scores: torch.Tensor) -> torch.Tensor:
    """``L_U`` (Eq. 20): mean softplus of the scores of the pairs to forget, shape ``(F,)``; 0 for no pairs."""
    return F.softplus(forget_scores).sum() / max(1, len(forget_scores))


def preserving_loss(
    table: torch.Tensor,
    original: torch.Tensor,
    n_users: int,
    users: torch.Tensor,
    items: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """``L_P`` (Eq. 21-22): mean squared difference of the log-softmax of remaining pairs before and after.

    A user's softmax runs over the batch's items, so the loss holds the batch's negatives in place too.

    Args:
        table, original: final embeddings ``Z'`` and ``Z`` of all nodes, shape ``(N, d)``.
        users, items: remaining pairs of the batch, shape ``(B,)``.
        temperature: tau_p, > 0.

    Returns:
        Scalar. Cost ``O(U I d)`` for the batch's ``U`` different users and ``I`` different items.
    """
    batch_users, user_row = torch.unique(users, return_inverse=True)
    batch_items, item_row = torch.unique(items, return_inverse=True)

    def log_probability(nodes):
        scores = F.embedding(batch_users, nodes) @ F.embedding(batch_items + n_users, nodes).t() / temperature
        return scores[user_row, item_row] - torch.logsumexp(scores, dim=1)[user_row]

    with torch.no_grad():
        before = log_probability(original)
    return (log_probability(table) - before).square().mean()


def score_loss(
    table: torch.Tensor,
    original: torch.Tensor,
    n_users: int,
    users: torch.Tensor,
    items: torch.Tensor,
    negatives: torch.Tensor,
) -> torch.Tensor:
    """``L_S``: mean of ``(s' - s)^2`` over remaining pairs and their negatives, ``s`` and ``s'`` before and after.

    Args:
        table, original: final embeddings ``Z'`` and ``Z`` of all nodes, shape ``(N, d)``.
        users, items, negatives: a batch's users, remaining and negative items, shape ``(B,)``.
    """
    users, items = users.repeat(2), torch.cat([items, negatives])
    change = pair_scores(table, n_users, users, items) - pair_scores(original, n_users, users, items)
    return change.square().mean()


def contrast_loss(full: torch.Tensor, partial: torch.Tensor, nodes: torch.Tensor, temperature: float) -> torch.Tensor:
    """``L_C`` (Eq. 23-24): mean InfoNCE of the influence on part of a request towards that on all of it.

    Args:
        full, partial: influence tables ``H`` of the request and of the same request with some edges
            dropped, shape ``(N, d)``; gradients flow through ``partial`` only.
        nodes: the nodes that the request touches, shape ``(T,)``.
        temperature: tau_c, > 0.
    """
    positives = torch.arange(len(nodes), device=nodes.device)
    return info_nce(partial[nodes], full[nodes].detach(), positives, temperature) / max(1, len(nodes))
