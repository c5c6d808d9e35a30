"""What a run returns."""

from html import escape
from typing import Any

import pandas as pd

from recbole_unlearn.report.tables import notes, tables


class Result(dict[str, Any]):
    """A report as a dict of plain data, which also shows itself as tables: printed, or in a notebook."""

    def to_frame(self) -> pd.DataFrame:
        """The numbers of the rows and of their distances to Retrain, indexed by ``method`` and ``stage``.

        A row without a distance (the original, Retrain) or without a result has nan there.
        """
        rows, gaps = (pd.DataFrame(self[part]) for part in ("results", "gaps"))
        names = ["method", "stage"]
        frame = rows.merge(gaps, on=names, how="left") if len(gaps) else rows
        return frame.drop(columns=["details", "remarks"], errors="ignore").set_index(names).astype(float)

    def __str__(self) -> str:
        titled = [f"{title}\n{frame.to_string(index=False)}" for title, frame in tables(self)]
        return "\n".join([titled[0], *notes(self["results"]), *titled[1:]])

    def _repr_html_(self) -> str:
        """The tables and remarks in a notebook."""
        parts = [
            f"<p><b>{escape(title)}</b></p>{frame.to_html(index=False, border=0)}" for title, frame in tables(self)
        ]
        said = "".join(f"<li>{escape(line)}</li>" for line in notes(self["results"]))
        return "".join([parts[0], f"<ul>{said}</ul>" if said else "", *parts[1:]])
