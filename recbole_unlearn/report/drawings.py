"""Which of a report's numbers its figures show."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from recbole_unlearn.method import METHODS
from recbole_unlearn.report import audit_figure, figure, gap_figure
from recbole_unlearn.report.tables import headline, label

Arrays = Mapping[str, Mapping[str, np.ndarray]]  # of each row, by its label


def draw_scores(result: Mapping[str, Any], arrays: Arrays, path: str | PathLike) -> None:
    """Draw the score distributions of a report's rows, always in the same order.

    Args:
        result: the report.
        arrays: of each row, by its label.
        path: PNG or SVG to write.
    """
    rows = [row for row in in_order(result["results"]) if label(row) in arrays]
    retrain = next((row for row in rows if label(row) == "Retrain"), {})
    numbers = {label(row): _numbers(row, retrain) for row in rows}
    figure.score_distributions({label(row): arrays[label(row)] for row in rows}, path, None, headline(result), numbers)


def draw_run(result: Mapping[str, Any], path: str | PathLike) -> None:
    """Draw the gaps of a report's rows to Retrain; arguments as for :func:`draw_scores`."""
    gaps, key = in_order(result["gaps"]), ranking_key(result["gaps"][0])
    in_floors = any("MI-BF_gap_floors" in gap for gap in gaps)
    rows = gap_figure.rows_of_run(gaps, key)
    several = sum(gap["method"] == "Retrain" for gap in gaps) > 1
    lines = ("lines: over the largest to the smallest floor" if several else "", "lines: 95 % intervals over users")
    gap_figure.draw_gaps(rows, path, headline(result), key.removesuffix("_ratio"), in_floors, lines)


def draw_summary(summary: Mapping[str, Any], path: str | PathLike) -> None:
    """Draw the gaps to Retrain of several seeds.

    Args:
        summary: of :func:`~recbole_unlearn.evaluator.comparison.summarise`.
        path: PNG or SVG to write.
    """
    results = in_order(summary["results"])
    key = ranking_key(results[0])
    title = f"{summary['model']} on {summary['dataset']}, {summary['forget']} request, seeds " + ", ".join(
        map(str, summary["seeds"])
    )
    in_floors = any("MI-BF_gap_floors" in row for row in results)
    rows = gap_figure.rows_of_seeds(results, key)
    few = all("values" in row["MI-BF"] for row in results)
    line = "lines: 95 % intervals" + "; ticks: seeds" * few
    gap_figure.draw_gaps(rows, path, title, key.removesuffix("_ratio"), in_floors, (line, line))


def draw_attack(result: Mapping[str, Any], arrays: Arrays, path: str | PathLike) -> None:
    """Draw the ROC of an audit on each row; arguments as for :func:`draw_scores`."""
    rows = [row for row in in_order(result["results"]) if "roc_forgotten" in arrays.get(label(row), {})]
    legends = {
        label(row): f"{label(row)}: {row['audit_forgotten_auc']:.3f}, {row['audit_forgotten_tpr']:.3f}" for row in rows
    }
    audit_figure.draw_audit({name: arrays[name] for name in legends}, path, headline(result), legends)


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as figures show them: the original, Retrain, Retrain again, then the methods in the registry's order."""
    order = ["original", "Retrain", *(name for name in METHODS if name != "Retrain")]
    return sorted(rows, key=lambda row: (order.index(row["method"]), row["method"] == "Retrain" and row["stage"] != ""))


def ranking_key(numbers: dict[str, Any]) -> str:
    """The key of the last ranking metric's ratio to Retrain's, e.g. ``ndcg@20_ratio``; empty without one."""
    return next((key for key in reversed(numbers) if key.endswith("_ratio")), "")


def _numbers(row, retrain):
    """The line of a panel, e.g. ``MI-BF 2.64   AUC_FN 0.24   ndcg@20 0.99 x Retrain's``."""
    flat = " (flat)" * any("flat scores" in remark for remark in row.get("remarks", ()))
    text = f"MI-BF {row['MI-BF']:.2f}{flat}   AUC_FN {row['AUC_FN']:.2f}"
    metric = next((key for key in reversed(row) if "@" in key), None)
    if metric is None:
        return text
    if not retrain.get(metric) or row is retrain:
        return f"{text}   {metric} {row[metric]:.3f}"
    return f"{text}   {metric} {row[metric] / retrain[metric]:.3f} x Retrain's"
