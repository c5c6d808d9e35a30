"""Compare three methods on a request of whole users, and look at every number as a table.

python examples/compare_methods.py [--any_key=value ...]
"""

import sys

from recbole_unlearn import run_unlearn

# How long to train is the backbone's own setting; this is a short look, of a minute.
SETTINGS = {"forget_type": "user", "forget_ratio": 0.01, "unlearn_methods": ["Retrain", "UnlearnRec", "DropEdges"]}


def main(arguments: list[str]) -> None:
    """Run, with settings from the command line on top."""
    given = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    report = run_unlearn(
        model=given.pop("model", "LightGCN"), dataset=given.pop("dataset", "ml-100k"), config_dict={**SETTINGS, **given}
    )
    frame = report.to_frame()
    print(frame.filter(regex=r"^(ndcg@\d+|MI-BF|AUC_FN|online_seconds)$").round(3))
    distances = frame.filter(regex="_gap$").dropna()
    nearest = distances.drop(index="Retrain", level="method").sum(axis=1).idxmin()
    print(f"Nearest to Retrain, of all gaps together: {' '.join(nearest)}")


if __name__ == "__main__":
    main(sys.argv[1:])
