"""What an audit asks about: forgotten units, and as many retained ones."""

from dataclasses import dataclass

import numpy as np
import torch

from recbole_unlearn.graph import Graph


@dataclass(frozen=True)
class Units:
    """Sets of training edges; a reference model is trained with a whole set or without it.

    Args:
        users, items: the edges, ids, int64 of shape ``(P,)`` each.
        unit: each edge's unit, 0 to ``n - 1``, shape ``(P,)``.
        n: number of units.
    """

    users: torch.Tensor
    items: torch.Tensor
    unit: torch.Tensor
    n: int

    @classmethod
    def of(cls, users: torch.Tensor, items: torch.Tensor, kind: str) -> "Units":
        """Units of edges: one for each user (``kind`` user or spam), item (item) or edge (anything else)."""
        side = _side(users, items, kind)
        if side is None:
            return cls(users, items, torch.arange(len(users)), len(users))
        names, unit = torch.unique(side, return_inverse=True)
        return cls(users, items, unit, len(names))

    def means(self, values: np.ndarray) -> np.ndarray:
        """The mean of the edges' values in each unit: from shape ``(P,)`` to ``(n,)``."""
        unit = self.unit.numpy()
        return np.bincount(unit, weights=values, minlength=self.n) / np.bincount(unit, minlength=self.n)

    def edges_of(self, units: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Users and items of the edges of the units where a boolean array of shape ``(n,)`` is true."""
        chosen = torch.from_numpy(units)[self.unit]
        return self.users[chosen], self.items[chosen]


def retained_units(remaining: Graph, kind: str, n_units: int, generator: torch.Generator) -> Units:
    """Units of the remaining graph to compare with the forgotten ones, drawn without replacement.

    Args:
        remaining: the remaining graph.
        kind: as for :meth:`Units.of`.
        n_units: as many, or half of what there is if that is less: the others still have to train a model.
        generator: of the draw.
    """
    side = _side(remaining.users, remaining.items, kind)
    names = torch.arange(len(remaining)) if side is None else torch.unique(side)
    count = min(n_units, len(names) // 2)
    chosen = names[torch.randperm(len(names), generator=generator)[:count]]
    mask = torch.isin(names if side is None else side, chosen)
    return Units.of(remaining.users[mask], remaining.items[mask], kind)


def _side(users, items, kind):
    """The nodes that are units of a kind of request, edge by edge; ``None`` where an edge is one."""
    return {"user": users, "spam": users, "item": items}.get(kind)
