"""Interactions whose numbers are there as the source has them, too."""

import numpy as np
import torch
from recbole.data.interaction import Interaction


class Interactions(Interaction):
    """RecBole's Interaction, with the source's numbers beside their float32 values, which models read.

    float32 has steps of 128 s at today's timestamps. Rows are sorted by, and written with, what the source says.

    Args:
        columns: field names to tensors of one row an interaction.
        source: fields of numbers to int64 or float64 tensors, shape ``(rows,)``; NaN where the source has none.
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

    def drop(self, column):
        """Drop a field."""
        super().drop(column)
        self.source = {field: values for field, values in self.source.items() if field != column}

    def sort(self, by, ascending=True):
        """Sort in place, equal rows in their order; a field of numbers by the source's."""
        if ascending is not True or not isinstance(by, str) or by not in self.source:
            return super().sort(by, ascending)
        values = self.source[by]
        if values.is_floating_point():
            values = torch.where(values.isnan(), values.nanmean(), values)  # as RecBole fills them
        self._reindex(torch.from_numpy(np.argsort(values.numpy(), kind="stable")))


def source_of(interactions: Interaction) -> dict[str, torch.Tensor]:
    """The source's numbers by field; empty if the interactions do not have them."""
    return getattr(interactions, "source", {})


def where(interactions: Interaction, keep: torch.Tensor) -> Interactions:
    """The rows where ``keep`` (boolean, one a row) holds."""
    columns = {field: interactions[field][keep] for field in interactions}
    return Interactions(columns, {field: values[keep] for field, values in source_of(interactions).items()})
