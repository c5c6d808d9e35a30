"""The trials of a sweep: their records, which survive a kill, and which of them are best."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from recbole_unlearn.data.request import digest
from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.report import save_json, software_versions

MEASURES = ("objective", "gap", "utility", "online_seconds", "seconds", "MI-BF", "MI-NG", "AUC_FN", "AUC_FT")
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
        ranking = [f"{name.lower()}@{k}" for name in config["metrics"] for k in config["topk"] if name.upper() not in MEASURES]
        if metric not in (*MEASURES, *ranking):
            raise unknown("metric to tune", metric, (*MEASURES, *ranking))
        mode = mode or ("min" if metric in ("objective", "gap") else None)
        if mode not in ("min", "max"):
            raise UsageError(f"--tune_metric={metric} needs --tune_mode=min or max, not {mode or 'nothing'}.")
        return cls(metric, mode)

    def order(self, trial):
        """A key to sort records by: best first, then those stopped early, then those that failed."""
        value = trial["result"].get(self.metric, 0.0)
        return (DONE, STOPPED, FAILED).index(trial["status"]), value if self.mode == "min" else -value


def record(point, status, result=None, error=None):
    """One trial as plain data.

    Args:
        point (dict): the settings tried.
        status (str): ``done``, ``stopped`` by the scheduler, or ``failed``.
        result (dict): the last of :func:`~recbole_unlearn.sweep.simulation.measure`.
        error (str): what a failed one ended with.
    """
    return {"point": point, "status": status, "result": result or {}, **({"error": error} if error else {})}


class Trials:
    """Records of trials, a file each, whole or absent, so that a sweep that was killed repeats none that ended.

    Args:
        folder (str): of the sweep.
    """

    def __init__(self, folder):
        self.folder = os.path.join(folder, "trials")

    def begin(self, resume):
        """Make the folder.

        Raises:
            UsageError: trials are there already and are not to be gone on with.
        """
        os.makedirs(self.folder, exist_ok=True)
        if self.all() and not resume:
            raise UsageError(
                f"This sweep has {len(self.ended())} ended trials in {os.path.dirname(self.folder)}: "
                "add --resume to go on with it, or delete that folder."
            )

    def all(self):
        """All records."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(self.folder).glob("[!.]*.json"))]

    def ended(self):
        """Records of trials that need not be repeated: all but the failed ones."""
        return [trial for trial in self.all() if trial["status"] != FAILED]

    def without_ended(self, points):
        """Those of some points that are still to be tried."""
        ended = [trial["point"] for trial in self.ended()]
        return [point for point in points if point not in ended]

    def add(self, trial):
        """Write one record, in the place of an earlier one of the same point."""
        name = digest(json.dumps(trial["point"], sort_keys=True))
        save_json(os.path.join(self.folder, f"{name}.json"), trial)


def sweep_folder(config, storage_path, simulated, data, space):
    """Where a sweep goes: another folder if settings, space, data or code are others.

    Args:
        config (Config): of the actual run.
        storage_path (str): the folder of all sweeps; default ``sweep`` under ``checkpoint_dir``.
        simulated (Config): of the simulated request.
        data (UnlearningData): of the simulated request.
        space (dict): of :func:`~recbole_unlearn.sweep.space.read_space`.
    """
    parts = [side for graph in (data.graph, data.remaining_graph, data.valid, data.test) for side in (graph.users, graph.items)]
    values = [(key, values.kind, values.values) for key, values in space.items()]
    content = digest(simulated.results_settings(), values, software_versions(simulated["device"])["code"], *parts)
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
        raise UsageError(f"None of {len(trials)} trials succeeded; one ended with: {errors[0] if errors else 'no result'}")
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
