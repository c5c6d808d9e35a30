#!/usr/bin/env bash
# RecBole: NGCF drops messages when it predicts, too: the same user gets other recommendations at every call
#
# Expected: after `model.eval()` nothing is dropped, and two predictions of one model are equal.
# Happens:  `NGCF.forward` makes a new `nn.Dropout(message_dropout)` at every call. A new module is in training mode, and
#           `eval()` reaches only the modules that a model holds. So the shipped message_dropout = 0.1 zeroes a tenth of
#           each layer in validation, in testing and in `full_sort_predict`, without a seed of its own. The dropout of
#           edges (`node_dropout`) is a module that the model holds, and stops.
# Versions: recbole 1.2.0 (with torch 2.13.0); 1.2.1 holds its dropout as a module, and does not
# Matters:  each validation, and so early stopping and every comparison of two models, scores a different random
#           thinning. Two evaluations of one checkpoint differ; an unlearned model that equals a retrained one bit for bit
#           seems to differ from it.
# Output:   recbole 1.2.0: of a user's first 10 items, two predictions of one model in evaluation mode share 46% as shipped,
#           100% with message_dropout=0 and node_dropout=0.5, 100% without both
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
import sys
from importlib.metadata import version

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import NGCF
from recbole.utils import init_seed

K = 10
sys.argv = sys.argv[:1]  # RecBole reads it too


def predictions(**settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of all items for the first hundred users, twice, of one model in evaluation mode after three epochs."""
    config = Config("NGCF", "ml-100k", config_dict={"gpu_id": "", "state": "ERROR", **settings})
    init_seed(config["seed"], config["reproducibility"])
    train, _, _ = data_preparation(config, create_dataset(config))
    model = NGCF(config, train.dataset)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(3):
        for batch in train:
            optimizer.zero_grad()
            model.calculate_loss(batch).backward()
            optimizer.step()
    model.eval()
    users = {"user_id": torch.arange(1, 101)}
    with torch.no_grad():
        scores = []
        for _ in range(2):
            model.restore_user_e = model.restore_item_e = None  # as another training step or a fresh model does
            scores.append(model.full_sort_predict(users).view(100, -1)[:, 1:])
    return scores[0], scores[1]


def in_common(first: torch.Tensor, second: torch.Tensor) -> float:
    """The share of a user's first K items that both have."""
    tops = [scores.topk(K).indices for scores in (first, second)]
    return (tops[0][:, :, None] == tops[1][:, None]).any(dim=2).float().mean().item()


shipped, of_edges, without = (
    predictions(),
    predictions(message_dropout=0.0, node_dropout=0.5),
    predictions(message_dropout=0.0),
)
shares = [in_common(*each) for each in (shipped, of_edges, without)]
print(f"recbole {version('recbole')}: of a user's first {K} items, two predictions of one model in evaluation "
      f"mode share {shares[0]:.0%} as shipped, {shares[1]:.0%} with message_dropout=0 and node_dropout=0.5, "
      f"{shares[2]:.0%} without both")
assert shares[0] < 0.9
assert torch.equal(*of_edges) and torch.equal(*without)
PY
