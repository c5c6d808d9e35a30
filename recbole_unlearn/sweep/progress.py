"""The progress of a sweep: each trial as it ends, and the trials that run."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from ray import tune

from recbole_unlearn.sweep.report import table, told
from recbole_unlearn.sweep.trials import DONE, FAILED, STOPPED, Trials, record

SECONDS_BETWEEN_TABLES = 30


class Progress(tune.Callback):
    """Records each trial as it ends, and shows the trials that run.

    Args:
        trials: takes the records.
        n_trials: number of trials that will run.
    """

    def __init__(self, trials: Trials, n_trials: int):
        self.trials, self.n_trials = trials, n_trials
        self.ended, self.running, self.shown_at = 0, {}, perf_counter()

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        self.running[trial.trial_id] = {
            "point": trial.config["point"],
            "status": "running",
            "result": own_measures(result),
        }
        if perf_counter() - self.shown_at > SECONDS_BETWEEN_TABLES:
            self._show()

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        result = own_measures(trial.last_result)
        stopped = {"by": self.trials.stopper} if "epoch" in result else {}
        self._end(record(trial.config["point"], STOPPED if stopped else DONE, result, **stopped), trial)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._end(
            record(trial.config["point"], FAILED, error=reason(Path(trial.error_file).read_text(encoding="utf-8"))),
            trial,
        )

    def _end(self, ended, trial):
        self.trials.add(ended)
        self.running.pop(trial.trial_id, None)
        self.ended += 1
        point = ", ".join(f"{key} {value}" for key, value in ended["point"].items())
        after = f", stopped after epoch {ended['result']['epoch']}" if ended["status"] == STOPPED else ""
        logging.getLogger().info(f"Trial {self.ended}/{self.n_trials} ({point}): {told(ended)}{after}")

    def _show(self):
        self.shown_at = perf_counter()
        logging.getLogger().info(
            f"Trials now running, {self.ended} of {self.n_trials} ended\n{table(list(self.running.values()))}"
        )


def reason(text: str) -> str:
    """Why something in a worker ended: the last line of a traceback that names an error, else its first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Failure #")] or [
        "no reason is known"
    ]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Diverged|Interrupt|Exit)\b", line)]
    return re.sub(r"^recbole_unlearn\.errors\.\w+: ", "", errors[-1] if errors else lines[0])


def own_measures(result: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's own report, without what Ray adds."""
    added = {"timestamp", "checkpoint_dir_name", "done", "training_iteration", "trial_id", "date", "time_this_iter_s"}
    added |= {
        "time_total_s",
        "pid",
        "hostname",
        "node_ip",
        "config",
        "time_since_restore",
        "iterations_since_restore",
        "experiment_tag",
    }
    return {key: value for key, value in result.items() if key not in added}
