"""What a sweep tells: the table, the JSON, the CSV files, the figure, and the settings to use."""

import os
from logging import getLogger
from pathlib import Path

import pandas as pd
import yaml
from recbole.utils import set_color

from recbole_unlearn import figure
from recbole_unlearn.checkpoint import write_aside
from recbole_unlearn.report import save_json, software_versions
from recbole_unlearn.sweep.simulation import simulated_request
from recbole_unlearn.sweep.trials import DONE, FAILED, pareto_front

FORMS = {"epoch": "{:.0f}", "seconds": "{:.1f}", "online_seconds": "{:.2f}"}  # other numbers have four decimals
TOLD = ("objective", "gap", "utility")


class SweepReport:
    """All that a finished sweep has found, best trials first.

    Args:
        config (Config): of the actual run.
        method (str): whose settings were tried.
        goal (Goal): what was searched for.
        trials (list of dict): records.
        retrain (dict): Retrain's metrics on the simulated request.
        given (dict): the record of the settings as given on it.
        checks (list of dict): for each held-back request, the records of the ``best`` settings and of those ``as given``.
    """

    def __init__(self, config, method, goal, trials, retrain, given, checks):
        self.config, self.method, self.goal, self.retrain, self.given, self.checks = config, method, goal, retrain, given, checks
        self.trials = sorted(trials, key=goal.order)
        self.best = self.trials[0]
        self.utility = config["valid_metric"].lower()

    def result(self):
        """The sweep as plain data.

        Returns:
            dict: ``model``, ``dataset``, ``seed``, ``method``, ``request`` (the settings that simulate it), ``settings``
            (the user's), ``goal``, ``versions``, ``retrain`` (metrics), ``trials`` (records, best first), ``as given``
            (a record) and ``held back`` (of each request, two records).
        """
        return {
            "model": self.config["model"],
            "dataset": self.config["dataset"],
            "seed": self.config["seed"],
            "method": self.method,
            "request": simulated_request(self.config, 1),
            "settings": self.config.external_config_dict,
            "goal": {"metric": self.goal.metric, "mode": self.goal.mode},
            "versions": software_versions(self.config["device"]),
            "retrain": self.retrain,
            "trials": self.trials,
            "as given": self.given,
            "held back": self.checks,
        }

    def save(self, folder):
        """Write the JSON, the trials and their Pareto front as CSV, its figure, and the best settings as yaml."""
        front = pareto_front([*self.trials, self.given], self.utility)
        save_json(os.path.join(folder, "sweep.json"), self.result())
        for name, trials in (("trials.csv", [*self.trials, self.given]), ("pareto.csv", front)):
            write_aside(os.path.join(folder, name), lambda temporary: frame_of(trials).to_csv(temporary, index=False))
        sets = {"trials": self.trials, "Pareto front": front, "as given": [self.given], "best": [self.best]}
        points = {name: self._coordinates(trials) for name, trials in sets.items()}
        limit = self.config["unlearn_least_utility"]
        picture = os.path.join(folder, "pareto.png")
        write_aside(picture, lambda path: figure.pareto_front(points, self.retrain[self.utility], limit, self.utility, path))

        yamls = {f"held-back-{number}.yaml": simulated_request(self.config, number + 1) for number in range(1, len(self.checks) + 1)}
        yamls["simulation.yaml"] = simulated_request(self.config, 1)
        for name, settings in yamls.items():
            _write_yaml(os.path.join(folder, name), "A simulated request in the place of the actual one, and validation for test data.", settings)
        best, simulation = (os.path.join(folder, name) for name in ("best.yaml", "simulation.yaml"))
        numbers = ", ".join(f"{key} {self.best['result'][key]:.4f}" for key in TOLD)
        again = f'python run_unlearn.py --config_files="{best} {simulation}"'
        _write_yaml(
            best,
            f"The best of {len(self.trials)} trials for {self.method} on a simulated request and validation data: {numbers}.\n"
            f"These numbers again: {again}",
            {**self.best["point"], **self._given_settings()},
        )

    def show(self, folder):
        """Log the table, what held-back requests say, and how to use the best settings."""
        log = getLogger().info
        log(f"Trials on a simulated request and validation data, best first\n{table([*self.trials, self.given], self.retrain)}")
        for number, check in enumerate(self.checks, start=1):
            log(f"Held-back request {number}: best {told(check['best'])}; as given {told(check['as given'])}")
        log(set_color("Best", "yellow") + f": python run_unlearn.py --config_files={os.path.join(folder, 'best.yaml')}")
        log(f"Sweep: {folder}   Figure: {os.path.join(folder, 'pareto.png')}")

    def _given_settings(self):
        """The user's own settings, but for those that were searched."""
        given = {**self.config.external_config_dict, "model": self.config["model"], "dataset": self.config["dataset"]}
        return {key: value for key, value in given.items() if key not in self.best["point"]}

    def _coordinates(self, trials):
        results = [trial["result"] for trial in trials if trial["status"] == DONE]
        return [result["gap"] for result in results], [result[self.utility] for result in results]


def frame_of(trials):
    """A row a trial: its place, settings, status, numbers and error."""
    rows = []
    for place, trial in enumerate(trials, start=1):
        point = {key: str(value) if isinstance(value, list) else value for key, value in trial["point"].items()}
        numbers = {key: value for key, value in trial["result"].items() if key not in ("final", "stage")}
        name = place if point else "as given"
        rows.append({"trial": name, **point, "status": trial["status"], **numbers, "error": trial.get("error", "")})
    return pd.DataFrame(rows, dtype=object)  # whole numbers stay whole beside cells without one


def table(trials, retrain=None):
    """Trials as text, a line each, and Retrain's metrics in the last."""
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
    return frame.rename(columns={"seconds": "s", "online_seconds": "online s"}).to_string(index=False)


def told(trial):
    """A record's outcome in a few words."""
    if trial["status"] == FAILED:
        return f"failed: {trial['error']}"
    return ", ".join(f"{key} {trial['result'][key]:.4f}" for key in TOLD)


def _write_yaml(path, comment, settings):
    """Write settings as a file for ``--config_files``."""
    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    text = lines + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    write_aside(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
