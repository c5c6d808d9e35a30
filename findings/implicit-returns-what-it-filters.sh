#!/usr/bin/env bash
# implicit: items that are filtered out come back when the list has room for them
#
# Expected: `recommend(..., filter_already_liked_items=True, filter_items=[...])` never returns a filtered item; where
#           fewer than N remain, the list is shorter, or padded with an id that is no item.
# Happens:  a filtered item only gets the score -3.4e38 and stays in the ranking, so the list is always N long: the
#           user who liked items 0, 1 and 2 of four, with item 3 filtered (an item taken down, say), gets two of the
#           liked ones; with item 3 the only candidate left and N = 4, the three liked items follow it.
#           Nearest-neighbour models give them the score 0. The same holds for `similar_items`: the filtered items
#           come last.
# Versions: implicit 0.7.3, numpy 2.4.6, scipy 1.17.1
# Matters:  a forgotten or withdrawn item on the filter list is served to exactly the heavy users and narrow
#           catalogues (`items=`) that have little left; a metric over N counts these as recommendations.
# Output:   implicit 0.7.3: liked [0, 1, 2], filtered [3], N=2: items [1, 0], scores below -3e38
#           liked [0, 1, 2], N=4: items [3, 2, 1, 0], finite score for the first only
#           similar to 0, filtered [1, 2], N=4: items [0, 3, 2, 1]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet implicit==0.7.3 scipy==1.17.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
import implicit
import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse import csr_matrix

likes = csr_matrix(np.array([[1, 1, 1, 0], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 1]], dtype=np.float32))
models = [kind(factors=2, iterations=5, random_state=3, num_threads=1)
          for kind in (AlternatingLeastSquares, BayesianPersonalizedRanking)]
for model in models:
    model.fit(likes, show_progress=False)
    items, scores = model.recommend(0, likes[0], N=2, filter_already_liked_items=True, filter_items=[3])
    full, full_scores = model.recommend(0, likes[0], N=4, filter_already_liked_items=True)
    if model is models[0]:
        print(f"implicit {implicit.__version__}: liked [0, 1, 2], filtered [3], N=2: items {items.tolist()}, "
              f"scores below -3e38: {bool((scores < -3e38).all())}")
        print(f"liked [0, 1, 2], N=4: items {full.tolist()}, scores {full_scores.tolist()}")
    assert len(items) == 2 and set(items) < {0, 1, 2} and (scores < -3e38).all()
    assert full[0] == 3 and set(full[1:]) == {0, 1, 2}
    assert full_scores[0] > -10 and (full_scores[1:] < -3e38).all()

similar, _ = models[0].similar_items(0, N=4, filter_items=[1, 2])
print(f"similar to 0, filtered [1, 2], N=4: items {similar.tolist()}")
assert similar.tolist()[:2] == [0, 3] and set(similar) == {0, 1, 2, 3}

neighbours = CosineRecommender(K=20, num_threads=1)
neighbours.fit(likes, show_progress=False)
items, scores = neighbours.recommend(0, likes[0], N=4, filter_already_liked_items=True)
assert items[0] == 3 and set(items[1:]) == {0, 1, 2} and scores[0] > 0 and (scores[1:] == 0).all()
PY
