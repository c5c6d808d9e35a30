#!/usr/bin/env bash
# LightGBM: a user without any positive counts as a perfect list in NDCG and MAP, so forgetting test rows raises the
# score
#
# Expected: a query group (a user's candidates) whose labels are all 0 counts 0, as in scikit-learn and trec_eval, or
#           is left out.
# Happens:  it counts 1.0 in both `ndcg@k` and `map@k`, whatever the model does. Ten users whose one positive is
#           ranked below the top 5 score 0; when nine of them ask that their test interaction be forgotten (its label
#           becomes 0), the same scores on the same rows give 0.9.
# Versions: lightgbm 4.7.0, scikit-learn 1.9.1, numpy 2.4.6
# Matters:  early stopping and sweeps on a log in which most users click nothing in a session compare numbers between,
#           say, 0.95 and 0.97 that are made of empty groups; an unlearned model seems to get better with each
#           deletion.
# Output:   lightgbm 4.7.0, scikit-learn 1.9.1: all ten users with their positive: ndcg@5 0.0, map@5 0.0, scikit-learn
#           0.0;
#           nine positives forgotten: ndcg@5 0.9, map@5 0.9, scikit-learn 0.0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet lightgbm==4.7.0 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
from importlib.metadata import version

import lightgbm
import numpy as np
from sklearn.metrics import ndcg_score

USERS, CANDIDATES = 10, 10
feature = np.tile(np.arange(CANDIDATES, 0, -1.0), USERS)[:, None]
train = lightgbm.Dataset(feature, (feature[:, 0] > 5).astype(int), group=[CANDIDATES] * USERS, free_raw_data=False)
settings = {"objective": "lambdarank", "metric": ["ndcg", "map"], "eval_at": [5], "verbose": -1, "num_threads": 1,
            "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0.0, "min_data_in_bin": 1, "num_leaves": 10}


def measured(labels: np.ndarray) -> list[float]:
    """ndcg@5 and map@5 of LightGBM, and ndcg@5 of scikit-learn, of one model's scores."""
    valid = lightgbm.Dataset(feature, labels.ravel(), group=[CANDIDATES] * USERS, reference=train)
    results: dict = {}
    model = lightgbm.train(settings, train, 20, valid_sets=[valid], valid_names=["test"],
                           callbacks=[lightgbm.record_evaluation(results)])
    scores = model.predict(feature).reshape(USERS, CANDIDATES)
    assert ((scores > scores[:, -1:]).sum(axis=1) >= 5).all()
    return [results["test"]["ndcg@5"][-1], results["test"]["map@5"][-1], float(ndcg_score(labels, scores, k=5))]


labels = np.zeros((USERS, CANDIDATES), dtype=int)
labels[:, -1] = 1
before = measured(labels)
labels[1:, -1] = 0
after = measured(labels)
print(f"lightgbm {version('lightgbm')}, scikit-learn {version('scikit-learn')}")
for what, values in (("all ten users with their positive", before), ("nine positives forgotten", after)):
    print(f"{what}: ndcg@5 {values[0]:.1f}, map@5 {values[1]:.1f}, scikit-learn {values[2]:.1f}")
assert np.allclose(before, [0, 0, 0]) and np.allclose(after, [0.9, 0.9, 0.0])
PY
