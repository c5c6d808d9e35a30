"""The number of rows of each edge, where interactions repeat: computed, applied, and as a file.

The file of the training edges' counts is there so that a revision need not parse the rows.
"""

import torch

from recbole_unlearn.errors import UsageError, reason
from recbole_unlearn.files import tensor_file
from recbole_unlearn.graph import Graph

KIND = "counts"


def counts_of(graph: Graph, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor | None:
    """The number of rows of each edge, shape ``(E,)``; None if each edge has one.

    Args:
        graph: of the rows.
        users, items: ids of the rows, int64.
    """
    if len(users) == len(graph):
        return None
    position, _ = graph.find(users, items)
    return torch.bincount(position, minlength=len(graph))


def of_rows(values: torch.Tensor, counts: torch.Tensor | None) -> torch.Tensor:
    """Repeat values of edges for each of their rows.

    Args:
        values: one an edge.
        counts: of :func:`counts_of`.
    """
    return values if counts is None else values.repeat_interleave(counts)


def write(path: str, counts: torch.Tensor) -> None:
    """Write the counts of the training edges, shape ``(E,)``; the file is whole or absent."""
    tensor_file.write(path, KIND, {"train": counts.int()}, {})


def read(path: str) -> torch.Tensor:
    """Read the counts of the training edges, shape ``(E,)``.

    Raises:
        UsageError: the file does not exist, is of another kind, or is damaged.
    """
    try:
        counts = tensor_file.read(path, KIND)[0]["train"].long()
        if counts.ndim != 1 or (counts < 1).any():
            raise ValueError("they are no counts")
    except Exception as error:  # safetensors raises several types
        raise UsageError(f"'{path}' has no counts of rows: {reason(error)}") from None
    return counts
