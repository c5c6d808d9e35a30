"""Comparison of a report's rows with Retrain's, and of the reports of several seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from recbole_unlearn.evaluator.groups import group_changes
from recbole_unlearn.evaluator.lists import jaccard, list_distance, rank_biased_overlap, recall_of_list
from recbole_unlearn.evaluator.metrics import ratio_interval, shares_beyond
from recbole_unlearn.streams import numpy_stream

RETRAIN = "Retrain"
LABELS = ["method", "stage"]
ROUNDING = 1e-6  # gaps up to it are none: two ways to one fit round otherwise, and a rank may hang on the last bit


@dataclass(frozen=True)
class Comparison:
    """Distances of a report's rows from Retrain's, the target of unlearning: forgetting neither less nor more.

    Args:
        rows: a report's rows.
        arrays: what the evaluator gave for each row, by the row's method and stage; rows may lack it.
        users: ids of the users of lists and of users' values, shape ``(U,)``.
        groups: of :func:`~recbole_unlearn.evaluator.groups.user_groups`.
        seed: of the resampling of users.
    """

    rows: list[dict[str, Any]]
    arrays: dict[tuple[str, str], dict[str, np.ndarray]] = field(default_factory=dict)
    users: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    seed: int = 0

    def gaps(self) -> list[dict[str, Any]]:
        """A row for each that has metrics, except ``original`` and Retrain itself; empty without Retrain's metrics.

        Returns:
            Rows with these keys. ``MI-BF_gap`` and ``MI-NG_gap`` (``|ln m - ln m_R|``), ``AUC_FN_gap`` and
            ``AUC_FT_gap`` (absolute difference), and each one's ``_floors``: :func:`in_floors` of the mean gap of the
            other Retrains. ``over_forgotten`` and ``under_forgotten``:
            :func:`~recbole_unlearn.evaluator.metrics.shares_beyond`. ``<metric>_ratio`` for each ranking metric, with
            ``_low`` and ``_high``, its interval over users. ``jaccard@K``, ``rbo@K`` and ``recall_of_list@K`` of the
            lists with Retrain's, and ``D``: :func:`~recbole_unlearn.evaluator.lists.list_distance`. ``speed_up``
            (Retrain's online seconds over the row's) and ``break_even`` (requests after which the offline seconds are
            earned back; ``None`` if never).
        """
        retrain = self._find(RETRAIN, "")
        if retrain is None or "MI-BF" not in retrain:
            return []
        compared = [row for row in self.rows if "MI-BF" in row and not self._is_reference(row)]
        gaps = [membership_gaps(row, retrain) for row in compared]
        again = [gap for row, gap in zip(compared, gaps) if row["method"] == RETRAIN]
        floors = {key: float(np.mean([gap[key] for gap in again])) for key in gaps[0]} if again else {}
        return [
            {
                **{name: row[name] for name in LABELS},
                **gap,
                **{f"{key}_floors": in_floors(gap[key], floor) for key, floor in floors.items()},
                **self._shares(row),
                **self._ratios(row, retrain),
                **self._lists(row),
                **_cost(row, retrain),
            }
            for row, gap in zip(compared, gaps)
        ]

    def of_groups(self) -> list[dict[str, Any]]:
        """The change of each ranking metric from Retrain in each group of users.

        Returns:
            Rows with ``method``, ``stage``, ``metric``, ``group``, ``n``, ``mean`` and ``se``; empty without Retrain.
        """
        reference = self._arrays(RETRAIN, "")
        rows = []
        for row in self.rows:
            arrays = self._arrays(row["method"], row["stage"])
            if self._is_reference(row) or not arrays or not reference:
                continue
            for metric in (name for name in arrays if _is_ranking(name) and name in reference):
                changes = group_changes(arrays[metric] - reference[metric], self.users, self.groups)
                names = {"method": row["method"], "stage": row["stage"], "metric": metric}
                rows += [{**names, "group": group, **change} for group, change in changes.items()]
        return rows

    def _find(self, method, stage):
        return next((row for row in self.rows if (row["method"], row["stage"]) == (method, stage)), None)

    def _arrays(self, method, stage):
        return self.arrays.get((method, stage), {})

    @staticmethod
    def _is_reference(row):
        return row["method"] == "original" or (row["method"], row["stage"]) == (RETRAIN, "")

    def _shares(self, row):
        """For a Retrain among several, the others; for every other row, all of them."""
        retrains = [
            arrays["forget"]
            for (method, stage), arrays in self.arrays.items()
            if method == RETRAIN and (method, stage) != (row["method"], row["stage"])
        ]
        own = self._arrays(row["method"], row["stage"])
        if not own or len(retrains) < 2:
            return {}
        below, above = shares_beyond(own["forget"], np.stack(retrains))
        return {"over_forgotten": below, "under_forgotten": above}

    def _ratios(self, row, retrain):
        ratios, own, reference = {}, self._arrays(row["method"], row["stage"]), self._arrays(RETRAIN, "")
        for metric in filter(_is_ranking, row):
            mine, theirs, of_users = row[metric], retrain[metric], metric in own and metric in reference
            if of_users:  # RecBole rounds their means
                mine, theirs = (values[metric].mean(dtype=float) for values in (own, reference))
            ratios[f"{metric}_ratio"] = float(mine / theirs) if theirs else math.nan
            if of_users:
                rng = numpy_stream(self.seed, "resampled users")  # the same users for every row and metric
                limits = ratio_interval(own[metric], reference[metric], rng)
                ratios[f"{metric}_ratio_low"], ratios[f"{metric}_ratio_high"] = limits
        return ratios

    def _lists(self, row):
        own, reference = (self._arrays(*names).get("lists") for names in ((row["method"], row["stage"]), (RETRAIN, "")))
        if own is None or reference is None or own.size == 0:
            return {}
        k, of_users = own.shape[1], jaccard(own, reference)
        agreement = {
            f"jaccard@{k}": float(of_users.mean()),
            f"rbo@{k}": float(rank_biased_overlap(own, reference).mean()),
            f"recall_of_list@{k}": float(recall_of_list(own, reference).mean()),
        }
        others = {names: jaccard(arrays["lists"], reference) for names, arrays in self.arrays.items()}
        again = [value for (method, stage), value in others.items() if method == RETRAIN and stage]
        if again and ("original", "") in others:
            agreement["D"] = list_distance(of_users, np.mean(again, axis=0), others["original", ""])
        return agreement


def membership_gaps(metrics: Mapping[str, Any], retrain: Mapping[str, Any]) -> dict[str, float]:
    """Distances of the forgetting metrics from Retrain's: :meth:`Comparison.gaps`'s ``MI-BF_gap`` to ``AUC_FT_gap``."""
    gaps = {}
    for metric in ("MI-BF", "MI-NG"):
        positive = metrics[metric] > 0 and retrain[metric] > 0
        gaps[f"{metric}_gap"] = abs(math.log(metrics[metric] / retrain[metric])) if positive else math.nan
    for metric in ("AUC_FN", "AUC_FT"):
        gaps[f"{metric}_gap"] = abs(metrics[metric] - retrain[metric])
    return gaps


def in_floors(gap: float, floor: float) -> float:
    """A gap as a multiple of the floor. Without a floor, as two fits of a model are equal, it is 0 or not a number.

    >>> in_floors(0.5, 0.25), in_floors(1e-12, 0.0), in_floors(0.3, 0.0)
    (2.0, 0.0, nan)
    """
    if floor > ROUNDING:
        return gap / floor
    return 0.0 if gap <= ROUNDING else math.nan


def _cost(row, retrain):
    saved = retrain["online_seconds"] - row["online_seconds"]
    return {
        "speed_up": retrain["online_seconds"] / row["online_seconds"] if row["online_seconds"] else math.nan,
        "break_even": row["offline_seconds"] / saved if saved > 0 else None,
    }


def _is_ranking(name):
    return "@" in name


FEW_SEEDS = 3  # of so few seeds a summary has every value: an interval says little


def summarise(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means and intervals over the reports of several seeds.

    A gap's ``_floors`` divides by the mean floor of all seeds, because the floor of one seed is one difference, which
    may be nearly zero by luck.

    Args:
        results: reports that differ only in their seed.

    Returns:
        ``model``, ``dataset``, ``forget``, ``seeds`` and ``results``: rows with ``n`` (seeds that gave a result) and,
        for each number of a row and of its gaps, a dict: ``mean``, ``sd`` (sample standard deviation), ``low`` and
        ``high`` (:func:`t_interval`), each ``None`` if unknown, and for up to three seeds ``values``, one a seed,
        ``None`` without a result. ``break_even`` has none of them if any seed never breaks even. ``not unlearned``: the
        names of rows, and the weights that stay as they were in one seed at least.
    """
    frames = []
    for result in results:
        frame = pd.DataFrame([_numbers(row) for row in result["results"]])
        gaps = pd.DataFrame([_numbers(row) for row in result["gaps"]])
        frames.append(frame.merge(gaps, on=LABELS, how="left") if len(gaps) else frame)
    seeds = [result["seed"] for result in results]
    together = _with_common_floors(pd.concat(frames, keys=seeds).droplevel(1))
    rows = []
    for labels, group in together.groupby(LABELS, sort=False):
        numbers = group.drop(columns=LABELS).astype(float)
        if "MI-BF" in numbers:
            numbers = numbers[numbers["online_seconds"].notna()]
        if "break_even" in numbers and numbers["break_even"].isna().any():
            numbers["break_even"] = math.nan
        values = {key: _statistics(numbers[key].reindex(seeds).to_numpy()) for key in numbers}
        rows.append({**dict(zip(LABELS, labels)), "n": len(numbers), **values})
    first = results[0]
    return {
        "model": first["model"],
        "dataset": first["dataset"],
        "forget": first["forget"]["type"],
        "seeds": seeds,
        "results": rows,
        "not unlearned": dict(sorted(set(_weights_left(results)))),
    }


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's interval for the mean of independent values, e.g. of several seeds.

    Args:
        values: shape ``(n,)``.
        level: coverage, if the values are normal.

    Returns:
        Lower and upper limit; nan for fewer than two values.

    >>> [round(limit, 3) for limit in t_interval(np.array([1.0, 2.0, 3.0]))]
    [-0.484, 4.484]
    """
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    half = float(student.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return float(values.mean()) - half, float(values.mean()) + half


def _weights_left(results):
    """Name of a row and weights that it says are not unlearned, in any seed."""
    for row in (row for result in results for row in result["results"]):
        if "not unlearned" in row.get("details", {}):
            yield f"{row['method']} {row['stage']}".strip(), row["details"]["not unlearned"]


def _with_common_floors(together):
    """Each gap's multiple of the mean floor of all seeds in the place of that of its own seed."""
    again = together[(together["method"] == RETRAIN) & (together["stage"] != "")]
    for key in (key for key in together if key.endswith("_gap") and f"{key}_floors" in together):
        floor = again[key].mean()
        together[f"{key}_floors"] = [in_floors(gap, floor) for gap in together[key]]
    return together


def _statistics(values):
    """Of one number, with nan for a seed that has none."""
    known = values[~np.isnan(values)]
    low, high = t_interval(known)
    mean = known.mean() if len(known) else math.nan
    deviation = known.std(ddof=1) if len(known) > 1 else math.nan
    numbers = {"mean": mean, "sd": deviation, "low": low, "high": high}
    return {
        **{name: _known(value) for name, value in numbers.items()},
        **({"values": [_known(value) for value in values]} if len(values) <= FEW_SEEDS else {}),
    }


def _numbers(row):
    return {key: value for key, value in row.items() if key in LABELS or isinstance(value, (int, float))}


def _known(value):
    return None if math.isnan(value) else float(value)
