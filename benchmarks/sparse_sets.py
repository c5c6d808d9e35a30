"""Two sparse datasets cut from gowalla and yelp2018, on which UnlearnRec's target was chosen; see target.md.

    python benchmarks/sparse_sets.py ../shared/datasets sets
    python run_unlearn.py --model=LightGCN --dataset=yelp-sparse --data_path=sets

``yelp-sparse`` has 8,500 users and 55 % of their interactions; ``gowalla-sparse`` 1,900 active users, 70 %, and all of
their items, most of which have few.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd


def core(rows: pd.DataFrame, of_user: int, of_item: int) -> pd.DataFrame:
    """The rows whose users and items keep at least so many of them."""
    while True:
        before = len(rows)
        rows = rows[rows.groupby("user_id:token")["item_id:token"].transform("size") >= of_user]
        rows = rows[rows.groupby("item_id:token")["user_id:token"].transform("size") >= of_item]
        if len(rows) == before:
            return rows


def cut(rows: pd.DataFrame, n_users: int, share: float, least: int, rng: np.random.Generator) -> pd.DataFrame:
    """Random users who have at least ``least`` rows, and a random share of theirs."""
    counts = rows["user_id:token"].value_counts()
    users = rng.choice(np.sort(counts.index[counts >= least]), n_users, replace=False)
    rows = rows[rows["user_id:token"].isin(users)]
    return rows[rng.random(len(rows)) < share]


def main(source: str, target: str) -> None:
    """Write both datasets into a folder."""
    rng = np.random.default_rng(0)
    read = {name: pd.read_csv(Path(source, name, f"{name}.inter"), sep="\t") for name in ("yelp2018", "gowalla")}
    datasets = {
        "yelp-sparse": core(cut(read["yelp2018"], 8500, 0.55, 1, rng), 5, 5),
        "gowalla-sparse": core(cut(read["gowalla"], 1900, 0.7, 40, rng), 10, 1),
    }
    for name, rows in datasets.items():
        folder = Path(target, name)
        folder.mkdir(parents=True, exist_ok=True)
        rows.to_csv(folder / f"{name}.inter", sep="\t", index=False)
        n_users, n_items = (rows[field].nunique() for field in ("user_id:token", "item_id:token"))
        print(f"{name}: {n_users} users, {n_items} items, {len(rows)} interactions")


if __name__ == "__main__":
    main(*sys.argv[1:])
