"""Recall and NDCG by full ranking, as RecBole defines them, computed from embeddings or from any scores."""

from collections.abc import Callable

import torch

from recbole_unlearn.graph import Graph
from recbole_unlearn.top import top_columns

BLOCK = 2**20  # scores held at a time: 4 MiB, small enough for a CPU's cache
BLOCK_ON_GPU = 2**26


def ranking_metrics(final: torch.Tensor, seen: Graph, held_out: Graph, k: int) -> dict[str, float]:
    """Rank all items for each user with held-out items, except the items that the user has seen.

    A held-out item that the user has also seen, as with repeated interactions, is ranked, as in RecBole.

    Args:
        final: final embeddings, shape ``(N, d)``.
        seen, held_out, k: see :func:`metrics_of_scores`; on the embeddings' device.

    Returns:
        See :func:`metrics_of_scores`. Cost ``O(U I d)``.
    """
    users, items = final.split([seen.n_users, seen.n_items])
    return metrics_of_scores(lambda some: users[some] @ items.t(), seen, held_out, k)


def metrics_of_scores(
    scores_of: Callable[[torch.Tensor], torch.Tensor], seen: Graph, held_out: Graph, k: int
) -> dict[str, float]:
    """The same by a model's scores.

    Args:
        scores_of: takes ids of users, shape ``(B,)``; returns scores of all items, shape ``(B, n_items)``, which may be
            overwritten.
        seen: edges whose items are not ranked unless they are held out.
        held_out: positives.
        k: length of the ranking; it may exceed the number of items.

    Returns:
        ``recall@k`` and ``ndcg@k``, means over the users that have held-out items (nan if nobody has).
    """
    device = seen.device
    seen = seen.without(held_out.users, held_out.items)
    counts = torch.bincount(held_out.users, minlength=seen.n_users)
    discounts = 1 / torch.log2(torch.arange(2, k + 2, device=device))
    ideal = torch.cumsum(discounts, 0)
    recalls, gains, held = [], [], BLOCK_ON_GPU if device.type == "cuda" else BLOCK
    for some in torch.nonzero(counts).flatten().split(max(1, held // seen.n_items)):
        scores = scores_of(some)
        scores[:, 0] = -torch.inf  # padding
        scores[seen.items_of(some)] = -torch.inf
        top = top_columns(scores, min(k, seen.n_items))
        hits = held_out.contains(some[:, None].expand_as(top), top)
        recalls.append(hits.sum(dim=1) / counts[some])
        gains.append((hits * discounts[: top.shape[1]]).sum(dim=1) / ideal[counts[some].clamp(max=k) - 1])
    if not recalls:
        return {f"recall@{k}": float("nan"), f"ndcg@{k}": float("nan")}
    return {f"recall@{k}": float(torch.cat(recalls).mean()), f"ndcg@{k}": float(torch.cat(gains).mean())}
