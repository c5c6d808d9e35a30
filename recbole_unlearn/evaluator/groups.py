"""Groups of users that unlearning may treat differently."""

import numpy as np
import torch

from recbole_unlearn.graph import Graph


def user_groups(graph: Graph, forget_users: torch.Tensor, forget_items: torch.Tensor) -> dict[str, np.ndarray]:
    """Groups of the users of a training graph; the first three are a partition, and so are the last two.

    Args:
        graph: training edges, those to forget included.
        forget_users, forget_items: ends of the edges to forget, shape ``(F,)`` each.

    Returns:
        Name to a boolean array of shape ``(n_users,)``; user 0, the padding, is in no group. ``requesters`` have an
        edge to forget. ``neighbours`` are others with an edge to an item of the request. ``others`` are all the rest.
        ``active`` users have more training edges than the median user who has any; ``inactive`` are the rest.
    """
    asked, near = (torch.zeros(graph.n_users, dtype=torch.bool) for _ in range(2))
    asked[forget_users] = True
    of_request = torch.zeros(graph.n_items, dtype=torch.bool)
    of_request[forget_items] = True
    near[graph.users[of_request[graph.items]]] = True
    degrees = graph.degrees()[: graph.n_users]
    active = degrees > (degrees[degrees > 0].float().median() if len(graph) else 0)
    groups = {
        "requesters": asked,
        "neighbours": near & ~asked,
        "others": ~near & ~asked,
        "active": active,
        "inactive": ~active,
    }
    somebody = torch.arange(graph.n_users) > 0
    return {name: (members & somebody).numpy() for name, members in groups.items()}


def group_changes(change: np.ndarray, users: np.ndarray, groups: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """The mean change of a metric in each group.

    Args:
        change: of each measured user, shape ``(U,)``.
        users: their ids, shape ``(U,)``.
        groups: of :func:`user_groups`.

    Returns:
        Name to ``n`` (measured users), ``mean`` and ``se`` (its standard error over users; nan below two users).
    """
    result = {}
    for name, members in groups.items():
        of_group = change[members[users]]
        n = len(of_group)
        result[name] = {
            "n": n,
            "mean": float(of_group.mean()) if n else float("nan"),
            "se": float(of_group.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan"),
        }
    return result
