"""A run's report: the tables, the JSON, the figures and the page."""

import json
from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from recbole_unlearn.config import Config
from recbole_unlearn.cost import Cost
from recbole_unlearn.digest import kept_digest
from recbole_unlearn.evaluator.comparison import Comparison
from recbole_unlearn.evaluator.groups import user_groups
from recbole_unlearn.files.checkpoint import write_aside
from recbole_unlearn.report.drawings import draw_attack, draw_run, draw_scores
from recbole_unlearn.report.files import beside, finite, report_path, save_json
from recbole_unlearn.report.page import page
from recbole_unlearn.report.remarks import remarked, without_remarks
from recbole_unlearn.report.result import Result
from recbole_unlearn.report.software import software_versions
from recbole_unlearn.report.tables import label, read_row
from recbole_unlearn.task import UnlearningData

SCORES = (
    "Scores of forgotten pairs, pairs never interacted with and held-out positives; Retrain's outline in every panel"
)
GAPS = "Gaps to Retrain, in multiples of the floor where there is one"
ATTACK = "ROC of the membership audit"
RUN = "run"  # in the file of arrays: a digest of the header, so that they are never taken for another run's


class Report:
    """The rows of one run and the arrays behind them, saved after each method.

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
        observed = [side for graph in data.observed for side in (graph.users, graph.items)]
        self.header = {
            "model": config["model"],
            "dataset": config["dataset"],
            "seed": config["seed"],
            "config": config.as_dict(),
            "data": kept_digest(*observed, data.request.users, data.request.items),  # as in results under benchmarks/
            "interactions": {"training": len(data.graph), "validation": len(data.valid), "test": len(data.test)},
            "forget": {"type": config["forget_type"], **data.request.summary()},
            "versions": software_versions(config),
        }
        self.users = np.asarray(data.test_data.uid_list)
        self.groups = user_groups(data.graph, data.request.users, data.request.items)
        self.rows, self.sequence, self.arrays = self._earlier() if saved else ([], [], {})

    def has(self, method: str) -> bool:
        """Whether the report has rows of this method."""
        return any(row["method"] == method for row in self.rows)

    def add(
        self,
        method: str,
        stage: str = "",
        metrics: Mapping[str, float] | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
        offline_seconds: float = 0.0,
        online: Cost | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Add one row.

        Args:
            method, stage: the row's name.
            metrics: of the evaluator; None if there is no result.
            arrays: of the evaluator: scores, users' values and lists.
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
        if arrays is not None:
            self.arrays[label(row)] = dict(arrays)
        return row

    def has_sequence(self, method: str) -> bool:
        """Whether the report has rows of this method's sequence of requests."""
        return any(row["method"] == method for row in self.sequence)

    def add_sequence(self, rows: Sequence[dict[str, Any]], arrays: Mapping[str, dict[str, np.ndarray]]) -> None:
        """Add the rows of a sequence of requests (:mod:`recbole_unlearn.sequence`), and the arrays behind them."""
        self.sequence += rows
        self.arrays |= arrays

    def finish(self) -> Result:
        """Compare the rows with Retrain's; write the report, log its tables, draw its figures and its page.

        Returns:
            ``model``, ``dataset``, ``seed``, ``config`` (all settings), ``data`` (a digest of the interactions),
            ``interactions`` (their number in each part, injected ones included), ``forget`` (``type`` and counts),
            ``versions``, ``results`` (the rows, with ``remarks`` where there are any), ``gaps``
            (:meth:`~recbole_unlearn.evaluator.comparison.Comparison.gaps`), ``groups``
            (:meth:`~recbole_unlearn.evaluator.comparison.Comparison.of_groups`) and ``sequence``
            (:func:`~recbole_unlearn.sequence.rows.compared`; empty without ``unlearn_sequence``).
        """
        rows = self._sorted()
        arrays = {(row["method"], row["stage"]): self.arrays[label(row)] for row in rows if label(row) in self.arrays}
        comparison = Comparison(rows, arrays, self.users, self.groups, self.config["seed"])
        gaps, groups = comparison.gaps(), comparison.of_groups()
        compared = {"results": remarked(rows, gaps, arrays), "gaps": gaps, "groups": groups}
        result = Result({**self.header, **compared, "sequence": self.sequence})
        self._write(result)
        getLogger().info(str(result))
        self._draw(result)
        return result

    def save(self) -> None:
        """Write the rows so far; :meth:`finish` adds their comparison."""
        rows = {"results": self._sorted(), "sequence": self.sequence}
        self._write({**self.header, **rows, "gaps": [], "groups": []})

    def _write(self, result):
        """Write a result as JSON and, beside it, the arrays (``.npz``); each file is whole or absent."""
        if self.saved:
            arrays = {f"{row}/{name}": values for row, named in self.arrays.items() for name, values in named.items()}
            arrays[RUN] = np.array(_run_of(self.header))
            write_aside(beside(self.path, ".npz"), lambda temporary: np.savez_compressed(temporary, **arrays))
            save_json(self.path, result)

    def _sorted(self):
        order = ["original", *self.config["unlearn_methods"]]
        return sorted(self.rows, key=lambda row: order.index(row["method"]))

    def _draw(self, result):
        """Draw what there is of scores, gaps to Retrain and an audit's ROC beside the JSON, and write the page."""
        if not self.saved:
            return
        pictures = {"": (SCORES, lambda path: draw_scores(result, self.arrays, path))}
        if result["gaps"]:
            pictures["-gaps"] = GAPS, lambda path: draw_run(result, path)
        if any("roc_forgotten" in named for named in self.arrays.values()):
            pictures["-audit"] = ATTACK, lambda path: draw_attack(result, self.arrays, path)
        for ending, (_, draw) in pictures.items():
            for kind in (".png", ".svg"):
                write_aside(beside(self.path, ending + kind), draw)
        drawn = {caption: Path(beside(self.path, f"{ending}.svg")) for ending, (caption, _) in pictures.items()}
        figures = {caption: path.read_text(encoding="utf-8") for caption, path in drawn.items()}
        text, file = page(result, figures), beside(self.path, ".html")
        write_aside(file, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
        names = ", ".join(beside(self.path, f"{ending}.png") for ending in pictures)
        getLogger().info(f"Report: {self.path}   Page: {file}   Figures: {names}")

    def _earlier(self):
        """Rows and arrays of the chosen methods from the report that this one replaces, if both are of the same run."""
        try:
            stored = json.loads(Path(self.path).read_text(encoding="utf-8"))
            with np.load(beside(self.path, ".npz")) as file:
                arrays: dict[str, dict[str, np.ndarray]] = {}
                for key, values in file.items():
                    row, _, name = key.rpartition("/")
                    arrays.setdefault(row, {})[name] = values
            if arrays.pop("")[RUN] != _run_of({key: stored[key] for key in self.header}):
                raise ValueError(f"{self.path} is not of the run of its arrays")
            same = all(stored[key] == self.header[key] for key in ("data", "forget", "versions"))
            same = same and self.config.same_results(stored["config"])
        except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError):
            return [], [], {}
        if not same:
            getLogger().warning(
                f"{self.path} has other settings, data or code, so this run replaces it; --report_file keeps both"
            )
            return [], [], {}
        chosen = {"original", *self.config["unlearn_methods"]}
        rows = [read_row(without_remarks(row)) for row in stored["results"] if row["method"] in chosen]
        getLogger().info(
            f"Rows of an earlier run: {', '.join(map(label, rows))} ({self.path}; delete it to compute them again)"
        )
        same = stored["config"].get("unlearn_sequence") == self.config["unlearn_sequence"]
        sequence = [read_row(row) for row in stored.get("sequence", []) if same and row["method"] in chosen]
        names = {*map(label, rows), *(name for name in arrays if sequence and name.startswith("sequence "))}
        return rows, sequence, {name: values for name, values in arrays.items() if name in names}


def _run_of(header):
    return kept_digest(json.dumps(finite(header)))
