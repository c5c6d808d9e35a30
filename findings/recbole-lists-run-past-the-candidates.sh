#!/usr/bin/env bash
# RecBole: a top-K list of a user with fewer than K candidates goes on with items that are none, the same for all users
#
# Expected: with `mode: {test: uni1}` each test item is ranked against one drawn item. A user then has two candidates,
#           and metrics of lists with K = 10 (ItemCoverage, AveragePopularity, GiniIndex, ShannonEntropy,
#           TailPercentage) are of these two.
# Happens:  scores of all other items are minus infinity, and the list takes ten items all the same: behind the two
#           candidates come items that nobody ranked, nearly the same eight for every user, some of them from the
#           user's own training rows. Full ranking does the same to users with fewer than K unseen items.
# Versions: recbole 1.2.0 (with torch 2.13.0, numpy 1.26.4, pandas 2.2.3)
# Matters:  diversity and popularity of what is "recommended" are mostly those of the filling: a catalogue's tail looks
#           served or not by its ids, and two models, or a model before and after unlearning, look alike.
# Output:   recbole 1.2.0: 80 candidates of 40 users; places of their lists with other items 320, which are 15 different
#           ones, 7 times one that the user has in training; ItemCoverage@10 0.4229, of the candidates alone 0.3632
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
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer

# 40 users and 200 items of equal popularity: five training rows, one validation row and one test row of each user.
folder = pathlib.Path("data/shop")
folder.mkdir(parents=True)
for part, steps in {"train": range(5), "valid": [5], "test": [6]}.items():
    lines = "".join(f"{u}\t{(5 * u + 31 * k) % 200}\n" for u in range(40) for k in steps)
    (folder / f"shop.{part}.inter").write_text("user_id:token\titem_id:token\n" + lines)

settings = {"data_path": "data", "benchmark_filename": ["train", "valid", "test"], "gpu_id": "", "topk": [10],
            "load_col": {"inter": ["user_id", "item_id"]}, "metrics": ["NDCG", "ItemCoverage"],
            "valid_metric": "NDCG@10", "eval_args": {"mode": {"valid": "uni1", "test": "uni1"}}}
config = Config(model="BPR", dataset="shop", config_dict=settings)
np.random.seed(0)
dataset = create_dataset(config)
train, _, test = data_preparation(config, dataset)
trainer = Trainer(config, BPR(config, train.dataset))

kept = {}
collect = trainer.eval_collector.get_data_struct
def keep():
    collected = collect()
    kept.update(lists=collected.get("rec.items").numpy())
    return collected
trainer.eval_collector.get_data_struct = keep

candidates = {}
collate = test.collate_fn
def note(index):
    batch = collate(index)
    for user, item in zip(batch[0]["user_id"].tolist(), batch[0]["item_id"].tolist()):
        candidates.setdefault(user, set()).add(item)
    return batch
test.collate_fn = note

trainer.eval_collector.data_collect(train)
result = trainer.evaluate(test, load_best_model=False)
lists = dict(zip(candidates, kept["lists"].tolist()))
behind = [(user, item) for user, items in lists.items() for item in items if item not in candidates[user]]
seen = set(zip(train.dataset.inter_feat["user_id"].tolist(), train.dataset.inter_feat["item_id"].tolist()))
known = sum(pair in seen for pair in behind)
fillers = len({item for _, item in behind})
own = len({item for items in candidates.values() for item in items}) / dataset.item_num
print(f"recbole {version('recbole')}: {sum(map(len, candidates.values()))} candidates of {len(lists)} users; places of "
      f"their lists with other items {len(behind)}, which are {fillers} different ones, {known} times one that the user "
      f"has in training; ItemCoverage@10 {result['itemcoverage@10']}, of the candidates alone {own:.4f}")
assert len(behind) == 320 and fillers < 40 and result["itemcoverage@10"] > own
PY
