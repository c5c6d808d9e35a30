"""What ``import recbole_unlearn`` adds to the imports of torch and RecBole, of two checkouts, by ``-X importtime``.

    python benchmarks/import_time.py BEFORE AFTER [--pairs=7]

Both folders are checkouts. One process each, in turns; in each, torch and the parts of RecBole that both checkouts import come first.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

CODE = (
    "import torch, recbole.config, recbole.trainer, recbole.utils.logger, recbole.data.dataset; import recbole_unlearn"
)
PACKAGE = "recbole_unlearn"


def import_seconds(checkout):
    """Seconds that torch and RecBole take, and that the package adds to them."""
    command = [sys.executable, "-X", "importtime", "-c", CODE]
    environment = {**os.environ, "PYTHONPATH": str(Path(checkout).resolve())}
    run = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True)
    seconds = {}
    for line in run.stderr.splitlines():
        if line.startswith("import time:") and line.count("|") == 2 and "[us]" not in line:
            _, cumulative, name = line.split("|")
            if not name.startswith("  "):  # what another module imports is in that one's time
                seconds[name.strip()] = int(cumulative) / 1e6
    others = sum(taken for name, taken in seconds.items() if name.split(".")[0] in ("torch", "recbole"))
    return others, seconds[PACKAGE]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="a checkout")
    parser.add_argument("after", help="another one")
    parser.add_argument("--pairs", type=int, default=7, help="processes of each")
    arguments = parser.parse_args()
    folders = {"before": arguments.before, "after": arguments.after}
    for folder in folders.values():
        import_seconds(folder)  # writes the bytecode
    measured = {name: [] for name in folders}
    for _ in range(arguments.pairs):
        for name, folder in folders.items():
            measured[name].append(import_seconds(folder))
    adds = {}
    for name, pairs in measured.items():
        others, adds[name] = (median(seconds) for seconds in zip(*pairs))
        each = ", ".join(f"{added:.2f}" for _, added in pairs)
        print(f"{name}: torch and RecBole {others:.2f} s; the package adds {adds[name]:.3f} s (each: {each})")
    print(f"after / before: {adds['after'] / adds['before']:.2f}")


if __name__ == "__main__":
    main()
