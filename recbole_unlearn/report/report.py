"""A run's report: the tables, the JSON and the figure."""

import json
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from recbole_unlearn.config import Config
from recbole_unlearn.digest import kept_digest
from recbole_unlearn.evaluator.comparison import gaps_to_retrain
from recbole_unlearn.evaluator.cost import Cost
from recbole_unlearn.files.checkpoint import write_aside
from recbole_unlearn.report import figure
from recbole_unlearn.report.files import beside, report_path, save_json
from recbole_unlearn.report.software import software_versions
from recbole_unlearn.report.tables import label, read_row, table
from recbole_unlearn.task import UnlearningData


class Report:
    """The rows of one run and the scores behind them, saved after each method.

    The report takes over the rows of an earlier run with the same settings, data and code, so that a killed run goes on
    with the next method. Delete the report to compute the rows again.

    Args:
        config: settings.
        data: the run's data.
        saved: whether the report reads and writes files under ``checkpoint_dir`` and ``report_file``.
    """

    def __init__(self, config: Config, data: UnlearningData, saved: bool = True):
        self.config, self.saved = config, saved
        self.path = report_path(config)
        observed = [side for graph in (data.graph, data.valid, data.test) for side in (graph.users, graph.items)]
        self.header = {
            "model": config["model"],
            "dataset": config["dataset"],
            "seed": config["seed"],
            "config": config.as_dict(),
            "data": kept_digest(*observed, data.request.users, data.request.items),  # as in results under benchmarks/
            "interactions": {"training": len(data.graph), "validation": len(data.valid), "test": len(data.test)},
            "forget": {"type": config["forget_type"], **data.request.summary()},
            "versions": software_versions(config["device"]),
        }
        self.rows, self.scores = self._earlier() if saved else ([], {})

    def has(self, method: str) -> bool:
        """Whether the report has rows of this method."""
        return any(row["method"] == method for row in self.rows)

    def add(
        self,
        method: str,
        stage: str = "",
        metrics: Mapping[str, float] | None = None,
        scores: Mapping[str, np.ndarray] | None = None,
        offline_seconds: float = 0.0,
        online: Cost | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Add one row.

        Args:
            method, stage: the row's name.
            metrics: of the evaluator; None if there is no result.
            scores: of the evaluator, for the figure.
            offline_seconds: before the request.
            online: of the request; for the original, of its training.
            details: other facts to report.

        Returns:
            The row.
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

    def result(self) -> dict[str, Any]:
        """The report as plain data.

        Returns:
            ``model``, ``dataset``, ``seed``, ``config`` (all settings), ``data`` (a digest of the interactions),
            ``interactions`` (their number in each part, injected ones included), ``forget`` (``type`` and counts),
            ``versions``, ``results`` (the rows) and ``gaps``
            (:func:`~recbole_unlearn.evaluator.comparison.gaps_to_retrain`).
        """
        order = ["original", *self.config["unlearn_methods"]]
        rows = sorted(self.rows, key=lambda row: order.index(row["method"]))
        return {**self.header, "results": rows, "gaps": gaps_to_retrain(rows)}

    def save(self) -> None:
        """Write the JSON and, beside it, the scores (``.npz``); each file is whole or absent."""
        if self.saved:
            arrays = {f"{row}/{pairs}": values for row, sets in self.scores.items() for pairs, values in sets.items()}
            write_aside(beside(self.path, ".npz"), lambda temporary: np.savez(temporary, **arrays))
            save_json(self.path, self.result())

    def draw(self) -> None:
        """Write the figure of the scores beside the JSON."""
        if self.saved:
            picture = beside(self.path, ".png")
            order = [name for name in map(label, self.result()["results"]) if name in self.scores]
            scores = {name: self.scores[name] for name in order}
            write_aside(picture, lambda temporary: figure.score_distributions(scores, temporary))
            getLogger().info(f"Report: {self.path}   Figure: {picture}")

    def show(self) -> None:
        """Log the tables with their model, data and request."""
        result = self.result()
        forget = result["forget"]
        text = (
            f"{result['model']} on {result['dataset']}, seed {result['seed']}: "
            f"{forget['n_interactions']} interactions of {forget['n_users']} users and {forget['n_items']} items "
            f"forgotten ({forget['type']})\n{table(result['results'])}"
        )
        for row in result["results"]:
            if "details" in row:
                text += f"\n{label(row)}: " + ", ".join(f"{key} {value}" for key, value in row["details"].items())
        if result["gaps"]:
            text += f"\nAgainst Retrain:\n{table(result['gaps'])}"
        getLogger().info(text)

    def _earlier(self):
        """Rows and scores of the chosen methods from the report that this one replaces, if both are of the same run."""
        try:
            stored = json.loads(Path(self.path).read_text(encoding="utf-8"))
            with np.load(beside(self.path, ".npz")) as arrays:
                scores: dict[str, dict[str, np.ndarray]] = {}
                for key, values in arrays.items():
                    row, _, pairs = key.rpartition("/")
                    scores.setdefault(row, {})[pairs] = values
            same = all(stored[key] == self.header[key] for key in ("data", "forget", "versions"))
            same = same and self.config.same_results(stored["config"])
        except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError):
            return [], {}
        if not same:
            getLogger().warning(
                f"{self.path} has other settings, data or code, so this run replaces it; --report_file keeps both"
            )
            return [], {}
        chosen = {"original", *self.config["unlearn_methods"]}
        rows = [read_row(row) for row in stored["results"] if row["method"] in chosen]
        getLogger().info(
            f"Rows of an earlier run: {', '.join(map(label, rows))} ({self.path}; delete it to compute them again)"
        )
        return rows, {label(row): scores[label(row)] for row in rows if label(row) in scores}
