#!/bin/sh
# On a machine with an NVIDIA GPU: checks that it computes what the CPU computes, times both, and writes benchmarks/gpu.md.
#     sh benchmarks/gpu.sh [--data_path=../shared/datasets] [--dataset=ml-1m]
set -eu
cd "$(dirname "$0")/.."
timeout 600 python benchmarks/gpu.py "$@"
