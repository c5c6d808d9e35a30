"""A run's sequence of requests: all methods forget the same users, and are measured on the way."""

from collections import defaultdict
from logging import getLogger
from typing import Any

from recbole.utils import set_color

from recbole_unlearn.display import Display, show
from recbole_unlearn.errors import NoResult
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.files.checkpoint import write_aside
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import UnlearnableRecommender
from recbole_unlearn.report.files import beside
from recbole_unlearn.report.report import Report
from recbole_unlearn.report.tables import label
from recbole_unlearn.sequence.figure import draw_drift
from recbole_unlearn.sequence.requests import drawn_users, measured_points, union_of
from recbole_unlearn.sequence.rows import SAID, Arrays, Row, compared, kept_arrays, key_of, seconds_of, sequence_table
from recbole_unlearn.sequence.work import answers
from recbole_unlearn.task import UnlearningData


class RequestSequence:
    """``unlearn_sequence`` requests of single users, which each method forgets one after the other.

    Models are measured after 1/4, 1/2, 3/4 and all of the requests, on the pairs forgotten so far, with the held-out
    pairs of the whole run; the target is a Retrain that trains on what remains there.

    Args:
        config (Config): settings.
        data: the run's data.

    Raises:
        UsageError: there are fewer users than requests.
    """

    def __init__(self, config: Any, data: UnlearningData) -> None:
        self.config, self.data = config, data
        self.users = drawn_users(config, data.graph)
        self.points = measured_points(len(self.users))

    def run(self, original: UnlearnableRecommender, report: Report, display: Display) -> None:
        """Let each method of the run forget the users, unless the report has its rows; add rows, table and figure."""
        config, logger = self.config, getLogger()
        self.evaluators = {
            after: UnlearningEvaluator(config, union_of(self.data, self.users[:after]), original)
            for after in self.points
        }
        if not report.has_sequence("original"):
            report.add_sequence(*self._of_original(original))
        for name in config["unlearn_methods"]:
            if report.has_sequence(name):
                continue
            title = set_color(f"{len(self.users)} requests through {name}", "pink")
            logger.info(f"{title} ({display.begin(step_of(name))})")
            report.add_sequence(*self._of_method(name, original))
            report.save()
        report.sequence = compared(report.sequence, report.arrays, report.users, config["seed"])
        logger.info(f"{len(self.users)} requests one after the other:\n{sequence_table(report.sequence)}")
        if report.saved:
            picture = beside(report.path, "-sequence.png")
            write_aside(picture, lambda temporary: draw_drift(report.sequence, temporary))
            logger.info(f"Figure of the sequence: {picture}")

    def _of_original(self, original):
        rows: list[Row] = []
        arrays: dict[str, Arrays] = {}
        for after in self.points:
            self._measure({"method": "original", "stage": "", "after": after}, original, rows, arrays)
        return rows, arrays

    def _of_method(self, name, original):
        """The rows of one method and their arrays; a method that cannot go on has a row that says why."""
        rows: list[Row] = []
        arrays: dict[str, Arrays] = {}
        seconds: defaultdict[str, list[float]] = defaultdict(list)
        between, peak, done = 0.0, 0.0, 0
        try:
            for answer in answers(name, self.config, self.data, original, self.users, self.points):
                done, stage = answer.after, answer.stage.name
                seconds[stage].append(answer.cost.seconds)
                between += answer.between
                peak = max(peak, answer.cost.peak_memory_mb)
                if not METHODS[name].memoryless:  # such a one skips most of them, and shows its trainings
                    show("request", done, len(self.users))
                if done not in self.points:
                    continue
                row = {"method": name, "stage": stage, "after": done}
                row |= {key: value for key, value in answer.stage.details.items() if key in SAID}
                costs = {
                    "offline_seconds": answer.offline.seconds,
                    "peak_memory_mb": peak,
                    **seconds_of(seconds[stage]),
                }
                costs["seconds_between"] = between / max(1, len(seconds[stage]) - 1)
                row = self._measure(row, answer.stage.model, rows, arrays, costs)
                getLogger().info(set_color(f"{label(row)} after {done}", "yellow") + f": {row}")
        except (NoResult, NotImplementedError) as error:
            text = f"no result after {done} of {len(self.users)} requests: {error}"
            rows.append({"method": name, "stage": "", "after": done, "no result": text})
            getLogger().warning(f"{name}: {text}")
        return rows, arrays

    def _measure(self, row, model, rows, arrays, costs=None):
        metrics, scores = self.evaluators[row["after"]].evaluate(model)
        row |= {**metrics, **(costs or {})}
        rows.append(row)
        arrays[key_of(row)] = kept_arrays(scores)
        return row


def step_of(name: str) -> str:
    """The step of a run that is a method's sequence, on the display."""
    return f"{name} through the sequence"
