"""Comparison of a report's rows with Retrain's, and of the reports of several seeds."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

RETRAIN = "Retrain"
LABELS = ["method", "stage"]


def gaps_to_retrain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The distance of each row from Retrain's, the target of unlearning: forgetting neither less nor more.

    Args:
        rows: a report's rows.

    Returns:
        A row for each that has metrics, except ``original`` and Retrain; empty without Retrain. Keys:
        ``MI-BF_gap`` and ``MI-NG_gap`` (``|ln m - ln m_R|``), ``AUC_FN_gap`` and ``AUC_FT_gap`` (absolute difference),
        ``<metric>_ratio`` for each ranking metric, ``speed_up`` (Retrain's online seconds over the row's) and
        ``break_even`` (requests after which the offline seconds are earned back; ``None`` if never).
    """
    retrain = next((row for row in rows if row["method"] == RETRAIN), None)
    if retrain is None:
        return []
    return [_gap(row, retrain) for row in rows if row["method"] not in ("original", RETRAIN) and "MI-BF" in row]


def membership_gaps(metrics: Mapping[str, Any], retrain: Mapping[str, Any]) -> dict[str, float]:
    """Distances of the forgetting metrics from Retrain's: :func:`gaps_to_retrain`'s ``MI-BF_gap`` to ``AUC_FT_gap``."""
    gaps = {}
    for metric in ("MI-BF", "MI-NG"):
        positive = metrics[metric] > 0 and retrain[metric] > 0
        gaps[f"{metric}_gap"] = abs(math.log(metrics[metric] / retrain[metric])) if positive else math.nan
    for metric in ("AUC_FN", "AUC_FT"):
        gaps[f"{metric}_gap"] = abs(metrics[metric] - retrain[metric])
    return gaps


def _gap(row, retrain):
    gap = {**{label: row[label] for label in LABELS}, **membership_gaps(row, retrain)}
    for metric in (key for key in row if "@" in key):
        gap[f"{metric}_ratio"] = row[metric] / retrain[metric] if retrain[metric] else math.nan
    saved = retrain["online_seconds"] - row["online_seconds"]
    gap["speed_up"] = retrain["online_seconds"] / row["online_seconds"] if row["online_seconds"] else math.nan
    gap["break_even"] = row["offline_seconds"] / saved if saved > 0 else None
    return gap


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the reports of several seeds.

    Args:
        results: reports that differ only in their seed.

    Returns:
        ``model``, ``dataset``, ``forget``, ``seeds`` and ``results``: rows with ``n`` (seeds that gave a result) and,
        for each number of a row and of its gaps, ``{"mean": ..., "sd": ...}`` over those (sample standard deviation,
        ``None`` for one value). ``break_even`` is ``None`` if any seed never breaks even.
    """
    frames = []
    for result in results:
        frame = pd.DataFrame([_numbers(row) for row in result["results"]])
        gaps = pd.DataFrame([_numbers(row) for row in result["gaps"]])
        frames.append(frame.merge(gaps, on=LABELS, how="left") if len(gaps) else frame)
    together = pd.concat(frames)
    rows = []
    for labels, group in together.groupby(LABELS, sort=False):
        numbers = group.drop(columns=LABELS).astype(float)
        if "MI-BF" in numbers:
            numbers = numbers[numbers["online_seconds"].notna()]
        means, deviations = numbers.mean(), numbers.std()
        if "break_even" in numbers and numbers["break_even"].isna().any():
            means["break_even"] = deviations["break_even"] = math.nan
        values = {key: {"mean": _known(means[key]), "sd": _known(deviations[key])} for key in numbers}
        rows.append({**dict(zip(LABELS, labels)), "n": len(numbers), **values})
    first = results[0]
    return {
        "model": first["model"],
        "dataset": first["dataset"],
        "forget": first["forget"]["type"],
        "seeds": [result["seed"] for result in results],
        "results": rows,
    }


def _numbers(row):
    return {key: value for key, value in row.items() if key in LABELS or isinstance(value, (int, float))}


def _known(value):
    return None if math.isnan(value) else float(value)
