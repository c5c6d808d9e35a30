"""Recall and NDCG by full ranking, as RecBole defines them, computed from embeddings."""

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
        seen: edges whose items are not ranked unless they are held out; on the embeddings' device.
        held_out: positives; on the embeddings' device.
        k: length of the ranking; it may exceed the number of items.

    Returns:
        ``recall@k`` and ``ndcg@k``, means over the users that have held-out items (nan if nobody has).
        Cost ``O(U I d)``.
    """
    seen = seen.without(held_out.users, held_out.items)
    users, items = final.split([seen.n_users, seen.n_items])
    counts = torch.bincount(held_out.users, minlength=seen.n_users)
    discounts = 1 / torch.log2(torch.arange(2, k + 2, device=final.device))
    ideal = torch.cumsum(discounts, 0)
    recalls, gains, held = [], [], BLOCK_ON_GPU if final.is_cuda else BLOCK
    for some in torch.nonzero(counts).flatten().split(max(1, held // seen.n_items)):
        scores = users[some] @ items.t()
        scores[:, 0] = -torch.inf  # padding
        scores[seen.items_of(some)] = -torch.inf
        top = top_columns(scores, min(k, seen.n_items))
        hits = held_out.contains(some[:, None].expand_as(top), top)
        recalls.append(hits.sum(dim=1) / counts[some])
        gains.append((hits * discounts[: top.shape[1]]).sum(dim=1) / ideal[counts[some].clamp(max=k) - 1])
    if not recalls:
        return {f"recall@{k}": float("nan"), f"ndcg@{k}": float("nan")}
    return {f"recall@{k}": float(torch.cat(recalls).mean()), f"ndcg@{k}": float(torch.cat(gains).mean())}
