"""The largest entries of rows."""

import torch

GROUP = 32  # columns of which the first look keeps only the largest


def top_columns(scores: torch.Tensor, k: int) -> torch.Tensor:
    """The columns of each row's ``k`` largest entries, largest first, as of ``torch.topk``.

    A row's k largest entries lie in the k groups of columns with the largest maxima. One pass looks for these, and only
    their columns are sorted.

    Args:
        scores: shape ``(B, n)``.
        k: at most ``n``.

    Returns:
        Shape ``(B, k)``. Which of several equal entries come first is unspecified.
    """
    n = scores.shape[1]
    groups = n // GROUP
    if groups < 2 * k or scores.is_cuda:  # a GPU's own topk is fast
        return scores.topk(k, dim=1).indices
    whole = scores[:, : groups * GROUP].unflatten(1, (GROUP, groups))  # a group's columns are `groups` apart
    best = whole.amax(dim=1).topk(k, dim=1).indices
    inside = torch.arange(0, groups * GROUP, groups, device=scores.device)
    rest = torch.arange(groups * GROUP, n, device=scores.device).expand(len(scores), -1)
    columns = torch.cat([(best[:, :, None] + inside).flatten(1), rest], dim=1)
    return columns.gather(1, scores.gather(1, columns).topk(k, dim=1).indices)
