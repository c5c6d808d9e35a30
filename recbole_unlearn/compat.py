"""The one place that lets RecBole 1.2 run on current numpy, scipy, pandas and torch, and in several processes at a time.

Each alias is added only where the installed library lacks it, so nothing changes on the versions RecBole was
written for. See RecBole's issues 2215, 2185, 2174 and 2034.
"""

import os
import warnings

import numpy as np
import pandas as pd
import scipy.sparse as sp

from recbole_unlearn.errors import UsageError

# numpy >= 1.24 and >= 2 removed these names; RecBole's Config and metrics still use them.
_NUMPY_ALIASES = {
    "float": np.float64,
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
    "bool": np.bool_,
}


def _dok_update(matrix, data):
    """scipy >= 1.13 hides the unchecked update that stock LightGCN and NGCF call."""
    matrix._dict.update(data)


def _fill_nan(dataset):
    """pandas >= 3 turns RecBole's chained ``fillna(inplace=True)`` into a no-op; assign instead, then let RecBole go on."""
    from recbole.utils import FeatureType

    for name in dataset.feat_name_list:
        feat = getattr(dataset, name)
        for field in feat:
            if dataset.field2type[field] == FeatureType.TOKEN:
                feat[field] = feat[field].fillna(0)
            elif dataset.field2type[field] == FeatureType.FLOAT:
                feat[field] = feat[field].fillna(feat[field].mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' notice of the very no-op; sequence fields are still RecBole's
        return _recbole_fill_nan(dataset)


def _ensure_dir(folder):
    """RecBole looks whether a folder is there and then makes it, which fails if another process comes between."""
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"RecBole writes to a folder '{folder}', and a file of that name is there: move it away.") from None


for _name, _value in _NUMPY_ALIASES.items():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 1.2x warns when a removed name is looked up
        if not hasattr(np, _name):
            setattr(np, _name, _value)

if not hasattr(sp.dok_matrix, "_update"):
    sp.dok_matrix._update = _dok_update

# Notices that RecBole's own code calls forth on current libraries and that no user can act on.
warnings.filterwarnings("ignore", message=r".*torch\.cuda\.amp\.GradScaler.*", category=FutureWarning)
warnings.filterwarnings("ignore", message=r".*The given NumPy array is not writ.*", category=UserWarning)
warnings.filterwarnings("ignore", message=r".*Sparse CSR tensor support is in beta.*", category=UserWarning)
warnings.filterwarnings("ignore", message=r".*Sparse invariant checks are implicitly disabled.*", category=UserWarning)

import recbole.trainer.trainer  # noqa: E402  (RecBole's import needs the aliases above)
import recbole.utils.logger  # noqa: E402
from recbole.data.dataset import Dataset  # noqa: E402

recbole.utils.logger.ensure_dir = recbole.trainer.trainer.ensure_dir = _ensure_dir

_recbole_fill_nan = Dataset._fill_nan
if int(pd.__version__.split(".")[0]) >= 3:
    Dataset._fill_nan = _fill_nan
