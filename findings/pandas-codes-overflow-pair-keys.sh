#!/usr/bin/env bash
# pandas: `user.cat.codes * n_items + item.cat.codes` gives half of ml-100k's pairs the key of another pair
#
# Expected: category codes are integers like others (int64), so user * n_items + item names a pair uniquely.
# Happens:  codes have the smallest type that holds the categories: int8 up to 127, int16 up to 32767. The product
#           stays int16 (a Python integer does not widen it) and wraps round without a warning: at the size of ml-100k
#           (943 users, 1682 items) the keys of 97,006 different pairs are 51,270 different numbers. `.to_numpy()`
#           first changes nothing. (Where n_items itself does not fit the type, numpy 2 raises; where it does, as
#           here, nothing is said.)
# Versions: pandas 3.1.1, numpy 2.4.6
# Matters:  dropping repeats by key loses half of the interactions; `np.isin(keys, forgotten_keys)` forgets other
#           people's pairs, and filters their negatives. A test with ten users passes.
# Output:   pandas 3.1.1, numpy 2.4.6: codes int16 and int16, keys int16: 97006 pairs, 51270 keys;
#           forgetting the 109 pairs of one user by key forgets 270
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pandas==3.1.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -I -W error - <<'PY'
import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
drawn = {"user": rng.integers(1, 944, 100_000), "item": rng.integers(1, 1683, 100_000)}
pairs = pd.DataFrame(drawn).astype(str)
pairs = pairs.drop_duplicates().astype("category")
users, items = pairs["user"].cat.codes, pairs["item"].cat.codes
n_items = len(pairs["item"].cat.categories)
keys = users * n_items + items
as_array = users.to_numpy() * n_items + items.to_numpy()
own = (pairs["user"] == "1").to_numpy()
forgotten = np.isin(keys, keys[own])
print(f"pandas {pd.__version__}, numpy {np.__version__}: codes {users.dtype} and {items.dtype}, keys {keys.dtype}: "
      f"{len(pairs)} pairs, {keys.nunique()} keys; "
      f"forgetting the {own.sum()} pairs of one user by key forgets {forgotten.sum()}")
assert users.dtype == items.dtype == keys.dtype == as_array.dtype == np.int16
assert (len(pairs), keys.nunique(), len(np.unique(as_array))) == (97006, 51270, 51270)
assert (own.sum(), forgotten.sum()) == (109, 270)
wide = users.astype(np.int64) * n_items + items
assert wide.nunique() == len(pairs)
PY
