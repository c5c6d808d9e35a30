"""Figures: score distributions, as in the paper's Fig. 2 and 3, and the trials of a sweep."""

from collections.abc import Mapping, Sequence
from os import PathLike

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

SETS = {  # name of a set of pairs: (legend, colour); colour-blind people can distinguish the colours
    "forget": ("forgotten", "#d55e00"),
    "negative": ("never interacted", "#999999"),
    "test": ("held-out positives", "#0072b2"),
}


def score_distributions(scores: Mapping[str, Mapping[str, np.ndarray]], path: str | PathLike, columns: int = 3) -> None:
    """Draw one panel per model: densities of the scores of forgotten, negative and positive pairs, means dashed.

    Args:
        scores: panel title to a dict from set name (a key of ``SETS``) to scores.
        path: PNG to write.
        columns: panels side by side at most.
    """
    columns = min(columns, len(scores))
    rows = -(-len(scores) // columns)
    drawing = Figure(figsize=(4.2 * columns, 3.0 * rows), layout="constrained")
    panels = drawing.subplots(rows, columns, squeeze=False, sharex=True)
    ends = np.array(
        [np.quantile(values, [0.005, 0.995]) for sets in scores.values() for values in sets.values() if len(values)]
    )
    bins = bin_edges(ends.min(), ends.max(), 80)  # the ends of each set: the forgotten are few
    for panel, (title, sets) in zip(panels.flat, scores.items()):
        there = {legend: sets[name] for name, (legend, _) in SETS.items() if len(sets[name])}
        densities = {legend: densities_of(values, bins) for legend, values in there.items()}
        draw_densities(panel, title, bins, densities, {legend: np.mean(values) for legend, values in there.items()})
    for number, panel in enumerate(panels.flat):
        if number < len(scores) <= number + columns:  # the lowest panel of its column
            panel.set_xlabel("score")
            panel.tick_params(labelbottom=True)
    for panel in panels[:, 0]:
        panel.set_ylabel("density")
    for panel in panels.flat[len(scores) :]:
        panel.set_axis_off()
    panels[0, 0].legend(fontsize=8, frameon=False)
    drawing.savefig(path, dpi=130, format="png")


def bin_edges(lowest: float, highest: float, n_bins: int) -> np.ndarray:
    """Edges of equally wide bins, shape ``(n_bins + 1,)``: their width is above 0 even if all scores are equal."""
    return np.linspace(lowest, max(highest, lowest + 1e-6), n_bins + 1)


def densities_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The density of scores in each bin, zero if there are no scores; those beyond the edges are in the last bins."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
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
        path: PNG to write.
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
    drawing.savefig(path, dpi=130, format="png")
