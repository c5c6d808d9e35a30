#!/usr/bin/env bash
# torchmetrics: of one list, precision@1 is 0, recall@1 is 1 and nDCG@1 is 0.2: three metrics, three rules for equal
# scores
#
# Expected: with one relevant item, precision@1, recall@1, the hit rate @1, MRR@1 and nDCG@1 are the same number,
#           whatever rule breaks ties.
# Happens:  recall and hit rate sort (`argsort`), precision, MRR and MAP select (`topk`), which orders equal scores
#           differently, and nDCG averages over all orders. With five equal scores and the relevant item first in the
#           tensor: recall and hit rate 1, precision, MRR and MAP 0, nDCG 0.2. With it last, recall is 0 and nDCG
#           still 0.2.
# Versions: torchmetrics 1.9.0, torch 2.13.0 (CPU)
# Matters:  equal scores are common: popularity counts, bfloat16 scores, users whose history was deleted and whose
#           scores are all 0. Evaluations that put the positive before its sampled negatives flatter some metrics and
#           not others in the same table.
# Output:   torchmetrics 1.9.0, five equal scores, the relevant item first: nDCG 0.2, precision 0.0, MRR 0.0, MAP 0.0,
#           recall 1.0, hit rate 1.0;
#           last: nDCG 0.2, precision 0.0, MRR 0.0, MAP 0.0, recall 0.0, hit rate 0.0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 torchmetrics==1.9.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
import torch
import torchmetrics
from torchmetrics.retrieval import (RetrievalHitRate, RetrievalMAP, RetrievalMRR, RetrievalNormalizedDCG,
                                    RetrievalPrecision, RetrievalRecall)

METRICS = {"nDCG": RetrievalNormalizedDCG, "precision": RetrievalPrecision, "MRR": RetrievalMRR, "MAP": RetrievalMAP,
           "recall": RetrievalRecall, "hit rate": RetrievalHitRate}


def measured(count: int, relevant: int) -> dict[str, float]:
    """Each metric at 1 of one user with `count` equal scores."""
    target = torch.zeros(count, dtype=torch.long)
    target[relevant] = 1
    scores, user = torch.full((count,), 0.5), torch.zeros(count, dtype=torch.long)
    return {name: round(float(metric(top_k=1)(scores, target, indexes=user)), 3) for name, metric in METRICS.items()}


first, last = measured(5, 0), measured(5, 4)
print(f"torchmetrics {torchmetrics.__version__}, torch {torch.__version__}, five equal scores, "
      f"the relevant item first: {first}; last: {last}")
assert first == {"nDCG": 0.2, "precision": 0.0, "MRR": 0.0, "MAP": 0.0, "recall": 1.0, "hit rate": 1.0}
assert last == {"nDCG": 0.2, "precision": 0.0, "MRR": 0.0, "MAP": 0.0, "recall": 0.0, "hit rate": 0.0}
PY
