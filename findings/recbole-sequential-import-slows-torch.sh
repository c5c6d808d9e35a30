#!/usr/bin/env bash
# RecBole: the import of its sequential models turns on torch's anomaly detection, for the whole process and for good
#
# Expected: importing a module, or looking a model up by its name, leaves torch as it is. `set_detect_anomaly` is a debugging aid that
#           its documentation says slows down execution.
# Happens:  `recbole.model.sequential_recommender` imports all its models, and SINE's module turns anomaly detection on as it is
#           imported. `get_model` passes through that package on its way to any knowledge-aware model, so that RecBole trains KGAT and
#           its like, and every sequential model, with it. A gradient that is not a number then raises a RuntimeError of
#           autograd's from `backward`, for every other model of the process, too.
# Versions: recbole 1.2.0 (with torch 2.13.0, numpy 1.26.4)
# Matters:  a benchmark that imports the sequential models, or looks up a knowledge-aware one, before it times others times them in
#           debugging mode; code that waits for RecBole's "Training loss is nan" gets another error.
# Output:   recbole 1.2.0, torch 2.13.0+cpu: anomaly detection is False at first, False after get_model('LightGCN'), True after
#           get_model('KGAT'); in a new process True after importing GRU4Rec; the gradient of sqrt(0 * x) at 0: before nan, after
#           RuntimeError: Function 'MulBackward0' returned nan values in its 0th output.
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
import subprocess
import sys
from importlib.metadata import version

import torch
from recbole.utils import get_model


def gradient() -> str:
    """Of sqrt(0 * x) at 0, which is no number."""
    x = torch.zeros(1, requires_grad=True)
    try:
        torch.sqrt(0 * x).sum().backward()
        return str(x.grad.item())
    except RuntimeError as error:
        return f"RuntimeError: {str(error).splitlines()[0]}"


first, before = torch.is_anomaly_enabled(), gradient()
get_model("LightGCN")
general = torch.is_anomaly_enabled()
get_model("KGAT")
knowledge, after = torch.is_anomaly_enabled(), gradient()
code = "import torch; from recbole.model.sequential_recommender import GRU4Rec; print(torch.is_anomaly_enabled())"
imported = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True).stdout.strip()
print(
    f"recbole {version('recbole')}, torch {version('torch')}: anomaly detection is {first} at first, {general} after "
    f"get_model('LightGCN'), {knowledge} after get_model('KGAT'); in a new process {imported} after importing GRU4Rec; "
    f"the gradient of sqrt(0 * x) at 0: before {before}, after {after}"
)
assert (first, general, knowledge, imported) == (False, False, True, "True"), "the import leaves torch as it is"
assert before == "nan" and after.startswith("RuntimeError"), "anomaly detection does not stop on it"
PY
