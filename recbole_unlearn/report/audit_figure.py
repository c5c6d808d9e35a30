"""The figure of a membership audit: the attack's ROC on each row."""

from collections.abc import Mapping
from itertools import cycle
from os import PathLike

import numpy as np
from matplotlib.figure import Figure

from recbole_unlearn.report.picture import save_drawing

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")  # colour-blind safe
STYLES = ("-", "--", ":")  # of the first seven rows, the next seven, and so on
PANELS = {
    "roc_forgotten": "forgotten units (never seen: the dotted line)",
    "roc_retained": "retained units (every model has seen them)",
}
FALSE_POSITIVES = 0.01


def draw_audit(
    curves: Mapping[str, Mapping[str, np.ndarray]], path: str | PathLike, title: str, legends: Mapping[str, str]
) -> None:
    """Draw the ROC of an attack on logarithmic axes: one panel for forgotten units, one for retained ones.

    Args:
        curves: name of a row to ``roc_forgotten`` and ``roc_retained``, false and true positive rates, ``(2, n)``.
        path: PNG or SVG to write.
        title: above both panels.
        legends: name of a row to its line in the legend.
    """
    drawing = Figure(figsize=(11, 4.6), layout="constrained")
    panels = drawing.subplots(1, 2, sharex=True, sharey=True)
    named = [name for name in curves if name != "Retrain"]
    looks = dict(zip(named, cycle((colour, style) for style in STYLES for colour in COLOURS))) | {
        "Retrain": ("black", "-")
    }
    rates = np.concatenate([curve[of][0] for curve in curves.values() for of in PANELS])
    lowest = rates[rates > 0].min()
    for panel, (of, heading) in zip(panels, PANELS.items()):
        panel.plot([lowest, 1], [lowest, 1], color="black", linewidth=0.8, linestyle=(0, (1, 3)), label="guessing")
        panel.axvline(FALSE_POSITIVES, color="#bbbbbb", linewidth=0.8)
        for name in sorted(curves, key=lambda name: name == "Retrain"):  # Retrain on top
            false, true = curves[name][of]
            colour, style = looks[name]
            wide = 2.0 if name == "Retrain" else 1.3
            panel.plot(
                false, np.maximum(true, lowest), color=colour, linestyle=style, linewidth=wide, label=legends[name]
            )
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlim(lowest, 1)
        panel.set_ylim(lowest, 1.1)
        panel.set_xlabel("false positive rate")
        panel.set_title(heading, fontsize=10, loc="left")
    panels[0].set_ylabel("true positive rate")
    handles, names = (found[-1:] + found[:-1] for found in panels[0].get_legend_handles_labels())
    drawing.legend(
        handles, names, loc="outside right upper", fontsize=8.5, frameon=False, title="forgotten: AUC, TPR at 1 % FPR"
    )
    drawing.suptitle(title, fontsize=11, x=0.01, ha="left")
    save_drawing(drawing, path)
