#!/usr/bin/env bash
# Recommenders: recall@k leaves out users who got no recommendations, ndcg@k of the same call counts them as 0
#
# Expected: all metrics of one library average over the same users; a user for whom the model gives nothing is a miss.
# Happens:  precision, recall and MAP average over the users of both tables; NDCG joins the other way and keeps every
#           user of the truth. A model that serves one user of ten, and serves that one well, has recall@10 = 1.0 and
#           ndcg@10 = 0.1. An item that stands twice in a user's list counts twice: three copies of the only relevant
#           item give recall@10 = 3.0.
# Versions: recommenders 1.2.1, pandas 2.3.3, numpy 1.26.4
# Matters:  cold and forgotten users are those without recommendations: the more a model drops, the better its recall.
#           Merging lists of several candidate sources makes the repeats.
# Output:   recommenders 1.2.1: one of ten users served: recall@10 1.0, map@10 1.0, precision@10 0.1, ndcg@10 0.1;
#           one item three times: recall@10 3.0, map@10 3.0, ndcg@10 1.503
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==1.26.4 pandas==2.3.3 scikit-learn==1.5.2 scipy==1.13.1
"$work/venv/bin/pip" install --quiet --no-deps recommenders==1.2.1
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
from importlib.metadata import version

import pandas as pd
from recommenders.evaluation.python_evaluation import map_at_k, ndcg_at_k, precision_at_k, recall_at_k

METRICS = {"recall@10": recall_at_k, "map@10": map_at_k, "precision@10": precision_at_k, "ndcg@10": ndcg_at_k}


def measured(truth: list[tuple[str, str]], served: list[tuple[str, str, float]]) -> dict[str, float]:
    """Each metric at 10, to three decimals."""
    true = pd.DataFrame(truth, columns=["userID", "itemID"]).assign(rating=1.0)
    recommended = pd.DataFrame(served, columns=["userID", "itemID", "prediction"])
    return {name: round(float(metric(true, recommended, k=10)), 3) for name, metric in METRICS.items()}


one_of_ten = measured([(f"user{n}", "wanted") for n in range(10)],
                      [("user0", "wanted", 1.0), *(("user0", f"other{n}", -float(n)) for n in range(9))])
three_times = measured([("user0", "wanted")], [("user0", "wanted", score) for score in (3.0, 2.0, 1.0)])
print(f"recommenders {version('recommenders')}: one of ten users served: {one_of_ten}; "
      f"one item three times: {three_times}")
assert one_of_ten == {"recall@10": 1.0, "map@10": 1.0, "precision@10": 0.1, "ndcg@10": 0.1}
assert three_times == {"recall@10": 3.0, "map@10": 3.0, "precision@10": 0.3, "ndcg@10": 1.503}
PY
