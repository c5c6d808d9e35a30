"""The trials of a sweep: their goal, and their records, which survive a kill."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_unlearn.config import Config
from recbole_unlearn.digest import digest
from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.report.files import save_json
from recbole_unlearn.report.software import software_versions
from recbole_unlearn.sweep.space import Space
from recbole_unlearn.task import UnlearningData

MEASURES = ("objective", "gap", "utility", "online_seconds", "MI-BF", "MI-NG", "AUC_FN", "AUC_FT")
AS_GIVEN: dict[str, Any] = {}  # the point that changes nothing
DONE, STOPPED, FAILED = "done", "stopped", "failed"

Record = dict[str, Any]  # `point` (the settings tried), `status`, `result`, and `error` or what stopped it (`by`)


@dataclass(frozen=True)
class Goal:
    """The number that a sweep optimises: its name in a trial's result, and ``min`` or ``max``."""

    metric: str
    mode: str

    @classmethod
    def of(cls, config: Config, metric: str = "objective", mode: str | None = None) -> "Goal":
        """Make the user's goal.

        Raises:
            UsageError: there is no such metric, or ``mode`` is missing or wrong.
        """
        own = [name for name in config["metrics"] if name.upper() not in MEASURES]
        metrics = (*MEASURES, *(f"{name.lower()}@{k}" for name in own for k in config["topk"]))
        if metric not in metrics:
            raise unknown("metric to tune", metric, metrics)
        less_is_better = metric in ("objective", "gap")
        mode = mode or ("min" if less_is_better else None)
        if mode not in ("min", "max"):
            raise UsageError(f"--tune_metric={metric} needs --tune_mode=min or max, not {mode or 'nothing'}.")
        if less_is_better and mode == "max":
            raise UsageError(f"--tune_mode=max would search for the worst {metric}; use min.")
        return cls(metric, mode)

    def order(self, trial: Record) -> tuple[int, float]:
        """A key to sort records by: best first, then those stopped early, then those that failed."""
        value = trial["result"].get(self.metric, 0.0)
        return (DONE, STOPPED, FAILED).index(trial["status"]), value if self.mode == "min" else -value


def record(point: Mapping[str, Any], status: str, result: Mapping[str, Any] | None = None, **why: str) -> Record:
    """One trial as plain data."""
    return {"point": point, "status": status, "result": result or {}, **why}


class Trials:
    """Records of trials, one file each, whole or absent, so that a killed sweep repeats no trial that ended.

    Ray's ``Tuner.restore`` does less: it adds no samples to a sweep, and changes neither search nor scheduler.

    Args:
        folder: of the sweep.
        stopper: what stops trials early; a trial that another stopper stopped has not ended.
    """

    def __init__(self, folder: str, stopper: str = ""):
        self.folder, self.stopper = os.path.join(folder, "trials"), stopper

    def begin(self, resume: bool) -> None:
        """Make the folder, or refuse one that has trials already, unless the sweep goes on."""
        n_trials = len(self.all())
        if n_trials and not resume:
            raise UsageError(
                f"This sweep has {n_trials} trials in {os.path.dirname(self.folder)}: "
                "add --resume to go on with it, or delete that folder."
            )
        if resume and not n_trials:
            getLogger().warning(f"Nothing to resume: no trial of these settings, space, data and code in {self.folder}")
        os.makedirs(self.folder, exist_ok=True)

    def add(self, trial: Record) -> None:
        """Write one record; it replaces an earlier one of the same point."""
        name = digest(json.dumps(trial["point"], sort_keys=True))
        save_json(os.path.join(self.folder, f"{name}.json"), trial)

    def all(self) -> list[Record]:
        """All records."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(self.folder).glob("[!.]*.json"))]

    def ended(self) -> list[Record]:
        """Records of trials that need no repetition: those that are done or that the same stopper stopped."""
        return [trial for trial in self.all() if trial["status"] == DONE or trial.get("by") == self.stopper]


def sweep_folder(
    config: Config, storage_path: str | None, settings: list[dict], data: list[UnlearningData], space: Space
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
    samplers = {key: domain.get_sampler() for key, domain in space.items()}
    values = [
        (key, space[key].domain_str, type(sampler).__qualname__, getattr(sampler, "q", None))
        for key, sampler in samplers.items()
    ]
    code = software_versions(simulated[0])["code"]
    content = digest([each.results_settings() for each in simulated], values, code, *edges)
    storage = os.path.abspath(storage_path or os.path.join(config["checkpoint_dir"], "sweep"))
    return os.path.join(storage, f"{config['model']}-{config['dataset']}-{config['forget_type']}-{content}")
