#!/usr/bin/env bash
# RecBole: BPR has almost no gradient for the pairs that a model ranks worst
#
# Expected: BPR's gradient with respect to the margin (positive minus negative score) is -sigmoid(-margin): the worse a
#           pair is ranked, the nearer it is to -1. Badly ranked pairs pull hardest.
# Happens:  `BPRLoss` adds gamma = 1e-10 inside the logarithm. Below a margin of about -23, where the likelihood is
#           gamma, the loss flattens out at 23.03, and the gradient falls with the likelihood: .12 at -25, .0009 at -30,
#           4e-8 at -40. In dot-product models nothing bounds the margin, and nothing reports it.
# Versions: recbole 1.2.0 (with torch 2.13.0)
# Matters:  in a batch, interactions that a trained model finds impossible (injected, mislabelled or new ones) weigh next
#           to nothing, where BPR would have them weigh most. A reimplementation with logsigmoid differs.
# Output:   recbole 1.2.0, gradient at a margin of -5, -20, -25, -30, -40: -0.993, -0.954, -0.122, -0.000935, -4.25e-08;
#           of softplus(-margin): -0.993, -1, -1, -1, -1
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
from importlib.metadata import version

import torch
from recbole.model.loss import BPRLoss

MARGINS = (-5.0, -20.0, -25.0, -30.0, -40.0)


def gradients(loss) -> list[float]:
    """The derivative of a loss by the score of the positive, for a negative of score 0."""
    scores = [torch.tensor([margin], requires_grad=True) for margin in MARGINS]
    return [torch.autograd.grad(loss(score, torch.zeros(1)), score)[0].item() for score in scores]


theirs = gradients(BPRLoss())
exact = gradients(lambda positive, negative: torch.nn.functional.softplus(negative - positive).mean())
shown = [", ".join(f"{value:.3g}" for value in values) for values in (theirs, exact)]
print(f"recbole {version('recbole')}, gradient at a margin of -5, -20, -25, -30, -40: {shown[0]}; "
      f"of softplus(-margin): {shown[1]}")
assert all(value < -0.99 for value in exact)
assert abs(theirs[0] - exact[0]) < 1e-3
assert -0.13 < theirs[2] < -0.11 and -1e-3 < theirs[3] < -9e-4 and -1e-7 < theirs[4] < 0
PY
