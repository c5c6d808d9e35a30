"""The histograms of scores that a receipt keeps, and their picture."""

import base64
import functools
import io
import json
import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter1d

from recbole_unlearn.report.figure import SETS, bin_edges, densities_of, draw_densities

FEWEST_PAIRS = 20  # a histogram of fewer pairs would come close to single scores
BINS, SMOOTHED, DIGITS = 40, 1.5, 2  # of a histogram; standard deviation in bins; digits of the largest density


def score_histograms(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """Histograms of scores, smoothed and rounded so that nobody can read off a number of pairs.

    Args:
        before, after: scores of a model, an array for each key of :data:`~recbole_unlearn.report.figure.SETS`.

    Returns:
        ``edges`` of the bins, and under ``before`` and ``after`` the densities in them (zero where a set is
        empty) under the legends of ``SETS``; None if fewer than 20 pairs were forgotten.
    """
    if len(before["forget"]) < FEWEST_PAIRS:
        return None
    everything = np.concatenate([np.asarray(values) for scores in (before, after) for values in scores.values()])
    lowest, highest = np.quantile(everything, [0.001, 0.999])
    edges = bin_edges(lowest, highest, BINS)

    def smoothed(values):
        smooth = gaussian_filter1d(densities_of(values, edges), SMOOTHED, mode="reflect")
        return np.round(smooth, DIGITS - 1 - math.floor(math.log10(smooth.max())) if len(values) else DIGITS).tolist()

    both = {"before": before, "after": after}
    kept = {name: {legend: smoothed(scores[key]) for key, (legend, _) in SETS.items()} for name, scores in both.items()}
    return {"edges": edges.tolist(), **kept}


@functools.lru_cache(maxsize=1)  # requests that were applied together share their scores
def drawn_as_png(text: str) -> dict[str, str]:
    """Draw histograms.

    Args:
        text: JSON of :func:`score_histograms`.

    Returns:
        ``alt``, the figure in words, and ``source``, the PNG in base64.
    """
    scores = json.loads(text)
    drawing, edges, said = Figure(figsize=(6.4, 4.6)), np.array(scores["edges"]), []
    drawing.subplots_adjust(left=0.06, right=0.98, bottom=0.1, top=0.93, hspace=0.2)  # a layout engine takes longer
    centres = (edges[1:] + edges[:-1]) / 2
    for panel, stage in zip(drawing.subplots(2, 1, sharex=True), ("before", "after")):
        there = {legend: heights for legend, heights in scores[stage].items() if any(heights)}
        means = {legend: float(np.average(centres, weights=heights)) for legend, heights in there.items()}
        draw_densities(panel, stage, edges, there, means)
        panel.set_ylabel("density")
        said += [f"{legend} {stage} {mean:.3g}" for legend, mean in means.items()]
    drawing.axes[0].legend(fontsize=8, frameon=False)
    drawing.axes[1].set_xlabel("score")
    image = io.BytesIO()
    drawing.savefig(image, dpi=150, format="png")
    alt = f"Histograms of the model's scores before and after. Means: {', '.join(said)}."
    return {"alt": alt, "source": base64.b64encode(image.getvalue()).decode()}
