#!/usr/bin/env bash
# pandas: `read_csv(..., dtype="category")` makes one user of 007, 07 and 7, since 3.1
#
# Expected: categories are the file's texts, as up to 3.0 and as the user guide long promised: "always parsed as strings".
#           It is the usual way to read columns of ids in little memory.
# Happens:  if every id of a column can be read as a number, the categories are numbers, and ids of equal value become one:
#           of 007, 07, 7, 10 and 1e1 two users are left, without a warning, and their names are 7.0 and 10.0. One id with a letter
#           anywhere in the file, and all five are back. A CategoricalDtype with the ids, or dtype=str, keeps them.
# Versions: pandas 3.1.1 (and 3.0.0, which does not)
# Matters:  a deletion request for user 7 removes the rows of 007 and 07 too, or none if it looks for "7"; one new user
#           with a letter renames everybody else between two loads; a model's ids no longer fit the file.
# Output:   pandas 3.0.0: 5 users ['007', '07', '10', '1e1', '7']
#           pandas 3.1.1: 2 users [7.0, 10.0], rows of user 7: 3, of "7": 0; with user x9: 6 users
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/see.py" <<'PY'
import io
import sys

import pandas as pd

ids = ["007", "07", "7", "10", "1e1"]


def read(users, **options):
    rows = "".join(f"{user}\ti{number}\n" for number, user in enumerate(users))
    return pd.read_csv(io.StringIO(f"user\titem\n{rows}"), sep="\t", **options)["user"]


users = read(ids, dtype="category")
found = users.cat.categories.tolist()
more = read([*ids, "x9"], dtype="category").nunique()
if sys.argv[1] == "before":
    print(f"pandas {pd.__version__}: {users.nunique()} users {found}")
    assert sorted(found) == sorted(ids)
else:
    sevens, named = int((users == 7).sum()), int((users == "7").sum())
    print(f"pandas {pd.__version__}: {users.nunique()} users {found}, rows of user 7: {sevens}, of \"7\": {named}; "
          f"with user x9: {more} users")
    assert found == [7.0, 10.0] and (sevens, named, more) == (3, 0, 6)
kept = read(ids, dtype={"user": pd.CategoricalDtype(ids)})
assert kept.cat.categories.tolist() == ids and kept.nunique() == read(ids, dtype=str).nunique() == 5
PY
for version in 3.0.0:before 3.1.1:now; do
    python3 -m venv "$work/${version%:*}"
    "$work/${version%:*}/bin/pip" install --quiet "pandas==${version%:*}" numpy==2.4.6
    "$work/${version%:*}/bin/python" -I -W error "$work/see.py" "${version#*:}"
done
