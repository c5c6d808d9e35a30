#!/usr/bin/env bash
# pandas + PyArrow + LightGBM: a user without a single row is named in the Parquet file, the Feather file and the
# trained model
#
# Expected: `log[log.user_id != forgotten]` written to Parquet holds the values of its rows and no others; a model
#           trained on these rows knows their users and no others.
# Happens:  a categorical column keeps the categories that lost their last row, and each step hands the list on.
#           PyArrow writes the dictionary page with the unused entry, as it does for a dictionary array filtered
#           without pandas; LightGBM writes the list as plain JSON at the end of its model file. Reading the Parquet
#           file back as text shows nothing: the rows are clean. (Compressed files hold it just so; the script writes
#           plain ones to look for the bytes.) Written as strings, or after `remove_unused_categories`, the token is
#           gone.
# Versions: pandas 3.1.1, pyarrow 26.0.1, lightgbm 4.7.0, numpy 2.4.6
# Matters:  category (dictionary) columns are the usual form of user and item ids. The "remaining" data and the model
#           retrained from scratch on it still tell who asked to be forgotten.
# Output:   the forgotten token is in: parquet True, arrow table filtered True, feather True, lightgbm model True;
#           parquet of strings False, parquet after remove_unused_categories False
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pandas==3.1.1 pyarrow==26.0.1 lightgbm==4.7.0 scipy==1.17.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
import pathlib
from importlib.metadata import version

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FORGOTTEN = "user-to-forget"
users = np.array(["first-user", FORGOTTEN, "third-user", "fourth-user"] * 20)
log = pd.DataFrame({"user_id": pd.Categorical(users), "item_id": np.arange(80) % 7, "liked": np.arange(80) // 4 % 2})
remaining = log[log["user_id"] != FORGOTTEN].reset_index(drop=True)
assert FORGOTTEN not in set(remaining["user_id"])

remaining.to_parquet("parquet", compression=None)
assert set(pd.read_parquet("parquet")["user_id"].astype(str)) == set(users) - {FORGOTTEN}
table = pa.table({"user_id": pa.array(users).dictionary_encode()})
filtered = table.filter(pc.not_equal(table["user_id"].cast(pa.string()), FORGOTTEN))
pq.write_table(filtered, "arrow table filtered", compression="none")
remaining.to_feather("feather", compression="uncompressed")
model = lightgbm.train({"objective": "binary", "verbose": -1, "min_data_in_leaf": 1, "num_threads": 1},
                       lightgbm.Dataset(remaining[["user_id", "item_id"]], remaining["liked"]), num_boost_round=2)
model.save_model("lightgbm model")
remaining.to_parquet("compressed")
unused = pq.read_table("compressed", read_dictionary=["user_id"])["user_id"].chunk(0).dictionary.to_pylist()
assert FORGOTTEN in unused
remaining.astype({"user_id": str}).to_parquet("parquet of strings", compression=None)
cleaned = remaining.assign(user_id=remaining["user_id"].cat.remove_unused_categories())
cleaned.to_parquet("parquet after remove_unused_categories", compression=None)

names = ("parquet", "arrow table filtered", "feather", "lightgbm model", "parquet of strings",
         "parquet after remove_unused_categories")
found = {name: FORGOTTEN.encode() in pathlib.Path(name).read_bytes() for name in names}
print(", ".join(f"{name} {version(name)}" for name in ("pandas", "pyarrow", "lightgbm")))
print("the forgotten token is in:", ", ".join(f"{name} {is_in}" for name, is_in in found.items()))
print(pathlib.Path("lightgbm model").read_text().strip().splitlines()[-1])
assert list(found.values()) == [True, True, True, True, False, False]
PY
