"""The requests of a sequence, and the data that each one meets."""

from dataclasses import replace
from typing import Any

import torch

from recbole_unlearn.data.request import edges_where, request_seed
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.streams import torch_stream
from recbole_unlearn.task import UnlearningData

QUARTERS = 4


def drawn_users(config: Any, graph: Graph) -> torch.Tensor:
    """The users who ask one after the other, drawn without replacement from those with training edges.

    Args:
        config (Config): settings; ``unlearn_sequence`` is their number.
        graph: training edges.

    Returns:
        Ids, int64, shape ``(n,)``.

    Raises:
        UsageError: there are fewer such users.
    """
    n_requests, present = config["unlearn_sequence"], torch.unique(graph.users)
    if n_requests > len(present):
        raise UsageError(
            f"Setting 'unlearn_sequence' is {n_requests}, but only {len(present)} users have training interactions."
        )
    order = torch.randperm(len(present), generator=torch_stream(request_seed(config), "sequence"))
    return present[order[:n_requests]]


def measured_points(n_requests: int) -> list[int]:
    """The numbers of requests after which models are measured: 1/4, 1/2, 3/4 and all, ascending.

    >>> measured_points(100), measured_points(2)
    ([25, 50, 75, 100], [1, 2])
    """
    return sorted({-(-n_requests * quarter // QUARTERS) for quarter in range(1, QUARTERS + 1)})


def union_of(data: UnlearningData, users: torch.Tensor) -> UnlearningData:
    """The run's data with all interactions of some users, shape ``(n,)``, as one request."""
    return replace(data, request=edges_where(data.graph, torch.isin(data.graph.users, users)))


def following(data: UnlearningData, user: torch.Tensor) -> UnlearningData:
    """The data of the next request, for all interactions of one user, a scalar id.

    What remained of the last request is what the model is trained on now. Held-out pairs and evaluation loaders stay
    those of the run, so that all rows rank the same items.
    """
    remaining = data.remaining_graph
    request = edges_where(remaining, remaining.users == user)
    return replace(data, train=data.remaining, graph=remaining, request=request)
