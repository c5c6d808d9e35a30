"""What a run tells: the table, the JSON and the figure."""

import json
import math
import os
import platform
from importlib.metadata import version
from logging import getLogger
from pathlib import Path

import pandas as pd

from recbole_unlearn import figure
from recbole_unlearn.checkpoint import write_aside

PACKAGES = ("recbole-unlearn", "recbole", "torch", "numpy", "scipy", "pandas")
COLUMNS = {  # heading and number format of a column; ranking metrics have four decimals
    "offline_seconds": ("offline s", "{:.1f}"),
    "online_seconds": ("online s", "{:.3f}"),
    "peak_memory_mb": ("peak MB", "{:.0f}"),
}


def row(method, stage, metrics, offline_seconds=0.0, online_seconds=0.0, peak_memory_mb=None):
    """One row of the report: a method's stage, its metrics, and its cost in seconds and MB (2**20 bytes)."""
    return {
        "method": method,
        "stage": stage,
        **metrics,
        "offline_seconds": offline_seconds,
        "online_seconds": online_seconds,
        "peak_memory_mb": peak_memory_mb,
    }


def compose(config, data, rows):
    """The report as plain data.

    Returns:
        dict: ``model``, ``dataset``, ``seed``, ``config`` (all settings), ``forget`` (``type`` and counts),
        ``versions`` and ``results`` (the rows).
    """
    return {
        "model": config["model"],
        "dataset": config["dataset"],
        "seed": config["seed"],
        "config": config.as_dict(),
        "forget": {"type": config["forget_type"], **data.request.summary()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "results": rows,
    }


def table(result):
    """The results as text, a line a row."""
    frame = pd.DataFrame(result["results"])
    for column in frame.columns:
        heading, form = COLUMNS.get(column, (column, "{:.4f}"))
        if column not in ("method", "stage"):
            frame[column] = [("" if pd.isna(value) else form.format(value)) for value in frame[column]]
        frame = frame.rename(columns={column: heading})
    return frame.to_string(index=False)


def show(result):
    """Log the table and what it is about."""
    forget = result["forget"]
    getLogger().info(
        f"{result['model']} on {result['dataset']}, seed {result['seed']}: {forget['n_interactions']} interactions of "
        f"{forget['n_users']} users and {forget['n_items']} items forgotten ({forget['type']})\n{table(result)}"
    )


def save(config, result, scores):
    """Write the JSON and, beside it, the figure; each file is whole or absent."""
    path = config["report_file"] or os.path.join(
        config["checkpoint_dir"], f"{config['model']}-{config['dataset']}-{config['forget_type']}.json"
    )
    text = json.dumps(_finite(result), indent=2, allow_nan=False)
    write_aside(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
    picture = os.path.splitext(path)[0] + ".png"
    write_aside(picture, lambda temporary: figure.score_distributions(scores, temporary))
    getLogger().info(f"Report: {path}   Figure: {picture}")


def model_file(config, label):
    """Where a stage's unlearned model goes."""
    name = "-".join([label.replace(" ", "-"), config["model"], config["dataset"], config["forget_type"]])
    return os.path.join(config["checkpoint_dir"], f"{name}.pth")


def _finite(value):
    """JSON has no nan and no infinity: an undefined metric is null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
