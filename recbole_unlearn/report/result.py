"""What a run returns."""

from typing import Any

import pandas as pd


class Result(dict[str, Any]):
    """A report as a dict of plain data, which also shows itself as a table."""

    def to_frame(self) -> pd.DataFrame:
        """The rows and their distances to Retrain, indexed by ``method`` and ``stage``; without details."""
        rows, gaps = (pd.DataFrame(self[part]) for part in ("results", "gaps"))
        names = ["method", "stage"]
        frame = rows.merge(gaps, on=names, how="left") if len(gaps) else rows
        return frame.drop(columns="details", errors="ignore").set_index(names)

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        title = f"{self['model']} on {self['dataset']}, seed {self['seed']}, {self['forget']['type']} request"
        return f"<p>{title}</p>{self.to_frame().to_html(float_format='{:.4g}'.format, na_rep='')}"
