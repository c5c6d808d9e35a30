"""Each method's main settings by the same sweep: as many trials, simulated requests and validation data.

    OMP_NUM_THREADS=1 python benchmarks/fair_settings.py --datasets=ml-100k --models=LightGCN --methods=GIF,SCIF --written

A cell is a dataset, a backbone and a method. Its space is `benchmarks/spaces/METHOD.test`, UnlearnRec's is `hyper.test`.
The best trial is compared with the shipped settings on held-back requests. Only if it beats them in every round, its
settings that differ go to `properties/dataset/DATASET-MODEL.yaml` (with `--written`). A finished cell is not repeated,
and an interrupted one goes on: `FOLDER/DATASET-MODEL-METHOD.json` is the sweep's result.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_unlearn import run_sweep
from recbole_unlearn.config import method_defaults, properties_folder
from recbole_unlearn.errors import UsageError
from recbole_unlearn.method import METHODS
from recbole_unlearn.report.files import save_json
from recbole_unlearn.sweep.report import outcome
from recbole_unlearn.sweep.trials import DONE, Goal

HERE = Path(__file__).parent
WITHOUT_SETTINGS = ("Retrain", "DropEdges", "Exact")
REQUESTS = ("adversarial", "random")


def space_of(method: str) -> Path:
    """The file of a method's space."""
    return HERE.parent / "hyper.test" if method == "UnlearnRec" else HERE / "spaces" / f"{method}.test"


def confirmed(sweep: Mapping[str, Any]) -> dict[str, Any]:
    """What a sweep's best trial changes, if it beats the settings given on the search's and on all held-back requests.

    Args:
        sweep: of :func:`recbole_unlearn.run_sweep`, with at least one round of held-back requests.

    Returns:
        Settings; none if some round prefers those given.
    """
    order, best = Goal(**sweep["goal"]).order, sweep["trials"][0]
    pairs = [(best, sweep["as given"]), *((pair["best"], pair["as given"]) for pair in sweep["held back"])]
    wins = best["status"] == DONE and all(order(tried) < order(given) for tried, given in pairs)
    shipped = method_defaults(sweep["method"])
    changes = {key: value for key, value in best["point"].items() if value != shipped[key]}
    return changes if wins and sweep["held back"] else {}


def with_settings(text: str, settings: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """The text of a yaml file with settings changed in place, or added at its end.

    Args:
        text: of the file; each setting has a line.
        settings: new values.
        comments: a comment for each.
    """
    kept = [line for line in text.splitlines() if line.partition(":")[0] not in settings]
    lines = [f"{f'{key}: {json.dumps(value)}':<35} # {comments[key]}" for key, value in settings.items()]
    return "\n".join([*kept, *lines]) + "\n"


def write(dataset: str, model: str, method: str, settings: Mapping[str, Any]) -> None:
    """Write a method's settings for a dataset and a backbone."""
    path = properties_folder() / "dataset" / f"{dataset}-{model}.yaml"
    fields = METHODS[method].settings.model_fields
    comments = {
        key: f"({type(value).__name__}) {str(fields[key].description).split('. ')[0]}. Chosen by a sweep: benchmarks/settings.md."
        for key, value in settings.items()
    }
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(with_settings(text, settings, comments), encoding="utf-8")


def swept(
    dataset: str, model: str, method: str, folder: Path, trials: int, held_back: int, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The result of a cell's sweep, made now or before."""
    file = folder / f"{dataset}-{model}-{method}.json"
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    sweep = run_sweep(
        model,
        dataset,
        config_dict={**settings, "unlearn_methods": method, "checkpoint_dir": str(folder / "saved")},
        params_file=space_of(method),
        num_samples=trials,
        simulated=REQUESTS,
        held_back=held_back,
        resume=True,
    )
    save_json(str(file), sweep)
    return sweep


def lines_of(cells: Iterable[tuple[str, str, str]], sweeps: Iterable[Mapping[str, Any] | str]) -> list[str]:
    """One line a cell: its outcomes, and the settings that are confirmed."""
    lines = []
    for cell, sweep in zip(cells, sweeps):
        if isinstance(sweep, str):
            lines.append(f"{' '.join(cell)}: not swept: {sweep}")
            continue
        found = ", ".join(f"{key} {value}" for key, value in sweep["trials"][0]["point"].items())
        verdict = "confirmed" if confirmed(sweep) else "not confirmed: the shipped ones stay"
        rounds = [f"best {outcome(sweep['trials'][0])}; as given {outcome(sweep['as given'])}"]
        rounds += [
            f"held back {outcome(pair['best'])}; as given {outcome(pair['as given'])}" for pair in sweep["held back"]
        ]
        lines.append(f"{' '.join(cell)}: {found}: {verdict}\n    " + "\n    ".join(rounds))
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Sweep all cells; a failed one does not stop the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    methods = [name for name in METHODS if name not in WITHOUT_SETTINGS]
    parser.add_argument("--datasets", default="ml-100k", help="separated by commas")
    parser.add_argument("--models", default="LightGCN")
    parser.add_argument("--methods", default=",".join(methods))
    parser.add_argument("--trials", type=int, default=8, help="of every method")
    parser.add_argument("--held_back", type=int, default=2, help="rounds of requests that must confirm the best trial")
    parser.add_argument("--folder", type=Path, default=Path("saved/fair"), help="results, trainings and trials")
    parser.add_argument("--data_path", help="folder of the datasets")
    parser.add_argument("--written", action="store_true", help="write what is confirmed to properties/dataset/")
    known = parser.parse_args(arguments)
    settings = {"show_progress": False, **({"data_path": known.data_path} if known.data_path else {})}
    known.folder.mkdir(parents=True, exist_ok=True)
    names = (known.methods.split(","), known.datasets.split(","), known.models.split(","))
    cells = [(dataset, model, method) for method in names[0] for dataset in names[1] for model in names[2]]
    sweeps: list[Mapping[str, Any] | str] = []
    for dataset, model, method in cells:
        try:
            sweep = swept(dataset, model, method, known.folder, known.trials, known.held_back, settings)
            if known.written and confirmed(sweep):
                write(dataset, model, method, confirmed(sweep))
            sweeps.append(sweep)
        except UsageError as error:
            sweeps.append(str(error))
        print(*lines_of(cells[len(sweeps) - 1 :], sweeps[-1:]), flush=True)


if __name__ == "__main__":
    main()
