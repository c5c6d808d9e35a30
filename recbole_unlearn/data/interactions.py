"""Interactions that also keep the numbers of their source."""

import numpy as np
import torch
from recbole.data.interaction import Interaction


class Interactions(Interaction):
    """RecBole's Interaction, with the source's numbers beside the float32 values that models read.

    float32 has steps of 128 s at today's timestamps. Rows are sorted by the source's numbers and written with them.

    Args:
        columns: field names to tensors with one row per interaction.
        source: names of numeric fields to int64 or float64 tensors, shape ``(rows,)``; NaN where the source has none.
    """

    def __init__(self, columns: dict[str, torch.Tensor], source: dict[str, torch.Tensor]):
        super().__init__(columns)
        self.source = source

    def __getitem__(self, index):
        picked = super().__getitem__(index)
        if isinstance(index, str):
            return picked
        return Interactions(picked.interaction, {field: values[index] for field, values in self.source.items()})

    def _reindex(self, index):
        super()._reindex(index)
        self.source = {field: values[index] for field, values in self.source.items()}

    def drop(self, column: str) -> None:
        """Drop a field."""
        super().drop(column)
        self.source = {field: values for field, values in self.source.items() if field != column}

    def sort(self, by: str | list[str], ascending: bool | list[bool] = True) -> None:
        """Sort in place; a numeric field by the source's numbers, with equal rows in their order."""
        if ascending is not True or not isinstance(by, str) or by not in self.source:
            return super().sort(by, ascending)
        values = self.source[by]
        if values.is_floating_point():
            values = torch.where(values.isnan(), values.nanmean(), values)  # as RecBole fills them
        self._reindex(torch.from_numpy(np.argsort(values.numpy(), kind="stable")))


def source_of(interactions: Interaction) -> dict[str, torch.Tensor]:
    """The source's numbers by field; empty if the interactions have none."""
    return getattr(interactions, "source", {})


def where(interactions: Interaction, keep: torch.Tensor) -> Interactions:
    """The rows where ``keep`` (boolean, one per row) is true."""
    columns = {field: interactions[field][keep] for field in interactions}
    return Interactions(columns, {field: values[keep] for field, values in source_of(interactions).items()})
