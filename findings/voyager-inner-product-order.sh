#!/usr/bin/env bash
# voyager: InnerProduct finds 17 % of the right items, or 95 %, by nothing but the order in which the items were added
#
# Expected: voyager turns the inner product into a true distance (one more coordinate fills every vector up to the
#           largest norm), so its HNSW graph finds the largest inner products at least as well as a graph on the raw
#           inner product, in any order.
# Happens:  the exact reduction makes the graph bad. Added in an order that has nothing to do with norms, as ids are,
#           5000 items are found at recall@10 0.172 (ef 100); hnswlib on the raw inner product, same M, ef and order:
#           0.98. hnswlib on the same extra coordinate falls as far, so it is the reduction: queries lie far from
#           every item, long items are the only near ones, and they get no links from earlier short ones. Added
#           longest first: 0.952. Returned distances are right in all.
# Versions: voyager 2.2.3, hnswlib 0.8.0, numpy 2.4.6
# Matters:  norms of item embeddings differ (popularity lives there), and ids are not sorted by norm. An index that is
#           rebuilt after a deletion, with its rows in another order, changes what everybody is recommended; a recall
#           test on unit vectors misses it.
# Output:   voyager 2.2.3, hnswlib 0.8.0: recall@10: as drawn: voyager 0.172, hnswlib ip 0.976, hnswlib l2 with the
#           extra
#           coordinate 0.166; longest first: voyager 0.952
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet voyager==2.2.3 hnswlib==0.8.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
from importlib.metadata import version

import hnswlib
import numpy as np
import voyager

ITEMS, DIMENSIONS, TOP = 5000, 64, 10
rng = np.random.default_rng(0)
items = rng.standard_normal((ITEMS, DIMENSIONS)).astype(np.float32)
items *= rng.lognormal(0, 0.3, (ITEMS, 1)).astype(np.float32)
users = rng.standard_normal((200, DIMENSIONS)).astype(np.float32)
right = np.argsort(-(users @ items.T), axis=1)[:, :TOP]


def recall(found: np.ndarray) -> float:
    """The share of the right items among those found."""
    return float(np.mean([len(set(a) & set(b)) / TOP for a, b in zip(found, right)]))


def with_voyager(order: np.ndarray) -> float:
    """Recall of an index that takes the items in the order given."""
    index = voyager.Index(voyager.Space.InnerProduct, DIMENSIONS, M=12, ef_construction=200, random_seed=1)
    index.add_items(items[order], ids=order, num_threads=1)
    found, distances = index.query(users, TOP, query_ef=100, num_threads=1)
    inner = np.take_along_axis(users @ items.T, found.astype(np.int64), axis=1)
    assert np.allclose(distances, 1 - inner, atol=1e-2)
    return recall(found)


def with_hnswlib(space: str, vectors: np.ndarray, queries: np.ndarray) -> float:
    """The same of hnswlib, in the order drawn."""
    index = hnswlib.Index(space, vectors.shape[1])
    index.init_index(ITEMS, M=12, ef_construction=200, random_seed=1)
    index.add_items(vectors, num_threads=1)
    index.set_ef(100)
    return recall(index.knn_query(queries, TOP, num_threads=1)[0])


norms = np.linalg.norm(items, axis=1)
filled = np.c_[items, np.sqrt(np.maximum(norms.max() ** 2 - norms**2, 0))].astype(np.float32)
drawn, sorted_by_norm = with_voyager(np.arange(ITEMS)), with_voyager(np.argsort(-norms))
raw = with_hnswlib("ip", items, users)
reduced = with_hnswlib("l2", filled, np.c_[users, np.zeros(len(users), np.float32)])
print(f"voyager {version('voyager')}, hnswlib {version('hnswlib')}: recall@{TOP}: as drawn: "
      f"voyager {drawn:.3f}, hnswlib ip {raw:.3f}, hnswlib l2 with the extra coordinate {reduced:.3f}; "
      f"longest first: voyager {sorted_by_norm:.3f}")
assert drawn < 0.3 and reduced < 0.3
assert raw > 0.9 and sorted_by_norm > 0.9
PY
