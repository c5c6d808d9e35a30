"""Serve a request a day for a week: one user after the other leaves, from a model that stays in memory.

python examples/a_request_a_day.py [--days=7] [--any_key=value ...]
"""

import sys
from time import perf_counter

from recbole_unlearn import Deletion, DeletionRequest, run_unlearn
from recbole_unlearn.deletion.verify.verification import verify
from recbole_unlearn.report.files import model_file
from recbole_unlearn.saved_model import load_current, load_model

SETTINGS = {"forget_type": "random", "forget_ratio": 0.001, "unlearn_methods": ["DropEdges"]}  # leaves a checkpoint


def main(arguments: list[str]) -> None:
    """Train (or load the same training), delete day by day, and search the store at the end."""
    given = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    n_days = int(given.pop("days", 7))
    report = run_unlearn(
        model=given.pop("model", "LightGCN"), dataset=given.pop("dataset", "ml-100k"), config_dict={**SETTINGS, **given}
    )
    checkpoint = model_file(report["config"], "original")
    _, model, tokens = load_model(checkpoint)
    leaving = [tokens["user"][user] for user in model.graph.users.unique()[:n_days].tolist()]

    deletion = Deletion(checkpoint)  # it loads the model once; a job that runs daily calls run-unlearn delete instead
    for day, name in enumerate(leaving, 1):
        start = perf_counter()
        result = deletion.unlearn([DeletionRequest(f"day-{day}", [("user", name, None)])])
        seconds = perf_counter() - start
        current = load_current(result["store"])
        print(
            f"day {day}: {seconds:.2f} s, version {current.version}, {len(current.model.graph)} interactions are left"
        )
    print("verified: clean" if verify(checkpoint).is_clean() else "verified: see run-unlearn verify")


if __name__ == "__main__":
    main(sys.argv[1:])
