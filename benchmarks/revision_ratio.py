"""The wall time of a deletion request against that of an earlier commit: pairs interleaved, on one machine.

    OMP_NUM_THREADS=1 python benchmarks/revision_ratio.py --checkpoint=saved/original-LightGCN-ml-1m-random-2021.pth

The earlier commit is checked out as a git worktree for the time of the run. Each build serves a store of its own, made
from a copy of the checkpoint, in a process that has imported everything; a request takes the time from loading the current
version to the published one, receipts included.
"""

import argparse
import shutil
import sys
import time
from contextlib import ExitStack

import numpy as np
from builds import Build, checkouts

EARLIER, SIZES, PAIRS = "4eef287", (1, 100), 15


def serve(checkpoint: str) -> None:
    """Prepare the store of a checkpoint; then, for each line with a size, apply a request of it and print its seconds."""
    import torch

    from recbole_unlearn.deletion import service
    from recbole_unlearn.deletion.requests import DeletionRequest
    from recbole_unlearn.deletion.version.state import State

    state = State.load(service.prepare(checkpoint).current().folder)
    graph = state.graphs()["train"]
    order = iter(torch.randperm(len(graph), generator=torch.Generator().manual_seed(1)).tolist())
    print("ready", flush=True)
    for number, line in enumerate(sys.stdin):
        edges = [next(order) for _ in range(int(line))]
        users, items = (
            state.tokens["user"][graph.users[edges].numpy()],
            state.tokens["item"][graph.items[edges].numpy()],
        )
        request = DeletionRequest(f"r{number}", [("interaction", *pair) for pair in zip(users, items)])
        start = time.perf_counter()
        service.unlearn(checkpoint, [request])
        print(f"answer {time.perf_counter() - start}", flush=True)


def compare(checkpoint: str) -> None:
    """Print the medians of both builds and the median of the ratios of pairs."""
    with checkouts(EARLIER) as (folder, sources), ExitStack() as stack:
        builds = []
        for name, source in zip(("before", "after"), sources):
            (folder / name).mkdir()
            copy = shutil.copy(checkpoint, folder / name)
            build = Build(source, __file__, folder / f"{name}.log", f"--checkpoint={copy}")
            builds.append(stack.enter_context(build))
        for size in SIZES:
            for build in builds:
                build.ask(size)  # warm
            pairs = np.array([[build.ask(size)[0] for build in builds] for _ in range(PAIRS)])
            ratios, (before, after) = pairs[:, 1] / pairs[:, 0], np.median(pairs, axis=0)
            low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
            print(
                f"{size:4d} interactions, {PAIRS} pairs: {EARLIER} {before:.3f} s, now {after:.3f} s; ratio {middle:.2f} "
                f"(quartiles {low:.2f} to {high:.2f})",
                flush=True,
            )


def main() -> None:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="a trained model that both builds read")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    (serve if arguments.serve else compare)(arguments.checkpoint)


if __name__ == "__main__":
    main()
