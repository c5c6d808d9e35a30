#!/usr/bin/env bash
# RecBole: negatives "by popularity" are drawn by the popularity in train, valid AND test
#
# Expected: `train_neg_sample_args: {distribution: popularity}` draws a training negative in proportion to how often
#           the item occurs in the training rows. An item that no training row holds is never drawn.
# Happens:  one sampler serves all phases and counts the rows of every phase. An item whose only rows are held-out
#           test rows is drawn as a training negative twice as often as uniform sampling draws it: the model learns to
#           rank down exactly what the test asks for, in proportion to how often it asks.
# Versions: recbole 1.2.0 (with torch 2.13.0, numpy 1.26.4, pandas 2.2.3)
# Matters:  offline numbers with popularity negatives are not held-out numbers. In unlearning, "retrain without these
#           rows" still depends on forgotten rows that a held-out file keeps, through the sampler alone.
# Output:   recbole 1.2.0: training rows with the item 0 of 200, test rows 30; drawn as a training negative:
#           uniform 237 of 4000, popularity 536 of 4000
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==1.26.4 pandas==2.2.3 scipy==1.12.0 scikit-learn==1.5.2 \
    colorama==0.4.4 colorlog==4.7.2 tqdm==4.70.1 pyyaml==6.0.4 texttable==1.7.0 tabulate==0.10.0 psutil==7.2.2 \
    tensorboard==2.21.0 plotly==7.1.0 thop==0.1.1.post2209072238
"$work/venv/bin/pip" install --quiet --no-deps recbole==1.2.0 kmeans-pytorch==0.3
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
import logging
import pathlib
from importlib.metadata import version

import numpy as np

logging.disable(logging.CRITICAL)
from recbole.config import Config
from recbole.data import create_dataset, data_preparation

# 40 users and 20 old items in training; the item `new` has test rows of 30 users and nothing else.
rows = {
    "train": [(u, f"old{(u + k) % 20}") for u in range(40) for k in range(5)],
    "valid": [(u, f"old{(u + 5) % 20}") for u in range(40)],
    "test": [(u, "new") for u in range(30)],
}
folder = pathlib.Path("data/shop")
folder.mkdir(parents=True)
for part, pairs in rows.items():
    lines = "".join(f"{u}\t{i}\n" for u, i in pairs)
    (folder / f"shop.{part}.inter").write_text("user_id:token\titem_id:token\n" + lines)


def drawn(distribution: str) -> tuple[int, int, int]:
    """Training rows with `new`, how often it is a training negative, and the negatives drawn, in 20 epochs."""
    negatives = {"distribution": distribution, "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0}
    settings = {"data_path": "data", "benchmark_filename": ["train", "valid", "test"], "gpu_id": "",
                "load_col": {"inter": ["user_id", "item_id"]}, "train_neg_sample_args": negatives,
                "train_batch_size": 50}
    config = Config(model="BPR", dataset="shop", config_dict=settings)
    dataset = create_dataset(config)
    train, _, _ = data_preparation(config, dataset)
    new = dataset.token2id("item_id", "new")
    np.random.seed(0)
    seen = np.concatenate([batch["neg_item_id"].numpy() for _ in range(20) for batch in train])
    return int((train.dataset.inter_feat["item_id"] == new).sum()), int((seen == new).sum()), len(seen)


in_train, uniform, total = drawn("uniform")
_, popularity, _ = drawn("popularity")
print(f"recbole {version('recbole')}: training rows with the item {in_train} of 200, test rows 30; "
      f"drawn as a training negative: uniform {uniform} of {total}, popularity {popularity} of {total}")
assert in_train == 0
assert (uniform, popularity, total) == (237, 536, 4000)
PY
