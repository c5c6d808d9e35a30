#!/usr/bin/env bash
# implicit and cmfrec: "ALS for implicit feedback, alpha = 1" is two models; implicit's is a plain shrunken SVD
#
# Expected: both follow the same paper: a seen pair has the confidence 1 + alpha * count, an unseen one 1, so that
#           with the default alpha = 1 a like weighs twice what an unseen pair weighs. Equal settings give equal
#           models.
# Happens:  implicit takes alpha * count itself as the confidence. With its default alpha = 1 and likes of 1, a like
#           weighs as much as an unseen pair: the model is the truncated SVD of the 0/1 matrix with the regularisation
#           taken off its singular values, to 1e-14. cmfrec's alpha = 1 is implicit's alpha = 2, to 1e-14, where
#           implicit's alpha = 1 is off by 0.448. Values between 0 and 1 (a share watched, a decayed count) make
#           implicit trust a like LESS than an unseen pair.
# Versions: implicit 0.7.3, cmfrec 3.5.1.post14, numpy 2.4.6, scipy 1.17.1
# Matters:  a baseline "iALS" with default settings on binary data is PureSVD; settings of a paper or of another
#           library carry over only as alpha + 1, and only for binary data.
# Output:   implicit 0.7.3, cmfrec 3.5.1.post14: largest difference of scores:
#           implicit alpha 1 to the shrunken SVD 6e-15; implicit alpha 1 to cmfrec alpha 1 0.448; implicit alpha 2 to
#           cmfrec alpha 1 1e-15
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet implicit==0.7.3 scipy==1.17.1 numpy==2.4.6 pandas==3.1.1
"$work/venv/bin/pip" install --quiet cmfrec==3.5.1.post14 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from cmfrec import CMF_implicit
from implicit.als import AlternatingLeastSquares
from scipy.sparse import coo_matrix, csr_matrix

FACTORS, REGULARISATION = 5, 1.0
likes = (np.random.default_rng(0).random((60, 40)) < 0.2).astype(np.float64)


def implicit_scores(alpha: float) -> np.ndarray:
    """Scores of implicit's ALS, solved exactly and to convergence."""
    model = AlternatingLeastSquares(factors=FACTORS, regularization=REGULARISATION, alpha=alpha, iterations=500,
                                    use_cg=False, dtype=np.float64, random_state=1, num_threads=1)
    model.fit(csr_matrix(likes), show_progress=False)
    return model.user_factors @ model.item_factors.T


def cmfrec_scores(alpha: float) -> np.ndarray:
    """The same of cmfrec."""
    model = CMF_implicit(k=FACTORS, lambda_=REGULARISATION, alpha=alpha, niter=500, use_cg=False, nthreads=1,
                         use_float=False, random_state=1, verbose=False).fit(coo_matrix(likes))
    return model.A_ @ model.B_.T


u, s, v = np.linalg.svd(likes, full_matrices=False)
shrunken = (u[:, :FACTORS] * np.maximum(s[:FACTORS] - REGULARISATION, 0)) @ v[:FACTORS]
one, two, paper = implicit_scores(1.0), implicit_scores(2.0), cmfrec_scores(1.0)
to_svd, to_paper, shifted = abs(one - shrunken).max(), abs(one - paper).max(), abs(two - paper).max()
print(f"implicit {version('implicit')}, cmfrec {version('cmfrec')}: largest difference of scores: "
      f"implicit alpha 1 to the shrunken SVD {to_svd:.0e}; implicit alpha 1 to cmfrec alpha 1 {to_paper:.3f}; "
      f"implicit alpha 2 to cmfrec alpha 1 {shifted:.0e}")
assert AlternatingLeastSquares().alpha == 1.0
assert to_svd < 1e-9 and shifted < 1e-9
assert round(to_paper, 3) == 0.448
PY
