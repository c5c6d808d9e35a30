#!/usr/bin/env bash
# implicit + scipy: likes set to 0, or to -1, train BPR exactly as likes do; `matrix[user] = 0` makes the user like
# every item
#
# Expected: a user is forgotten by setting the row's values to 0 (or a dislike is told by a negative value) and
#           training again; every model of the library reads a 0 as "no interaction".
# Happens:  scipy keeps stored zeros, and implicit's BPR looks at what is stored, never at the values. Trained on the
#           original, on zeros and on minus ones, its factors are equal bit by bit. ALS of the same library reads the
#           same stored zeros as absent (equal to a matrix without them). `matrix[user] = 0` on CSR stores a zero for
#           EVERY item of the row, so BPR then trains on 30 likes of a user who had 5, and who was to be forgotten.
# Versions: implicit 0.7.3, scipy 1.17.1, numpy 2.4.6
# Matters:  "retrained without the user" can be the very model that was to be replaced, and a check with ALS does not
#           notice.
# Output:   implicit 0.7.3, scipy 1.17.1: stored entries: original 239, zeros 239, row assigned 264, removed 234
#           BPR  largest difference of factors: zeros to original 0.0, minus ones to original 0.0, zeros to removed
#           0.189
#           ALS  largest difference of factors: zeros to original 1.200, zeros to removed below 1e-6
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet implicit==0.7.3 scipy==1.17.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
import implicit
import numpy as np
import scipy
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_matrix

USER = 5
likes = csr_matrix((np.random.default_rng(0).random((40, 30)) < 0.2).astype(np.float32))


def valued(value: float) -> csr_matrix:
    """The likes, with every stored value of the user replaced."""
    matrix = likes.copy()
    matrix.data[matrix.indptr[USER] : matrix.indptr[USER + 1]] = value
    return matrix


def distance(model, one: csr_matrix, other: csr_matrix) -> float:
    """The largest difference between the factors of two models trained with one seed on one thread."""
    fitted = []
    for matrix in (one, other):
        trained = model(factors=8, iterations=20, random_state=3, num_threads=1)
        trained.fit(matrix, show_progress=False)
        fitted.append(np.concatenate([trained.user_factors, trained.item_factors], axis=None))
    return float(abs(fitted[0] - fitted[1]).max())


zeros, minus_ones = valued(0), valued(-1)
removed = zeros.copy()
removed.eliminate_zeros()
assigned = likes.copy()
assigned[USER] = 0
print(f"implicit {implicit.__version__}, scipy {scipy.__version__}: stored entries: original {likes.nnz}, "
      f"zeros {zeros.nnz}, row assigned {assigned.nnz}, removed {removed.nnz}")
assert (likes.nnz, zeros.nnz, assigned.nnz, removed.nnz) == (239, 239, 264, 234)
assert assigned[USER].nnz == 30 and assigned[USER].sum() == 0

bpr = [distance(BayesianPersonalizedRanking, *pair) for pair in ((zeros, likes), (minus_ones, likes), (zeros, removed))]
print(f"BPR  largest difference of factors: zeros to original {bpr[0]}, minus ones to original {bpr[1]}, "
      f"zeros to removed {bpr[2]:.3f}")
assert bpr[0] == bpr[1] == 0.0 and bpr[2] > 0.1

als = [distance(AlternatingLeastSquares, *pair) for pair in ((zeros, likes), (zeros, removed))]
print(f"ALS  largest difference of factors: zeros to original {als[0]:.3f}, "
      f"zeros to removed below 1e-6: {als[1] < 1e-6}")
assert als[0] > 1 and als[1] < 1e-6
PY
