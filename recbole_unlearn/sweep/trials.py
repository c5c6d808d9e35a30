"""The trials of a sweep: their records, which survive a kill, and which of them are best."""

import json
import os
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path

from recbole_unlearn.config import Config
from recbole_unlearn.digest import digest
from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.report.files import save_json
from recbole_unlearn.report.software import software_versions

MEASURES = ("objective", "gap", "utility", "online_seconds", "MI-BF", "MI-NG", "AUC_FN", "AUC_FT")
AS_GIVEN = {}  # the point that changes nothing
DONE, STOPPED, FAILED = "done", "stopped", "failed"


@dataclass(frozen=True)
class Goal:
    """What a sweep searches for.

    Args:
        metric (str): name in a trial's result.
        mode (str): ``min`` or ``max``.
    """

    metric: str
    mode: str

    @classmethod
    def of(cls, config, metric="objective", mode=None):
        """Check what the user asked for.

        Raises:
            UsageError: no such metric, or it is not said which end of it is the better one.
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

    def order(self, trial):
        """A key to sort records by: best first, then those stopped early, then those that failed."""
        value = trial["result"].get(self.metric, 0.0)
        return (DONE, STOPPED, FAILED).index(trial["status"]), value if self.mode == "min" else -value


def record(point, status, result=None, **why):
    """One trial as plain data.

    Args:
        point (dict): the settings tried.
        status (str): ``done``, ``stopped`` by the scheduler, or ``failed``.
        result (dict): the last of :func:`~recbole_unlearn.sweep.simulation.measure`.
        why (str): of a failed one, the ``error``; of a stopped one, what it was stopped ``by``.
    """
    return {"point": point, "status": status, "result": result or {}, **why}


class Trials:
    """Records of trials, a file each, whole or absent, so that a sweep that was killed repeats none that ended.

    Args:
        folder (str): of the sweep.
        stopper (str): what stops trials early; those that another one stopped have not ended.
    """

    def __init__(self, folder, stopper=""):
        self.folder, self.stopper = os.path.join(folder, "trials"), stopper

    def begin(self, resume):
        """Make the folder.

        Raises:
            UsageError: trials are there already and are not to be gone on with.
        """
        if self.all() and not resume:
            raise UsageError(
                f"This sweep has {len(self.all())} trials in {os.path.dirname(self.folder)}: "
                "add --resume to go on with it, or delete that folder."
            )
        if resume and not self.all():
            getLogger().warning(f"Nothing to resume: no trial of these settings, space, data and code in {self.folder}")
        os.makedirs(self.folder, exist_ok=True)

    def all(self):
        """All records."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(self.folder).glob("[!.]*.json"))]

    def ended(self):
        """Records of trials that need not be repeated: those that are done or were stopped by the same."""
        return [trial for trial in self.all() if trial["status"] == DONE or trial.get("by") == self.stopper]

    def without_ended(self, points):
        """Those of some points that are still to be tried."""
        ended = [trial["point"] for trial in self.ended()]
        return [point for point in points if point not in ended]

    def add(self, trial):
        """Write one record, in the place of an earlier one of the same point."""
        name = digest(json.dumps(trial["point"], sort_keys=True))
        save_json(os.path.join(self.folder, f"{name}.json"), trial)


def sweep_folder(config, storage_path, settings, data, space):
    """Where a sweep goes: another folder if settings, space, data or code are others.

    Args:
        config (Config): of the actual run.
        storage_path (str): the folder of all sweeps; default ``sweep`` under ``checkpoint_dir``.
        settings (list of dict): of the simulated requests.
        data (list of UnlearningData): of the simulated requests.
        space (dict): of :func:`~recbole_unlearn.sweep.space.read_space`.
    """
    simulated = [Config(stored=each) for each in settings]
    graphs = [graph for each in data for graph in (each.graph, each.remaining_graph, each.valid, each.test)]
    edges = [side for graph in graphs for side in (graph.users, graph.items)]
    values = [(key, values.kind, values.values) for key, values in space.items()]
    code = software_versions(simulated[0]["device"])["code"]
    content = digest([each.results_settings() for each in simulated], values, code, *edges)
    storage = os.path.abspath(storage_path or os.path.join(config["checkpoint_dir"], "sweep"))
    return os.path.join(storage, f"{config['model']}-{config['dataset']}-{config['forget_type']}-{content}")


def best_of(trials, goal):
    """The best of the trials that came to their end.

    Raises:
        UsageError: there is none.
    """
    best = min(trials, key=goal.order, default=None)
    if best is None or best["status"] != DONE:
        errors = [trial["error"] for trial in trials if "error" in trial]
        raise UsageError(
            f"None of {len(trials)} trials succeeded; one ended with: {errors[0] if errors else 'no result'}"
        )
    return best


def pareto_front(trials, utility):
    """The trials that no other one beats in both the gap (less is better) and a ranking metric (more is better).

    Args:
        trials (list of dict): records.
        utility (str): name of the ranking metric, e.g. ``ndcg@20``.

    Returns:
        list of dict: of those that came to their end, by ascending gap.
    """
    done = [trial for trial in trials if trial["status"] == DONE]
    front = []
    for trial in sorted(done, key=lambda trial: (trial["result"]["gap"], -trial["result"][utility])):
        if not front or trial["result"][utility] > front[-1]["result"][utility]:
            front.append(trial)
    return front
