"""A sweep as it goes on: each trial as it ends, and all that run."""

import logging
import re
from pathlib import Path
from time import perf_counter

from ray import tune

from recbole_unlearn.sweep.report import table, told
from recbole_unlearn.sweep.trials import DONE, FAILED, STOPPED, record

SECONDS_BETWEEN_TABLES = 30


class Progress(tune.Callback):
    """Records each trial as it ends, and shows all of them.

    Args:
        trials (Trials): takes the records.
        n_trials (int): that will run.
    """

    def __init__(self, trials, n_trials):
        self.trials, self.n_trials = trials, n_trials
        self.ended, self.running, self.shown_at = 0, {}, perf_counter()

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.running[trial.trial_id] = {
            "point": trial.config["point"],
            "status": "running",
            "result": own_measures(result),
        }
        if perf_counter() - self.shown_at > SECONDS_BETWEEN_TABLES:
            self._show()

    def on_trial_complete(self, iteration, trials, trial, **info):
        result = own_measures(trial.last_result)
        stopped = {"by": self.trials.stopper} if "epoch" in result else {}
        self._end(record(trial.config["point"], STOPPED if stopped else DONE, result, **stopped), trial)

    def on_trial_error(self, iteration, trials, trial, **info):
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


def reason(text):
    """What something in a worker ended with, in one line: the last of a traceback that names an error, or the first of all."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Failure #")] or [
        "no reason is known"
    ]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Diverged|Interrupt|Exit)\b", line)]
    return re.sub(r"^recbole_unlearn\.errors\.\w+: ", "", errors[-1] if errors else lines[0])


def own_measures(result):
    """What a trial reported, without what Ray adds."""
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
