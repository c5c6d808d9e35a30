"""A sweep's report: the table, the JSON, the CSV files, the figure, and the settings to use."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from recbole.utils import set_color

from recbole_unlearn.config import Config
from recbole_unlearn.files.checkpoint import write_aside
from recbole_unlearn.report import figure
from recbole_unlearn.report.files import save_json
from recbole_unlearn.report.software import software_versions
from recbole_unlearn.sweep.simulation import simulated_requests
from recbole_unlearn.sweep.trials import DONE, FAILED, Goal, best_of, pareto_front

FORMS = {
    "epoch": "{:.0f}",
    "seconds": "{:.1f}",
    "online_seconds": "{:.2f}",
    "peak_memory_mb": "{:.0f}",
}  # other numbers have four decimals
TOLD = ("objective", "gap", "utility")


class SweepReport:
    """The findings of a finished sweep, best trials first.

    Args:
        config: of the actual run.
        method: the method whose settings were tried.
        kinds: of the simulated requests.
        goal: of the search.
        trials: records.
        retrain: Retrain's metrics on each of the simulated requests.
        given: the record of the settings as given on them.

    Raises:
        UsageError: no trial came to its end.
    """

    def __init__(
        self,
        config: Config,
        method: str,
        kinds: Sequence[str],
        goal: Goal,
        trials: Iterable[dict],
        retrain: Sequence[Mapping[str, float]],
        given: dict,
    ):
        self.config, self.method, self.kinds, self.goal, self.given = config, method, kinds, goal, given
        self.checks = []
        self.retrain = {key: sum(metrics[key] for metrics in retrain) / len(retrain) for key in retrain[0]}
        self.trials = sorted(trials, key=goal.order)
        self.best = best_of(trials, goal)
        self.utility = config["valid_metric"].lower()

    def add_check(self, best: dict, given: dict) -> None:
        """Add two records on a round of held-back requests: of the best settings and of those as given."""
        self.checks.append({"best": best, "as given": given})

    def result(self) -> dict[str, Any]:
        """The sweep as plain data.

        Returns:
            ``model``, ``dataset``, ``seed``, ``method``, ``requests`` (the settings that simulate them), ``settings``
            (the user's), ``goal``, ``versions``, ``retrain`` (the mean of its metrics), ``trials`` (records, best
            first), ``as given`` (a record) and ``held back`` (two records for each round of other requests).
        """
        return {
            "model": self.config["model"],
            "dataset": self.config["dataset"],
            "seed": self.config["seed"],
            "method": self.method,
            "requests": simulated_requests(self.config, self.kinds, 1),
            "settings": self.config.external_config_dict,
            "goal": {"metric": self.goal.metric, "mode": self.goal.mode},
            "versions": software_versions(self.config["device"]),
            "retrain": self.retrain,
            "trials": self.trials,
            "as given": self.given,
            "held back": self.checks,
        }

    def save(self, folder: str) -> None:
        """Write the JSON, the trials and their Pareto front as CSV, its figure, and the best settings as yaml."""
        trials = [*self.trials, self.given]
        front, rows = pareto_front(trials, self.utility), frame_of(trials)
        on_front = [trial in front for trial in trials]
        save_json(os.path.join(folder, "sweep.json"), self.result())
        for name, frame in (("trials.csv", rows), ("pareto.csv", rows[on_front].sort_values("gap"))):
            write_aside(os.path.join(folder, name), partial(frame.to_csv, index=False))
        sets = {"trials": self.trials, "Pareto front": front, "as given": [self.given], "best": [self.best]}
        points = {name: self._coordinates(trials) for name, trials in sets.items()}
        limit = self.config["unlearn_least_utility"]
        picture = os.path.join(folder, "pareto.png")
        write_aside(
            picture, lambda path: figure.pareto_front(points, self.retrain[self.utility], limit, self.utility, path)
        )

        rounds = ["simulated", *(f"held-back-{number}" for number in range(1, len(self.checks) + 1))]
        for round_, name in enumerate(rounds, start=1):
            for place, request in enumerate(simulated_requests(self.config, self.kinds, round_), start=1):
                _write_yaml(
                    os.path.join(folder, f"{name}-{place}.yaml"),
                    "A simulated request, and validation for test data.",
                    request,
                )
        best, simulated = (os.path.join(folder, name) for name in ("best.yaml", "simulated-1.yaml"))
        numbers = ", ".join(f"{key} {self.best['result'][key]:.4f}" for key in TOLD)
        again = f'python run_unlearn.py --config_files="{best} {simulated}"'
        _write_yaml(
            best,
            f"The best of {len(self.trials)} trials for {self.method} on simulated requests and validation data: {numbers}.\n"
            f"Its numbers of the first request again: {again}",
            {**self.best["point"], **self._given_settings()},
        )

    def show(self, folder: str) -> None:
        """Log the table, the results on held-back requests, and how to use the best settings."""
        log = getLogger().info
        log(
            f"Trials on simulated requests ({', '.join(self.kinds)}) and validation data, best first\n{table([*self.trials, self.given], self.retrain)}"
        )
        for number, check in enumerate(self.checks, start=1):
            log(f"Held-back requests {number}: best {told(check['best'])}; as given {told(check['as given'])}")
        where, pairs = "the same requests", [(self.best, self.given)]
        if self.checks:
            where, pairs = "held-back requests", [(check["best"], check["as given"]) for check in self.checks]
        wins = sum(self.goal.order(best) < self.goal.order(given) for best, given in pairs)
        log(
            f"On {where} the best trial beats the settings as given {wins} of {len(pairs)} times"
            + (": keep those given" if not wins else "")
        )
        log(set_color("Best", "yellow") + f": python run_unlearn.py --config_files={os.path.join(folder, 'best.yaml')}")
        log(f"Sweep: {folder}   Figure: {os.path.join(folder, 'pareto.png')}")

    def _given_settings(self):
        """The user's own settings, without the searched ones."""
        given = {**self.config.external_config_dict, "model": self.config["model"], "dataset": self.config["dataset"]}
        return {key: value for key, value in given.items() if key not in self.best["point"]}

    def _coordinates(self, trials):
        results = [trial["result"] for trial in trials if trial["status"] == DONE]
        return [result["gap"] for result in results], [result[self.utility] for result in results]


def frame_of(trials: Iterable[dict]) -> pd.DataFrame:
    """One row per trial: its place, settings, status, numbers and error."""
    rows = []
    for place, trial in enumerate(trials, start=1):
        point = {key: str(value) if isinstance(value, list) else value for key, value in trial["point"].items()}
        numbers = {key: value for key, value in trial["result"].items() if key not in ("stage", "requests")}
        name = place if point else "as given"
        rows.append({"trial": name, **point, "status": trial["status"], **numbers, "error": trial.get("error", "")})
    return pd.DataFrame(rows, dtype=object)  # whole numbers stay whole beside empty cells


def table(trials: Sequence[dict], retrain: Mapping[str, float] | None = None) -> str:
    """Trials as text, one line each, with Retrain's metrics in the last line."""
    frame = frame_of(trials)
    results = {key for trial in trials for key in trial["result"]}
    if retrain is not None:
        target = {"trial": "Retrain", "objective": 0.0, "gap": 0.0, "utility": 1.0, **retrain}
        frame = pd.concat([frame, pd.DataFrame([target], dtype=object)])
        results |= target.keys() - {"trial"}
    for column in frame.columns:
        form = FORMS.get(column, "{:.4f}" if column in results else "{}")
        frame[column] = ["" if pd.isna(value) else form.format(value) for value in frame[column]]
    if not frame["error"].any():
        frame = frame.drop(columns="error")
    return frame.rename(columns={"seconds": "s", "online_seconds": "online s", "peak_memory_mb": "peak MB"}).to_string(
        index=False
    )


def told(trial: dict) -> str:
    """A record's outcome in a few words."""
    if trial["status"] == FAILED:
        return f"failed: {trial['error']}"
    return ", ".join(f"{key} {trial['result'][key]:.4f}" for key in TOLD)


def _write_yaml(path, comment, settings):
    """Write settings as a file for ``--config_files``."""
    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    text = lines + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    write_aside(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
