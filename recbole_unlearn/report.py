"""What a run tells: the tables, the JSON and the figure."""

import json
import math
import os
import platform
from importlib.metadata import version
from logging import getLogger
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch

from recbole_unlearn import figure
from recbole_unlearn.checkpoint import write_aside
from recbole_unlearn.comparison import gaps_to_retrain
from recbole_unlearn.data.request import digest
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.registry import own_sources

PACKAGES = ("recbole-unlearn", "recbole", "torch", "numpy", "scipy", "pandas")
COLUMNS = {  # heading and number format of a column; others keep their key and have four decimals
    "offline_seconds": ("offline s", "{:.1f}"),
    "online_seconds": ("online s", "{:.3f}"),
    "peak_memory_mb": ("peak MB", "{:.0f}"),
    "MI-BF_gap": ("|ln MI-BF|", "{:.3f}"),
    "MI-NG_gap": ("|ln MI-NG|", "{:.3f}"),
    "AUC_FN_gap": ("|d AUC_FN|", "{:.3f}"),
    "AUC_FT_gap": ("|d AUC_FT|", "{:.3f}"),
    "speed_up": ("speed-up", "{:.4g}"),
    "break_even": ("break-even", "{:.2g}"),
}


class Report:
    """The rows of one run and the scores behind them, saved after each method.

    Rows that an earlier run with the same settings, data and code saved are taken over, so that a run that was killed
    goes on with the next method. Delete the report to compute them again.

    Args:
        config (Config): settings.
        data (UnlearningData): the run's data.
        saved (bool): whether anything is read from or written to ``checkpoint_dir`` and ``report_file``.
    """

    def __init__(self, config, data, saved=True):
        self.config, self.saved = config, saved
        self.path = report_path(config)
        observed = [side for graph in (data.graph, data.valid, data.test) for side in (graph.users, graph.items)]
        self.header = {
            "model": config["model"],
            "dataset": config["dataset"],
            "seed": config["seed"],
            "config": config.as_dict(),
            "data": digest(*observed, data.request.users, data.request.items),
            "interactions": {"training": len(data.graph), "validation": len(data.valid), "test": len(data.test)},
            "forget": {"type": config["forget_type"], **data.request.summary()},
            "versions": software_versions(config["device"]),
        }
        self.rows, self.scores = self._earlier() if saved else ([], {})

    def has(self, method):
        """Whether the rows of this method are there."""
        return any(row["method"] == method for row in self.rows)

    def add(self, method, stage="", metrics=None, scores=None, offline_seconds=0.0, online=None, details=None):
        """Add one row.

        Args:
            method, stage (str): its name.
            metrics (dict): of the evaluator; none if there is no result.
            scores (dict): of the evaluator, for the figure.
            offline_seconds (float): before the request.
            online (Cost): of the request; of the original, of its training.
            details (dict): what else to tell.

        Returns:
            dict: the row.
        """
        row = {
            "method": method,
            "stage": stage,
            **(metrics or {}),
            "offline_seconds": offline_seconds,
            "online_seconds": online.seconds if online else None,
            "peak_memory_mb": online.peak_memory_mb if online else None,
            **({"details": {key: str(value) for key, value in details.items()}} if details else {}),
        }
        self.rows.append(row)
        if scores is not None:
            self.scores[label(row)] = scores
        return row

    def result(self):
        """The report as plain data.

        Returns:
            dict: ``model``, ``dataset``, ``seed``, ``config`` (all settings), ``data`` (a digest of the interactions),
            ``interactions`` (their number in each part, injected ones included), ``forget`` (``type`` and counts), ``versions``, ``results`` (the rows) and ``gaps``
            (:func:`~recbole_unlearn.comparison.gaps_to_retrain`).
        """
        order = ["original", *self.config["unlearn_methods"]]
        rows = sorted(self.rows, key=lambda row: order.index(row["method"]))
        return {**self.header, "results": rows, "gaps": gaps_to_retrain(rows)}

    def save(self):
        """Write the JSON and, beside it, the scores (``.npz``); each file is whole or absent."""
        if self.saved:
            arrays = {f"{row}/{pairs}": values for row, sets in self.scores.items() for pairs, values in sets.items()}
            write_aside(beside(self.path, ".npz"), lambda temporary: np.savez(temporary, **arrays))
            save_json(self.path, self.result())

    def draw(self):
        """Write the figure of the scores beside the JSON."""
        if self.saved:
            picture = beside(self.path, ".png")
            order = [name for name in map(label, self.result()["results"]) if name in self.scores]
            scores = {name: self.scores[name] for name in order}
            write_aside(picture, lambda temporary: figure.score_distributions(scores, temporary))
            getLogger().info(f"Report: {self.path}   Figure: {picture}")

    def show(self):
        """Log the tables and what they are about."""
        result = self.result()
        forget = result["forget"]
        text = (
            f"{result['model']} on {result['dataset']}, seed {result['seed']}: {forget['n_interactions']} interactions of "
            f"{forget['n_users']} users and {forget['n_items']} items forgotten ({forget['type']})\n{table(result['results'])}"
        )
        for row in result["results"]:
            if "details" in row:
                text += f"\n{label(row)}: " + ", ".join(f"{key} {value}" for key, value in row["details"].items())
        if result["gaps"]:
            text += f"\nAgainst Retrain:\n{table(result['gaps'])}"
        getLogger().info(text)

    def _earlier(self):
        """Rows and scores of chosen methods in the report that this one would replace, if it is of the same run."""
        try:
            stored = json.loads(Path(self.path).read_text(encoding="utf-8"))
            with np.load(beside(self.path, ".npz")) as arrays:
                scores = {}
                for key, values in arrays.items():
                    row, _, pairs = key.rpartition("/")
                    scores.setdefault(row, {})[pairs] = values
            same = all(stored[key] == self.header[key] for key in ("data", "forget", "versions"))
            same = same and self.config.same_results(stored["config"])
        except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError):
            return [], {}
        if not same:
            getLogger().warning(f"{self.path} is of other settings, data or code and will be replaced; --report_file keeps both")
            return [], {}
        chosen = {"original", *self.config["unlearn_methods"]}
        rows = [read_row(row) for row in stored["results"] if row["method"] in chosen]
        getLogger().info(f"Rows of an earlier run: {', '.join(map(label, rows))} ({self.path}; delete it to compute them again)")
        return rows, {label(row): scores[label(row)] for row in rows if label(row) in scores}


def read_row(row):
    """A row as it was before JSON, which has no nan; a cost that is not there stays ``None``."""
    return {key: math.nan if value is None and key not in ("online_seconds", "peak_memory_mb") else value for key, value in row.items()}


def label(row):
    """A row's name, e.g. ``UnlearnRec zero-shot``."""
    return f"{row['method']} {row['stage']}".strip()


def table(rows):
    """Rows as text, a line each."""
    frame = pd.DataFrame([{key: value for key, value in row.items() if key != "details"} for row in rows])
    for column in frame.columns:
        heading, form = _column(column)
        if column not in ("method", "stage"):
            frame[column] = ["" if pd.isna(value) else form.format(value) for value in frame[column]]
        frame = frame.rename(columns={column: heading})
    return frame.to_string(index=False)


def summary_table(summary):
    """The rows of several seeds as text, each cell ``mean +- sd``; gaps to Retrain in a second table."""
    numbers = [key for key, value in summary["results"][0].items() if isinstance(value, dict)]
    gaps = [key for key in numbers if key.endswith(("_gap", "_ratio")) or key in ("speed_up", "break_even")]
    text = _means([key for key in numbers if key not in gaps], summary["results"])
    if not gaps:
        return text
    compared = [row for row in summary["results"] if row["speed_up"]["mean"] is not None]
    return f"{text}\nAgainst Retrain:\n{_means(gaps, compared)}"


def _means(keys, rows):
    """A line a row, a column for each of the keys."""
    cells = []
    for row in rows:
        line = {key: row[key] for key in ("method", "stage")}
        for key in keys:
            heading, form = _column(key)
            line[heading] = " +- ".join(form.format(row[key][part]) for part in ("mean", "sd") if row[key][part] is not None)
        cells.append(line)
    return pd.DataFrame(cells).to_string(index=False)


def _column(key):
    """Heading and number format."""
    return COLUMNS.get(key, (key.replace("_ratio", " ratio"), "{:.4f}"))


def report_path(config, seeds=None):
    """Where a run's report goes, or that of several seeds together."""
    ending = f"{config['seed']}" if seeds is None else "seeds-" + "-".join(map(str, seeds))
    if config["report_file"] and seeds is None:
        return config["report_file"]
    if config["report_file"]:
        return beside(config["report_file"], f"-{ending}.json")
    return os.path.join(config["checkpoint_dir"], f"{_run_name(config)}-{ending}.json")


def model_file(config, method, stage=""):
    """Where the unlearned model of a method's stage goes."""
    name = "-".join(part for part in (method, stage, _run_name(config), str(config["seed"])) if part)
    return os.path.join(config["checkpoint_dir"], f"{name}.safetensors")


def save_json(path, value):
    """Write plain data; the file is whole or absent."""
    text = json.dumps(finite(value), indent=2, allow_nan=False)
    write_aside(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def _run_name(config):
    request = config["forget_type"] if config["forget_seed"] is None else f"{config['forget_type']}-{config['forget_seed']}"
    return f"{config['model']}-{config['dataset']}-{request}"


def beside(path, ending):
    """A path with another ending."""
    return os.path.splitext(path)[0] + ending


def software_versions(device):
    """Of the packages, the machine, and a digest of the plugin's code with the user's own classes: others give other rows."""
    sources = [source.read_text(encoding="utf-8") for source in sorted(Path(__file__).parent.rglob("*.py"))]
    own = [source for registry in (MODELS, METHODS) for cls in registry.own(registry) for source in own_sources(cls)]
    code = digest(*sources, *own)
    on_gpu = device.type == "cuda"
    machine = torch.cuda.get_device_name(device) if on_gpu else f"{platform.machine()}, {torch.get_num_threads()} thread(s)"
    packages = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages, "machine": machine, "code": code}


def finite(value):
    """JSON has no nan and no infinity: an undefined metric is null."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
