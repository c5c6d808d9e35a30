"""Paths of reports and models, and JSON."""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recbole_unlearn.config import Config
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files.checkpoint import write_aside


def report_path(config: Config, seeds: Iterable[int] | None = None) -> str:
    """The path of a run's report, or of the common report of several seeds."""
    ending = f"{config['seed']}" if seeds is None else "seeds-" + "-".join(map(str, seeds))
    if config["report_file"] and seeds is None:
        return config["report_file"]
    if config["report_file"]:
        return beside(config["report_file"], f"-{ending}.json")
    return os.path.join(config["checkpoint_dir"], f"{_run_name(config)}-{ending}.json")


def check_place(path: str | None) -> None:
    """Refuse the path of a report that cannot be written, before anything trains for it; None is no report.

    Raises:
        UsageError: a folder has that name, or the path's folder cannot be made or written to.
    """
    if path is None:
        return
    folder, reason = os.path.dirname(os.path.abspath(path)), None
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        reason = f"folder '{folder}' cannot be made ({error.strerror})"
    else:
        if os.path.isdir(path):
            reason = "it is a folder"
        elif not os.access(folder, os.W_OK):
            reason = f"nobody may write to folder '{folder}'"
    if reason:
        raise UsageError(f"The report cannot be '{path}': {reason}. Choose another, with --report_file=FILE.json.")


def model_file(config: Config, method: str, stage: str = "") -> str:
    """The path of the unlearned model of a method's stage."""
    name = "-".join(part for part in (method, stage, _run_name(config), str(config["seed"])) if part)
    return os.path.join(config["checkpoint_dir"], f"{name}.safetensors")


def save_json(path: str | os.PathLike, value: Any) -> None:
    """Write plain data; the file is whole or absent."""
    text = json.dumps(finite(value), indent=2, allow_nan=False)
    write_aside(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def _run_name(config):
    request = (
        config["forget_type"] if config["forget_seed"] is None else f"{config['forget_type']}-{config['forget_seed']}"
    )
    return f"{config['model']}-{config['dataset']}-{request}"


def beside(path: str | os.PathLike, ending: str) -> str:
    """A path with another ending."""
    return os.path.splitext(path)[0] + ending


def finite(value: Any) -> Any:
    """Plain data with None for nan and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
