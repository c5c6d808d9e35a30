"""The figure of a sequence: how gaps, ranking and lists drift from Retrain."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recbole_unlearn.evaluator.comparison import RETRAIN
from recbole_unlearn.report.tables import COLUMNS, label

Rows = Sequence[dict[str, Any]]
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933", "#882255")
STYLES = ("-", "--", ":")  # of the lines after the last colour
COLUMNS_OF_PANELS = 3


def draw_drift(rows: Rows, path: str | PathLike) -> None:
    """Draw a panel for each gap, ranking ratio and agreement of lists, with a line for each method.

    Args:
        rows: of :func:`~recbole_unlearn.sequence.rows.compared`. Where another Retrain lies is the band.
        path: PNG to write.
    """
    panels = _panels(rows) or [("", "no Retrain to compare with", None)]
    compared = [row for row in rows if row["method"] not in ("original", RETRAIN)]
    lines = {name: [row for row in compared if label(row) == name] for name in map(label, compared)}
    height = -(-len(panels) // COLUMNS_OF_PANELS)
    drawing = Figure(figsize=(4.2 * COLUMNS_OF_PANELS, 3.0 * height), layout="constrained")
    axes = drawing.subplots(height, COLUMNS_OF_PANELS, squeeze=False)
    for (key, title, ideal), axis in zip(panels, axes.flat):
        if ideal is not None:
            _band(axis, rows, key, ideal)
        for number, (name, of_method) in enumerate(lines.items()):
            points = [(row["after"], row[key]) for row in of_method if key in row]
            colour, style = COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]
            axis.plot(*zip(*points), style, marker="o", markersize=4, color=colour, label=name)
        if key.endswith("_gap"):
            values = [row[key] for row in rows if row.get(key, 0) > 0]
            if values:  # else no method differs from Retrain
                axis.set_yscale("log")
                axis.set_ylim(0.5 * min(values), 2 * max(values))
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("requests forgotten")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    drawing.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8, frameon=False
    )
    drawing.savefig(path, dpi=130, format="png")


def _panels(rows: Rows) -> list[tuple[str, str, float | None]]:
    """Key, title and Retrain's own value of each panel."""
    keys = dict.fromkeys(key for row in rows for key in row)
    gaps = [(key, f"{COLUMNS[key][0]}, gap to Retrain", 0.0) for key in keys if key.endswith("_gap")]
    ratios = [(key, f"{key.replace('_ratio', '')}, ratio to Retrain's", 1.0) for key in keys if key.endswith("_ratio")]
    lists = [(key, f"{key} of lists with Retrain's", 1.0) for key in keys if key.startswith("jaccard@")]
    return [*gaps, *ratios[-1:], *lists]


def _band(axis: Axes, rows: Rows, key: str, ideal: float) -> None:
    """From Retrain's own value to the farthest of the other Retrains; on both sides of a ratio."""
    again = [row for row in rows if row["method"] == RETRAIN and row["stage"] and key in row]
    afters = sorted({row["after"] for row in again})
    if not afters:
        return
    far = [max(abs(row[key] - ideal) for row in again if row["after"] == after) for after in afters]
    above = 0.0 if key.startswith("jaccard@") else 1.0
    low, high = [ideal - distance for distance in far], [ideal + above * distance for distance in far]
    low = [1e-4 * value for value in high] if key.endswith("_gap") else [max(0.0, value) for value in low]
    looks: dict[str, Any] = {"color": "#bbbbbb", "alpha": 0.5, "linewidth": 0, "label": "Retrain again", "zorder": 0}
    if len(afters) == 1:
        axis.axhspan(low[0], high[0], **looks)
    else:
        axis.fill_between(afters, low, high, **looks)
