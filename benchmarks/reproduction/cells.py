"""A cell: one run of the public pipeline, and the JSON that is left of it."""

import json
import shlex
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from recbole_unlearn.config import Config, agree, results_settings
from recbole_unlearn.errors import UsageError
from recbole_unlearn.report.figure import SETS
from recbole_unlearn.report.files import beside, save_json

ROOT = Path(__file__).parents[2]
SEEDS = (2021, 2022, 2023)
SCRIPTS = {"case-study": "benchmarks/case_study.py"}  # of a request; others are run_unlearn.py's `forget_type`
OF_THE_CELL = (
    "forget_type",
    "forget_file",
    "unlearn_methods",
)  # settings that the cell itself says; the case study sets its own
BINS = 120


@dataclass(frozen=True)
class Cell:
    """One method on one request against one backbone; the case study is one, of UnlearnRec and Retrain.

    Args:
        dataset, model, method (str): as in ``run_unlearn.py``.
        request (str): ``forget_type``, or ``case-study``.
        seed (int): of everything.
        setting (str): a yaml file of ``properties/setting``, by its name, or the path of another one. A file beside it with
            the backbone's name behind its own, e.g. ``d64-SGL.yaml``, belongs to it.
        changes (tuple): further settings, ``(key, value)`` each.
    """

    dataset: str
    model: str
    method: str
    request: str = "adversarial"
    seed: int = SEEDS[0]
    setting: str = "d64"
    changes: tuple = ()

    @property
    def file(self):
        """Path of the cell's JSON in a folder of results."""
        changes = "".join(f"-{key}={value}" for key, value in self.changes)
        folder = Path(Path(self.setting).stem, self.dataset, self.model, self.request)
        return folder / f"{self.method}{changes}-{self.seed}.json"

    def __str__(self):
        return str(self.file.with_suffix(""))

    @property
    def command(self):
        """The script and its arguments, but for those of the machine, from the repository's root."""
        script = SCRIPTS.get(self.request, "run_unlearn.py")
        request = [] if self.request in SCRIPTS else [("forget_type", self.request), ("unlearn_methods", self.method)]
        named = [
            ("model", self.model),
            ("dataset", self.dataset),
            ("seed", self.seed),
            ("config_files", " ".join(self._files)),
        ]
        return [script, *(f"--{key}={value}" for key, value in (*named, *request, *self.changes))]

    @property
    def _files(self):
        """The setting's yaml files, from the repository's root."""
        named = Path("properties/setting", f"{self.setting}.yaml")
        shared = named if (ROOT / named).is_file() else Path(self.setting)
        of_the_model = shared.with_stem(f"{shared.stem}-{self.model}")
        return [shared.as_posix(), *([of_the_model.as_posix()] if (ROOT / of_the_model).is_file() else [])]

    @property
    def settings(self):
        """The settings that its results depend on, as all yaml files say today; none if its setting's is gone, e.g. a user's own."""
        if not (ROOT / self._files[0]).is_file():
            return {}
        return {
            **_settings(self.model, self.dataset, self.method, tuple(self._files)),
            "seed": self.seed,
            **dict(self.changes),
        }


def load(folder, cell):
    """What is left of a cell's run, or ``None`` if it was not run.

    Args:
        folder (str): of results.
        cell (Cell): which.

    Returns:
        dict: what :func:`save` wrote. What another cell left under the same name, or the same
            with other settings, does not count. Settings that came or went since make no difference: delete what a new one changes.

    Raises:
        UsageError: its file is damaged, or another program's.
    """
    file = Path(folder) / cell.file
    if not file.is_file():
        return None
    there, result = _read(file)
    return result if there == cell and agree(cell.settings, result["settings"]) else None


def cells_there(folder):
    """The cells in a folder of results, in the order of their files; what a killed process has half written is none.

    Raises:
        UsageError: a file is damaged, or another program's.
    """
    files = sorted(Path(folder).glob("*/*/*/*/[!.]*.json"))
    return [cell for cell, _ in map(_read, files)]


def save(folder, cell, result):
    """Write a cell's JSON, whole or not at all: the cell, its command, and what is left of its run.

    Args:
        folder (str): of results.
        cell (Cell): that was run.
        result (dict): of :func:`distil`.
    """
    file = Path(folder) / cell.file
    file.parent.mkdir(parents=True, exist_ok=True)
    save_json(str(file), {"cell": asdict(cell), "command": shlex.join(["python", *cell.command]), **result})


def distil(report_file):
    """What is kept of a run: its report without the machine's settings, and its scores as histograms.

    Args:
        report_file (str): where its report is, the scores beside it.

    Returns:
        dict: the report's entries but for ``config`` and ``gaps``; ``settings`` that its results depend on; and ``scores``: a
        row's name to its sets of pairs, each ``mean``, ``low`` and ``high`` (ends of the bins) and ``counts``.
    """
    report = json.loads(Path(report_file).read_text(encoding="utf-8"))
    kept = {key: value for key, value in report.items() if key not in ("config", "gaps")}
    scores = {}
    if Path(beside(report_file, ".npz")).is_file():
        with np.load(beside(report_file, ".npz")) as arrays:
            for key, values in arrays.items():
                row, _, pairs = key.rpartition("/")
                if pairs in SETS:  # the others are lists, users' values and curves
                    scores.setdefault(row, {})[pairs] = histogram(values)
    return {**kept, "settings": _without_cell(report["config"]), "scores": scores}


def histogram(values):
    """Counts of values in ``BINS`` bins of equal width, as plain data."""
    if len(values) == 0:
        return {"mean": None, "low": 0.0, "high": 1.0, "counts": [0] * BINS}
    counts, edges = np.histogram(values, bins=BINS)
    return {"mean": float(values.mean()), "low": float(edges[0]), "high": float(edges[-1]), "counts": counts.tolist()}


def values_of(histogram):
    """An array of as many values as a histogram counted, evenly over each bin: other bins see no gaps between them."""
    counts = np.array(histogram["counts"])
    edges, width = np.linspace(histogram["low"], histogram["high"], len(counts) + 1, retstep=True)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5
    return np.repeat(edges[:-1], counts) + width * within / np.repeat(counts, counts)


def _read(file):
    """The cell of a file, and what :func:`save` wrote into it."""
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{file} is no JSON ({error}): delete it to run its cell again.") from None
    try:
        cell = Cell(**{**result["cell"], "changes": tuple(map(tuple, result["cell"]["changes"]))})
        return cell, {**result, "settings": {**result["settings"]}}
    except (KeyError, TypeError):
        raise UsageError(
            f"{file} is no cell of reproduce.py's: move it elsewhere, or delete it to run its cell again."
        ) from None


@cache
def _settings(model, dataset, method, files):
    """Of a cell but for its seed and changes; a configuration takes 50 ms to build."""
    config = Config(model, dataset, [str(ROOT / file) for file in files], {"unlearn_methods": method})
    return _without_cell(config.as_dict())


def _without_cell(settings):
    """Of all settings, those that results depend on and that the cell does not say."""
    return {key: value for key, value in results_settings(settings).items() if key not in OF_THE_CELL}
