"""Figures: score distributions, as in the paper's Fig. 2 and 3, and the trials of a sweep."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from recbole_unlearn.report.picture import save_drawing

SETS = {  # name of a set of pairs: (legend, colour); colour-blind people can distinguish the colours
    "forget": ("forgotten", "#d55e00"),
    "negative": ("never interacted", "#999999"),
    "test": ("held-out positives", "#0072b2"),
}


FORGOTTEN_OF_RETRAIN = "Retrain's forgotten pairs"
ROOM = 0.5  # how far a panel may widen the axis beyond the original's and Retrain's scores, as a share of their range


def score_distributions(
    scores: Mapping[str, Mapping[str, np.ndarray]],
    path: str | PathLike,
    columns: int | None = None,
    title: str = "",
    numbers: Mapping[str, str] | None = None,
    reference: str = "Retrain",
) -> None:
    """Draw one panel per model: densities of the scores of forgotten, negative and positive pairs, means dashed.

    Every panel has the outline of the reference's forgotten pairs, which is where they should be. All panels share one
    axis (see :func:`limits_of`). Scores beyond it are counted at its ends, in the colour of their set.

    Args:
        scores: panel title to a dict from set name (a key of ``SETS``) to scores.
        path: PNG or SVG to write.
        columns: panels side by side at most; default three, or four from the tenth panel on.
        title: above all panels.
        numbers: panel title to a line of metrics below it.
        reference: title of the panel whose forgotten pairs are outlined, if it is there.
    """
    columns = min(columns or (3 if len(scores) < 10 else 4), len(scores))
    rows = -(-len(scores) // columns)
    drawing = Figure(figsize=(max(4.0 * columns, 5.5), 2.5 * rows + 1.0), layout="constrained")
    panels = drawing.subplots(rows, columns, squeeze=False, sharex=True)
    bins = bin_edges(*limits_of(scores, (reference, "original")), 60)
    outlined = scores.get(reference, {}).get("forget", np.empty(0))
    for panel, (name, sets) in zip(panels.flat, scores.items()):
        there = {legend: sets[key] for key, (legend, _) in SETS.items() if len(sets[key])}
        means = {legend: np.mean(values) for legend, values in there.items()}
        densities = {legend: densities_of(values, bins, clipped=False) for legend, values in there.items()}
        draw_densities(panel, "", bins, densities, means)
        if len(outlined):
            outline = densities_of(outlined, bins, clipped=False)
            panel.stairs(outline, bins, color="black", linewidth=0.8, label=FORGOTTEN_OF_RETRAIN)
        panel.set_xlim(bins[0], bins[-1])
        _mark_clipped(panel, there, bins)
        below = (numbers or {}).get(name, "")
        panel.annotate(name, (0, 1), (0, 15 if below else 4), **_ABOVE, fontsize=10, fontweight="bold")
        panel.annotate(below, (0, 1), (0, 4), **_ABOVE, fontsize=8.5)
    _label_axes(panels, len(scores))
    panels[0, 0].plot([], [], "--", color="#555555", linewidth=1, label="mean")
    panels[0, 0].plot([], [], " ", label="\u25c2 n, n \u25b8: scores beyond the axis")
    handles, legends = panels[0, 0].get_legend_handles_labels()
    drawing.legend(
        handles, legends, loc="outside lower center", ncols=6 if columns > 2 else 2, fontsize=9, frameon=False
    )
    drawing.suptitle(title, fontsize=11, x=0.01, ha="left")
    save_drawing(drawing, path)


_ABOVE: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}


def limits_of(scores: Mapping[str, Mapping[str, np.ndarray]], names: Sequence[str]) -> tuple[float, float]:
    """The ends of a common axis: from the .5 % to the 99.5 % quantile of each set of scores.

    One model with scores far away must not make all the others narrow. Therefore the named models give the range, and
    the others widen it on either side by ``ROOM`` of it at most.

    Args:
        scores: as for :func:`score_distributions`.
        names: of models; all give the range if none of these is there.
    """
    of_model = {
        name: np.array([np.quantile(sets[key], [0.005, 0.995]) for key in SETS if len(sets[key])])
        for name, sets in scores.items()
    }
    ends = np.concatenate([of for of in of_model.values() if len(of)])
    named = [of_model[name] for name in names if len(of_model.get(name, ()))]
    core = np.concatenate(named) if named else ends
    room = ROOM * (core.max() - core.min())
    return float(max(ends.min(), core.min() - room)), float(min(ends.max(), core.max() + room))


def _mark_clipped(panel, sets, edges):
    """Write at either end of the axis how many scores of each set lie beyond it."""
    colours = dict(SETS.values())
    below = {legend: int((values < edges[0]).sum()) for legend, values in sets.items()}
    above = {legend: int((values > edges[-1]).sum()) for legend, values in sets.items()}
    for side, (counts, form, align) in enumerate(((below, "\u25c2 {:,}", "left"), (above, "{:,} \u25b8", "right"))):
        for line, legend in enumerate(legend for legend in counts if counts[legend]):
            place = (3 - 6 * side, -10 - 9 * line)
            colour, text = colours[legend], form.format(counts[legend])
            panel.annotate(text, (side, 1), place, **_ABOVE, ha=align, fontsize=7, color=colour)


def _label_axes(panels, n):
    """Axis labels at the outer panels; no axes beyond the first ``n`` panels."""
    columns = panels.shape[1]
    for number, panel in enumerate(panels.flat):
        if number < n <= number + columns:  # the lowest panel of its column
            panel.set_xlabel("score")
            panel.tick_params(labelbottom=True)
    for panel in panels[:, 0]:
        panel.set_ylabel("density")
    for panel in panels.flat[n:]:
        panel.set_axis_off()


def bin_edges(lowest: float, highest: float, n_bins: int) -> np.ndarray:
    """Edges of equally wide bins, shape ``(n_bins + 1,)``: their width is above 0 even if all scores are equal."""
    return np.linspace(lowest, max(highest, lowest + 1e-6), n_bins + 1)


def densities_of(values: np.ndarray, edges: np.ndarray, clipped: bool = True) -> np.ndarray:
    """The density of scores in each bin, zero if there are no scores.

    Args:
        values: scores.
        edges: of the ``B`` bins, shape ``(B + 1,)``.
        clipped: whether the last bins count the scores beyond the edges, too.
    """
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]) if clipped else values, edges)
    return counts / (max(len(values), 1) * np.diff(edges))


def draw_densities(
    panel: Axes, title: str, edges: np.ndarray, densities: Mapping[str, ArrayLike], means: Mapping[str, float]
) -> None:
    """Draw the densities of several sets of scores into a panel, means dashed.

    Args:
        panel: to draw into.
        title: above it.
        edges: of the ``B`` bins, shape ``(B + 1,)``.
        densities: the legend of a set (see ``SETS``) to its density in each bin, shape ``(B,)``.
        means: the legend of a set to its mean score.
    """
    colours = dict(SETS.values())
    for legend, values in densities.items():
        panel.stairs(values, edges, fill=True, alpha=0.25, color=colours[legend])
        panel.stairs(values, edges, color=colours[legend], label=legend)
        panel.axvline(means[legend], color=colours[legend], linestyle="--", linewidth=1)
    if title:
        panel.set_title(title, fontsize=10)
    panel.set_yticks([])


TRIALS = {  # name of a set of trials: marker, colour and size
    "trials": ("o", "#999999", 22),
    "Pareto front": ("o", "#0072b2", 34),
    "as given": ("s", "#009e73", 60),
    "best": ("*", "#d55e00", 150),
}


def pareto_front(
    points: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    retrain: float,
    limit: float,
    utility: str,
    path: str | PathLike,
) -> None:
    """Draw trials by their distance from Retrain's forgetting and by their ranking.

    Args:
        points: name of a set of trials (a key of ``TRIALS``) to its gaps and rankings, two lists.
        retrain: Retrain's ranking.
        limit: the share of Retrain's ranking that the objective asks for.
        utility: name of the ranking metric.
        path: PNG or SVG to write.
    """
    drawing = Figure(figsize=(6.4, 4.4), layout="constrained")
    panel = drawing.subplots()
    panel.axhline(retrain, color="black", linewidth=1, label="Retrain")
    panel.axhline(limit * retrain, color="black", linewidth=1, linestyle=":", label=f"{limit:g} of Retrain's")
    front = points["Pareto front"]
    panel.step(*front, where="post", color=TRIALS["Pareto front"][1], linewidth=1)
    for name, (marker, colour, size) in TRIALS.items():
        panel.scatter(*points[name], marker=marker, color=colour, s=size, label=name, zorder=2)
    panel.set_xlim(left=0)
    panel.set_xlabel("forgetting gap to Retrain (0: forgets like Retrain)")
    panel.set_ylabel(f"{utility} on validation data")
    panel.legend(fontsize=8, frameon=False)
    save_drawing(drawing, path)
