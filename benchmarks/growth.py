"""Seconds and memory by the number of interactions, of this checkout and, with --earlier, of an earlier commit.

    OMP_NUM_THREADS=1 python benchmarks/growth.py --sizes=1e5,1e6,9.2e6 [--earlier]

Interactions are synthetic, of users and items whose popularity follows a power law; there are as many per user and per item
as in 9.2 million of 150,000 users and 60,000 items. The table is untrained, since no cost here depends on what it holds. The
request is .1 % of the training interactions, at random. Each build measures each size in a process of its own: loading and
splitting, ``prepare`` of UnlearnRec without a twin, its zero-shot (median of three) with the final embeddings, a row of a
report (ranking and scores); in brackets the peak of resident memory by then.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from builds import checkouts

from recbole_unlearn.files.checkpoint import write_aside

EARLIER = "e6764c5"
PER_USER, PER_ITEM = 9.2e6 / 150_000, 9.2e6 / 60_000
POWERS, OFFSET = (0.6, 0.8), 10  # popularity of the n-th user, and item: (n + OFFSET) ** -POWER
STEPS = ("loading", "prepare", "zero-shot", "row of a report")


def write_interactions(path: Path, n_rows: int) -> None:
    """Write distinct interactions, in random order, as RecBole's ``.inter`` file."""
    rng = np.random.default_rng(0)
    sizes = round(n_rows / PER_USER), round(n_rows / PER_ITEM)
    shares = [(np.arange(1, size + 1) + OFFSET) ** -power for size, power in zip(sizes, POWERS)]
    cumulated = [np.cumsum(share / share.sum()) for share in shares]
    pairs = np.empty(0, dtype=np.int64)
    while len(pairs) < n_rows:
        drawn = [np.searchsorted(each, rng.random(n_rows)).clip(max=size - 1) for each, size in zip(cumulated, sizes)]
        pairs = np.unique(np.concatenate([pairs, drawn[0] * sizes[1] + drawn[1]]))
    pairs = rng.permutation(pairs)[:n_rows]
    table = pd.DataFrame({"user_id:token": pairs // sizes[1], "item_id:token": pairs % sizes[1]})
    write_aside(path, lambda temporary: table.to_csv(temporary, sep="\t", index=False))


def measure(folder: str, dataset: str) -> None:
    """Print a line of JSON: seconds by step, and the peak of memory by then in MiB."""
    import torch

    from recbole_unlearn.config import Config
    from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
    from recbole_unlearn.method import METHODS
    from recbole_unlearn.model import MODELS

    try:
        from recbole_unlearn.data.split import prepare_data  # of the earlier commit
    except ImportError:
        from recbole_unlearn.task import prepare_data

    try:
        from recbole_unlearn.cost import give_back_memory
    except ImportError:  # of the earlier commit
        give_back_memory = None

    settings = {"data_path": folder, "gpu_id": "", "forget_type": "random", "forget_ratio": 0.001, "embedding_size": 64}
    config = Config("LightGCN", dataset, config_dict={**settings, "n_layers": 3, "checkpoint_dir": folder})
    torch.manual_seed(0)
    seconds, peaks, start = {}, {}, time.perf_counter()

    def passed(step):
        nonlocal start
        seconds[step] = time.perf_counter() - start
        peaks[step] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        start = time.perf_counter()

    data = prepare_data(config)
    passed("loading")
    if give_back_memory:
        give_back_memory()  # as each training does before it begins
    model = MODELS["LightGCN"](config, data.train).eval()
    model.final_embeddings()
    method = METHODS["UnlearnRec"](config, data, model)
    start = time.perf_counter()
    method.prepare()
    passed("prepare")
    tries = []
    stage = None
    for _ in range(3):
        del stage  # one result at a time, as in a run
        if hasattr(type(data), "remaining_graph"):  # the earlier commit makes it while it loads
            vars(data).pop("remaining_graph", None)
        start = time.perf_counter()
        stage = next(method.unlearn())
        stage.model.final_embeddings()
        passed("zero-shot")
        tries.append(seconds["zero-shot"])
    seconds["zero-shot"] = float(np.median(tries))
    evaluator = UnlearningEvaluator(config, data, model)
    start = time.perf_counter()
    evaluator.evaluate(stage.model)
    passed("row of a report")
    print(json.dumps({"seconds": seconds, "MiB": peaks}))


def measured(source: Path, folder: Path, dataset: str) -> dict:
    """What a build prints."""
    command = [sys.executable, __file__, f"--measure={dataset}", f"--folder={folder}"]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    """Parse the arguments, and print a line for each size and build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1e5,1e6,9.2e6", help="numbers of interactions")
    parser.add_argument("--earlier", action="store_true", help=f"also {EARLIER}, as a git worktree")
    parser.add_argument("--folder", help="of the data; default temporary")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.folder, arguments.measure)
        return
    with checkouts(EARLIER) as (temporary, sources):
        for size in map(float, arguments.sizes.split(",")):
            dataset = f"synthetic-{size:g}"
            folder = Path(arguments.folder or temporary)
            path = folder / dataset / f"{dataset}.inter"
            if not path.exists():
                write_interactions(path, int(size))
            for name, source in zip((EARLIER, "now"), sources):
                if name == "now" or arguments.earlier:
                    result = measured(source, folder, dataset)
                    steps = (
                        f"{step} {result['seconds'][step]:.3g} s ({result['MiB'][step]:.0f} MiB)" for step in STEPS
                    )
                    print(f"{size:g} interactions, {name}: {', '.join(steps)}", flush=True)


if __name__ == "__main__":
    main()
