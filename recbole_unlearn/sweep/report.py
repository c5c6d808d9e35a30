"""A sweep's report: the table, the JSON, the CSV files, the figure, and the settings to use."""

import os
from collections.abc import Iterable, Sequence
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from recbole.utils import set_color

from recbole_unlearn.config import Config
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files.checkpoint import write_aside
from recbole_unlearn.report import figure
from recbole_unlearn.report.files import save_json
from recbole_unlearn.report.software import software_versions
from recbole_unlearn.report.tables import text_table
from recbole_unlearn.sweep.simulation import means, simulated_requests
from recbole_unlearn.sweep.trials import DONE, FAILED, Goal, Record

HEADINGS = {"seconds": "s", "online_seconds": "online s", "peak_memory_mb": "peak MB"}
DECIMALS = {"epoch": 0, "seconds": 1, "online_seconds": 2, "peak_memory_mb": 0}  # other numbers have four
OUTCOME = ("objective", "gap", "utility")


def sweep_result(
    config: Config,
    method: str,
    requests: list[dict[str, Any]],
    goal: Goal,
    trials: Sequence[Record],
    retrain: Sequence[dict[str, float]],
    given: Record,
) -> dict[str, Any]:
    """The findings of a finished sweep as plain data.

    Args:
        config: of the actual run.
        method: the method whose settings were tried.
        requests: of :func:`~recbole_unlearn.sweep.simulation.simulated_requests`.
        goal: of the search.
        trials: records.
        retrain: Retrain's metrics on each of the simulated requests.
        given: the record of the settings as given on them.

    Returns:
        ``model``, ``dataset``, ``seed``, ``method``, ``requests`` (the settings that simulate them), ``settings`` (the
        user's), ``goal``, ``versions``, ``retrain`` (the mean of its metrics), ``trials`` (best first), ``as given`` (a
        record), and ``held back``: a list, yet empty, of two records for each round of other requests, ``best`` and
        ``as given``.

    Raises:
        UsageError: no trial came to its end.
    """
    if not any(trial["status"] == DONE for trial in trials):
        error = next((trial["error"] for trial in trials if "error" in trial), "no result")
        raise UsageError(f"None of {len(trials)} trials succeeded; one ended with: {error}")
    return {
        **{key: config[key] for key in ("model", "dataset", "seed")},
        "method": method,
        "requests": requests,
        "settings": config.external_config_dict,
        "goal": {"metric": goal.metric, "mode": goal.mode},
        "versions": software_versions(config),
        "retrain": means(retrain),
        "trials": sorted(trials, key=goal.order),
        "as given": given,
        "held back": [],
    }


def save_sweep(result: dict[str, Any], config: Config, folder: str) -> None:
    """Write the JSON, the trials and their Pareto front as CSV, its figure, and the best settings as yaml.

    Args:
        result: of :func:`sweep_result`.
        config: of the actual run.
        folder: of the sweep.
    """
    save_json(os.path.join(folder, "sweep.json"), result)
    trials, best, utility = result["trials"], result["trials"][0], config["valid_metric"].lower()
    rows = frame_of([*trials, result["as given"]])
    front = pareto_front(rows, utility)
    for name, frame in (("trials.csv", rows), ("pareto.csv", front)):
        write_aside(os.path.join(folder, name), partial(frame.to_csv, index=False))
    sets = {"trials": rows[:-1], "Pareto front": front, "as given": rows[-1:], "best": rows[:1]}
    points = {name: _coordinates(frame, utility) for name, frame in sets.items()}
    target = result["retrain"][utility], config["unlearn_least_utility"], utility
    write_aside(os.path.join(folder, "pareto.png"), lambda path: figure.pareto_front(points, *target, path))

    kinds = [request["forget_type"] for request in result["requests"]]
    names = ["simulated", *(f"held-back-{number}" for number in range(1, len(result["held back"]) + 1))]
    for round_, name in enumerate(names, start=1):
        for place, request in enumerate(simulated_requests(config, kinds, round_), start=1):
            comment = "A simulated request, and validation for test data."
            _write_yaml(os.path.join(folder, f"{name}-{place}.yaml"), comment, request)
    file, first = (os.path.join(folder, name) for name in ("best.yaml", "simulated-1.yaml"))
    comment = (
        f"The best of {len(trials)} trials for {result['method']} on simulated requests and validation data: "
        f"{outcome(best)}.\nIts numbers of the first request again: "
        f'python run_unlearn.py --config_files="{file} {first}"'
    )
    own = {**result["settings"], "model": result["model"], "dataset": result["dataset"]}
    _write_yaml(file, comment, best["point"] | {key: own[key] for key in own if key not in best["point"]})


def show_sweep(result: dict[str, Any], folder: str) -> None:
    """Log the table, the results on held-back requests, and how to use the best settings."""
    log, kinds = getLogger().info, ", ".join(request["forget_type"] for request in result["requests"])
    log(f"Trials on simulated requests ({kinds}) and validation data, best first\n{table(result)}")
    for number, check in enumerate(result["held back"], start=1):
        log(f"Held-back requests {number}: best {outcome(check['best'])}; as given {outcome(check['as given'])}")
    where = "held-back requests" if result["held back"] else "the same requests"
    pairs = result["held back"] or [{"best": result["trials"][0], "as given": result["as given"]}]
    order = Goal(**result["goal"]).order
    wins = sum(order(pair["best"]) < order(pair["as given"]) for pair in pairs)
    advice = "" if wins else ": keep those given"
    log(f"On {where} the best trial beats the settings as given {wins} of {len(pairs)} times{advice}")
    log(set_color("Best", "yellow") + f": python run_unlearn.py --config_files={os.path.join(folder, 'best.yaml')}")
    log(f"Sweep: {folder}   Figure: {os.path.join(folder, 'pareto.png')}")


def frame_of(trials: Iterable[Record]) -> pd.DataFrame:
    """One row per trial: its place, settings, status, numbers and error."""
    rows = []
    for place, trial in enumerate(trials, start=1):
        point = {key: str(value) if isinstance(value, list) else value for key, value in trial["point"].items()}
        numbers = {key: value for key, value in trial["result"].items() if key not in ("stage", "requests")}
        name = place if point else "as given"
        rows.append({"trial": name, **point, "status": trial["status"], **numbers, "error": trial.get("error", "")})
    return pd.DataFrame(rows, dtype=object)  # whole numbers stay whole beside empty cells


def pareto_front(rows: pd.DataFrame, utility: str) -> pd.DataFrame:
    """The trials that came to their end, and that no other beats in both the gap and a ranking metric.

    Args:
        rows: of :func:`frame_of`.
        utility: the column of the ranking metric, e.g. ``ndcg@20``; more is better.

    Returns:
        Some of the rows, by ascending gap.
    """
    done = rows[rows["status"] == DONE].sort_values(["gap", utility], ascending=[True, False])
    ranking = done[utility].astype(float)
    return done[ranking > ranking.cummax().shift(fill_value=float("-inf"))]


def table(result: dict[str, Any]) -> str:
    """The trials as text, one line each, with Retrain's metrics in the last line."""
    trials = [*result["trials"], result["as given"]]
    target = {"trial": "Retrain", "objective": 0.0, "gap": 0.0, "utility": 1.0, **result["retrain"]}
    frame = pd.concat([frame_of(trials), pd.DataFrame([target], dtype=object)])
    numbers = {key for trial in trials for key in trial["result"]} | target.keys() - {"trial"}
    if not frame["error"].replace("", None).notna().any():
        frame = frame.drop(columns="error")
    forms = {key: f"{{:.{DECIMALS.get(key, 4)}f}}" for key in numbers}
    return text_table(frame, lambda key: (HEADINGS.get(key, key), forms.get(key, "{}")))


def outcome(trial: Record) -> str:
    """A record's outcome in a few words."""
    if trial["status"] == FAILED:
        return f"failed: {trial['error']}"
    return ", ".join(f"{key} {trial['result'][key]:.4f}" for key in OUTCOME)


def _coordinates(rows, utility):
    done = rows[rows["status"] == DONE]
    return list(done["gap"]), list(done[utility])


def _write_yaml(path, comment, settings):
    """Write settings as a file for ``--config_files``."""
    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    text = lines + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    write_aside(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
