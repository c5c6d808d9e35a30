"""The trials of a sweep: their records, which survive a kill, and the best of them."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_unlearn.config import Config
from recbole_unlearn.digest import digest
from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.report.files import save_json
from recbole_unlearn.report.software import software_versions
from recbole_unlearn.sweep.space import SearchRange
from recbole_unlearn.task import UnlearningData

MEASURES = ("objective", "gap", "utility", "online_seconds", "MI-BF", "MI-NG", "AUC_FN", "AUC_FT")
AS_GIVEN = {}  # the point that changes nothing
DONE, STOPPED, FAILED = "done", "stopped", "failed"


@dataclass(frozen=True)
class Goal:
    """The number that a sweep optimises.

    Args:
        metric: its name in a trial's result.
        mode: ``min`` or ``max``.
    """

    metric: str
    mode: str

    @classmethod
    def of(cls, config: Config, metric: str = "objective", mode: str | None = None) -> "Goal":
        """Make the user's goal.

        Raises:
            UsageError: there is no such metric, or ``mode`` is missing or wrong.
        """
        ranking = [
            f"{name.lower()}@{k}" for name in config["metrics"] for k in config["topk"] if name.upper() not in MEASURES
        ]
        if metric not in (*MEASURES, *ranking):
            raise unknown("metric to tune", metric, (*MEASURES, *ranking))
        less_is_better = metric in ("objective", "gap")
        mode = mode or ("min" if less_is_better else None)
        if mode not in ("min", "max"):
            raise UsageError(f"--tune_metric={metric} needs --tune_mode=min or max, not {mode or 'nothing'}.")
        if less_is_better and mode == "max":
            raise UsageError(f"--tune_mode=max would search for the worst {metric}; use min.")
        return cls(metric, mode)

    def order(self, trial: Mapping[str, Any]) -> tuple[int, float]:
        """A key to sort records by: best first, then those stopped early, then those that failed."""
        value = trial["result"].get(self.metric, 0.0)
        return (DONE, STOPPED, FAILED).index(trial["status"]), value if self.mode == "min" else -value


def record(
    point: Mapping[str, Any], status: str, result: Mapping[str, Any] | None = None, **why: str
) -> dict[str, Any]:
    """One trial as plain data.

    Args:
        point: the settings tried.
        status: ``done``, ``stopped`` by the scheduler, or ``failed``.
        result: the last of :func:`~recbole_unlearn.sweep.simulation.measure`.
        why: the ``error`` of a failed trial, or what stopped a trial early (``by``).
    """
    return {"point": point, "status": status, "result": result or {}, **why}


class Trials:
    """Records of trials, one file each, whole or absent, so that a killed sweep repeats no trial that ended.

    Args:
        folder: of the sweep.
        stopper: what stops trials early; a trial that another stopper stopped has not ended.
    """

    def __init__(self, folder: str, stopper: str = ""):
        self.folder, self.stopper = os.path.join(folder, "trials"), stopper

    def begin(self, resume: bool) -> None:
        """Make the folder.

        Raises:
            UsageError: the folder has trials already, and ``resume`` is false.
        """
        if self.all() and not resume:
            raise UsageError(
                f"This sweep has {len(self.all())} trials in {os.path.dirname(self.folder)}: "
                "add --resume to go on with it, or delete that folder."
            )
        if resume and not self.all():
            getLogger().warning(f"Nothing to resume: no trial of these settings, space, data and code in {self.folder}")
        os.makedirs(self.folder, exist_ok=True)

    def all(self) -> list[dict[str, Any]]:
        """All records."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(self.folder).glob("[!.]*.json"))]

    def ended(self) -> list[dict[str, Any]]:
        """Records of trials that a sweep need not repeat: those that are done or that the same stopper stopped."""
        return [trial for trial in self.all() if trial["status"] == DONE or trial.get("by") == self.stopper]

    def without_ended(self, points: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The points that no ended trial has tried."""
        ended = [trial["point"] for trial in self.ended()]
        return [point for point in points if point not in ended]

    def add(self, trial: Mapping[str, Any]) -> None:
        """Write one record; it replaces an earlier one of the same point."""
        name = digest(json.dumps(trial["point"], sort_keys=True))
        save_json(os.path.join(self.folder, f"{name}.json"), trial)


def sweep_folder(
    config: Config,
    storage_path: str | None,
    settings: Sequence[dict[str, Any]],
    data: Sequence[UnlearningData],
    space: Mapping[str, SearchRange],
) -> str:
    """The folder of a sweep; other settings, spaces, data or code have another folder.

    Args:
        config: of the actual run.
        storage_path: the folder of all sweeps; default ``sweep`` under ``checkpoint_dir``.
        settings, data: of the simulated requests.
        space: of :func:`~recbole_unlearn.sweep.space.read_space`.
    """
    simulated = [Config(stored=each) for each in settings]
    graphs = [graph for each in data for graph in (each.graph, each.remaining_graph, each.valid, each.test)]
    edges = [side for graph in graphs for side in (graph.users, graph.items)]
    values = [(key, values.kind, values.values) for key, values in space.items()]
    code = software_versions(simulated[0]["device"])["code"]
    content = digest([each.results_settings() for each in simulated], values, code, *edges)
    storage = os.path.abspath(storage_path or os.path.join(config["checkpoint_dir"], "sweep"))
    return os.path.join(storage, f"{config['model']}-{config['dataset']}-{config['forget_type']}-{content}")


def best_of(trials: Sequence[dict[str, Any]], goal: Goal) -> dict[str, Any]:
    """The best of the trials that came to their end.

    Raises:
        UsageError: no trial came to its end.
    """
    best = min(trials, key=goal.order, default=None)
    if best is None or best["status"] != DONE:
        errors = [trial["error"] for trial in trials if "error" in trial]
        raise UsageError(
            f"None of {len(trials)} trials succeeded; one ended with: {errors[0] if errors else 'no result'}"
        )
    return best


def pareto_front(trials: Iterable[dict[str, Any]], utility: str) -> list[dict[str, Any]]:
    """The trials that no other trial beats in both the gap (less is better) and a ranking metric (more is better).

    Args:
        trials: records.
        utility: name of the ranking metric, e.g. ``ndcg@20``.

    Returns:
        Records of trials that came to their end, by ascending gap.
    """
    done = [trial for trial in trials if trial["status"] == DONE]
    front = []
    for trial in sorted(done, key=lambda trial: (trial["result"]["gap"], -trial["result"][utility])):
        if not front or trial["result"][utility] > front[-1]["result"][utility]:
            front.append(trial)
    return front
