"""The figure of gaps: how far each row ends from Retrain, in multiples of the noise floor, and how well it ranks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from matplotlib.figure import Figure

from recbole_unlearn.report.picture import save_drawing
from recbole_unlearn.report.tables import label

GAPS = {  # key of a gap: legend, colour and marker; colour-blind people can distinguish the colours
    "MI-BF_gap": ("MI-BF", "#d55e00", "o"),
    "MI-NG_gap": ("MI-NG", "#e69f00", "s"),
    "AUC_FN_gap": ("AUC_FN", "#0072b2", "^"),
    "AUC_FT_gap": ("AUC_FT", "#009e73", "D"),
}
LEAST = 0.1  # of a floor: nearer points are drawn here
SPREAD = 0.17  # of a row's height, between its points


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Args:
        value: the number; nan if there is none.
        low, high: its interval; nan without one.
        values: of single seeds.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    values: Sequence[float] = ()


@dataclass(frozen=True)
class Row:
    """A line of the figure.

    Args:
        name: of the method and its stage.
        gaps: keys of ``GAPS`` to distances.
        ratio: the ranking metric over Retrain's.
    """

    name: str
    gaps: dict[str, Estimate] = field(default_factory=dict)
    ratio: Estimate = Estimate(math.nan)


def rows_of_run(gaps: Sequence[Mapping[str, Any]], metric: str) -> list[Row]:
    """Lines of one run. With several floor runs, a gap's interval is the gap over the largest and the smallest floor.

    Args:
        gaps: of a report.
        metric: key of the ranking ratio.
    """
    floors = {key: [gap[key] for gap in gaps if gap["method"] == "Retrain" and gap[key] > 0] for key in GAPS}
    rows = []
    for gap in gaps:
        distances = {}
        for key, of_key in floors.items():
            several = len(of_key) > 1
            ends = (gap[key] / max(of_key), gap[key] / min(of_key)) if several else (math.nan, math.nan)
            distances[key] = Estimate(gap.get(f"{key}_floors", gap[key]), *ends)
        ends = (gap.get(f"{metric}_low", math.nan), gap.get(f"{metric}_high", math.nan))
        rows.append(Row(label(gap), distances, Estimate(gap.get(metric, math.nan), *ends)))
    return rows


def rows_of_seeds(results: Sequence[Mapping[str, Any]], metric: str) -> list[Row]:
    """Lines of several seeds, with 95 % intervals over them.

    Args:
        results: rows of :func:`~recbole_unlearn.evaluator.comparison.summarise`.
        metric: key of the ranking ratio.
    """
    compared = [row for row in results if row["AUC_FN_gap"]["mean"] is not None]
    return [
        Row(
            label(row),
            {key: _of_seeds(row.get(f"{key}_floors", row[key])) for key in GAPS},
            _of_seeds(row[metric]) if metric else Estimate(math.nan),
        )
        for row in compared
    ]


def _of_seeds(numbers):
    mean, low, high = (math.nan if numbers[key] is None else numbers[key] for key in ("mean", "low", "high"))
    return Estimate(mean, low, high, numbers.get("values", ()))


def draw_gaps(
    rows: Sequence[Row],
    path: str | PathLike,
    title: str,
    metric: str,
    in_floors: bool,
    lines: tuple[str, str] = ("", ""),
) -> None:
    """Draw a line of dots for each row: its gaps to Retrain on a logarithmic axis, and its ranking beside them.

    Args:
        rows: at least one.
        path: PNG or SVG to write.
        title: above both panels.
        metric: heading of the ranking ratio.
        in_floors: whether gaps are multiples of the floor; else they are distances, and there is no band.
        lines: what the intervals of gaps, and those of the ranking, are.
    """
    drawing = Figure(figsize=(10.5, 1.9 + 0.44 * len(rows)), layout="constrained")
    distances, ranking = drawing.subplots(1, 2, sharey=True, width_ratios=[2.4, 1])
    _draw_distances(distances, rows, in_floors)
    ranking.axvline(1, color="black", linewidth=1)
    for line, row in enumerate(rows):
        _draw_estimate(ranking, row.ratio, line, "black", "o")
    ranking.set_xlabel(f"{metric} over Retrain's\n{lines[1]}".strip())
    distances.set_xlabel(f"{distances.get_xlabel()}\n{lines[0]}".strip())
    ranking.tick_params(axis="y", length=0)
    for panel in (distances, ranking):
        for line in range(1, len(rows), 2):
            panel.axhspan(line - 0.5, line + 0.5, color="black", alpha=0.03, linewidth=0)
        panel.grid(axis="x", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
    distances.set_yticks(range(len(rows)), [row.name for row in rows])
    distances.set_ylim(len(rows) - 0.5, -0.5)
    handles, legends = distances.get_legend_handles_labels()
    drawing.legend(handles, legends, loc="outside lower center", ncols=6, fontsize=9, frameon=False)
    drawing.suptitle(title, fontsize=11, x=0.01, ha="left")
    save_drawing(drawing, path)


def _draw_distances(panel, rows, in_floors):
    values = [row.gaps[key].value for row in rows for key in GAPS if 0 < row.gaps[key].value < math.inf]
    least = LEAST if in_floors else 10 ** math.floor(math.log10(min(values, default=0.1)))
    most = max([*values, 10 * least]) * 1.4
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.set_xlim(least * 0.85, most * 1.2)
    if in_floors:
        panel.axvspan(least * 0.85, 1, color="#56b4e9", alpha=0.18, linewidth=0, label="within one floor: noise")
        panel.set_xlabel("gap to Retrain, in floors (1: as far as a second Retrain)")
    else:
        panel.set_xlabel("gap to Retrain (without a second Retrain nobody knows the noise)")
    if any(value < least for value in values):
        panel.plot([], [], "<", color="#555555", label=f"below {least:g}")
    for place, (key, (legend, colour, marker)) in enumerate(GAPS.items()):
        panel.plot([], [], marker, color=colour, label=legend)
        for line, row in enumerate(rows):
            _draw_estimate(panel, row.gaps[key], line + SPREAD * (place - 1.5), colour, marker, (least, most))


def _draw_estimate(panel, estimate, height, colour, marker, ends=(-math.inf, math.inf)):
    """A dot with its interval and the ticks of single seeds; what lies beyond the ends is drawn there as an arrow."""
    if math.isnan(estimate.value):
        return
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        interval = [max(limit, ends[0]) for limit in (estimate.low, estimate.high)]
        panel.plot(interval, [height] * 2, color=colour, linewidth=1.2)
    seeds = [min(max(value, ends[0]), ends[1]) for value in estimate.values if value is not None]
    panel.plot(seeds, [height] * len(seeds), "|", color=colour, markersize=7)
    drawn = min(max(estimate.value, ends[0]), ends[1])
    shape = marker if drawn == estimate.value else "<" if drawn > estimate.value else ">"
    panel.plot(drawn, height, shape, color=colour, markersize=5.5, zorder=3)
