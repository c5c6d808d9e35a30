"""Some rows of a graph's adjacency, at a cost that does not depend on the others."""

import torch

from recbole_unlearn.graph import bisect


class Rows:
    """Gives rows of a sparse adjacency, perhaps without some entries and with others scaled.

    Args:
        adjacency: sparse CSR, shape ``(N, N)``.
        degrees: entries that each row keeps, shape ``(N,)``.
        gone: positions of the entries that rows do not keep; default none.
        scale: factor of each row and of each column, shape ``(N,)``; default 1.
    """

    def __init__(
        self,
        adjacency: torch.Tensor,
        degrees: torch.Tensor,
        gone: torch.Tensor | None = None,
        scale: torch.Tensor | None = None,
    ) -> None:
        self.starts, self.columns, self.values = adjacency.crow_indices(), adjacency.col_indices(), adjacency.values()
        self.degrees, self.scale = degrees, scale
        self.gone = torch.empty(0, dtype=torch.long, device=degrees.device) if gone is None else gone.sort().values
        self.kept_before = self.gone - torch.arange(len(self.gone), device=degrees.device)  # each that is gone

    def __call__(self, nodes: torch.Tensor, most: int | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The entries of some rows.

        Args:
            nodes: shape ``(B,)``, any order.
            most: of a row's entries; of more, so many are picked evenly and scaled up in the others' stead.

        Returns:
            For each entry its row's place in ``nodes``, ascending, its column, int64 both, and its value.
        """
        counts = self.degrees.index_select(0, nodes)
        sizes = counts if most is None else counts.clamp(max=most)
        row = torch.repeat_interleave(torch.arange(len(nodes), device=nodes.device), sizes)
        at = torch.arange(len(row), device=row.device) - (torch.cumsum(sizes, 0) - sizes).index_select(0, row)
        if most is not None:
            count, size = counts.index_select(0, row), sizes.index_select(0, row)
            at = -(-at * count).div(size, rounding_mode="floor")
        first = self.starts.index_select(0, nodes).long()
        # Count on among the kept entries of all rows, then pass over those that are gone.
        at += (first - torch.searchsorted(self.gone, first)).index_select(0, row)
        at += torch.searchsorted(self.kept_before, at, right=True)
        columns, values = self.columns.index_select(0, at).long(), self.values.index_select(0, at)
        if self.scale is not None:
            values = values * self.scale.index_select(0, nodes).index_select(0, row)
            values *= self.scale.index_select(0, columns)
        if most is not None:
            values = values * (count / size)
        return row, columns, values


def entries(adjacency: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Positions of some entries of a sparse CSR tensor among all of them, in the rows' shape."""
    low, high = (adjacency.crow_indices().index_select(0, rows + more).long() for more in (0, 1))
    return bisect(adjacency.col_indices(), columns, low, high)
