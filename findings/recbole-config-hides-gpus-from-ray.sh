#!/usr/bin/env bash
# RecBole and Ray: a Config for the CPU makes Ray refuse the GPUs that it is told of
#
# Expected: `gpu_id: ""` is one model's setting. Other models, and other libraries of the process, keep their GPUs.
# Happens:  building the Config writes `CUDA_VISIBLE_DEVICES=""` into the process, where it stays. A `ray.init(num_gpus=1)`
#           that worked before then ends in a ValueError that names neither RecBole nor the setting.
# Versions: recbole 1.2.0, ray 2.60.0 (with torch 2.13.0, numpy 1.26.4)
# Matters:  a sweep, a test suite or a service that first builds a CPU Config (to read its settings, say) and then starts
#           its cluster gets no cluster, and whatever else runs in the process finds no GPU.
# Output:   recbole 1.2.0, ray 2.60.0: told of one GPU, Ray has 1 GPU; after a Config with gpu_id ""
#           (CUDA_VISIBLE_DEVICES ''): ValueError: Attempting to start raylet with 1 GPU, but CUDA_VISIBLE_DEVICES
#           contains []
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==1.26.4 pandas==2.2.3 scipy==1.12.0 scikit-learn==1.5.2 \
    colorama==0.4.4 colorlog==4.7.2 tqdm==4.70.1 pyyaml==6.0.4 texttable==1.7.0 tabulate==0.10.0 psutil==7.2.2 \
    tensorboard==2.21.0 plotly==7.1.0 thop==0.1.1.post2209072238
"$work/venv/bin/pip" install --quiet --no-deps recbole==1.2.0 kmeans-pytorch==0.3
"$work/venv/bin/pip" install --quiet ray==2.60.0
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
import logging
import os
from importlib.metadata import version

logging.disable(logging.CRITICAL)
os.environ.pop("CUDA_VISIBLE_DEVICES", None)
import ray
from recbole.config import Config


def started() -> str:
    """What Ray says of one GPU that it is told of: it starts, or the error."""
    try:
        ray.init("local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
        return f"{ray.cluster_resources()['GPU']:.0f} GPU"
    except ValueError as error:
        return f"ValueError: {error}".split(".")[0]
    finally:
        ray.shutdown()


before = started()
Config(model="BPR", dataset="ml-100k", config_dict={"gpu_id": ""})
hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
after = started()
print(f"recbole {version('recbole')}, ray {version('ray')}: told of one GPU, Ray has {before}; "
      f"after a Config with gpu_id \"\" (CUDA_VISIBLE_DEVICES {hidden!r}): {after}")
assert before == "1 GPU" and hidden == "" and after.startswith("ValueError")
PY
