"""The wall time of a deletion request against that of an earlier commit: interleaved, on one machine.

    OMP_NUM_THREADS=1 python benchmarks/revision_ratio.py --checkpoint=saved/original-LightGCN-ml-1m-random-2020.pth --data_path=../shared/datasets

The checkpoint is one that the earlier commit wrote, or RecBole, so that both read it. The earlier commit is checked out as a git worktree for
the time of the run. Each build serves a store of its own, made from a copy of the checkpoint, in a process that has imported
everything; a request takes the time from loading the current version to the published one, receipts included. ``kept`` is this
checkout with one Deletion object, which loads the model once.
"""

import argparse
import shutil
import sys
import time
from contextlib import ExitStack

import numpy as np
from builds import Build, checkouts
from pairs import times_faster

EARLIER, SIZES, PAIRS = "e6764c5", (1, 100), 9


def serve(checkpoint: str, data_path: str | None, kept: bool) -> None:
    """Prepare the store of a checkpoint; then, for each line with a size, apply a request of it and print its seconds."""
    import torch

    from recbole_unlearn.deletion import service

    try:
        from recbole_unlearn.deletion.request_file import DeletionRequest  # of the earlier commit
        from recbole_unlearn.deletion.state import State
    except ImportError:
        from recbole_unlearn.deletion.requests import DeletionRequest
        from recbole_unlearn.deletion.version.state import State

    settings = {"data_path": data_path} if data_path else {}
    state = State.load(service.prepare(checkpoint, settings).current().folder)
    unlearn = service.Deletion(checkpoint).unlearn if kept else lambda requests: service.unlearn(checkpoint, requests)
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
        unlearn([request])
        print(f"answer {time.perf_counter() - start}", flush=True)


def compare(checkpoint: str, data_path: str | None) -> None:
    """Print the medians of the builds, and how many times faster than the earlier one the others are."""
    with checkouts(EARLIER) as (folder, (earlier, here)), ExitStack() as stack:
        builds = []
        for name, source, more in ((EARLIER, earlier, ()), ("now", here, ()), ("kept", here, ("--kept",))):
            (folder / name).mkdir()
            options = [f"--checkpoint={shutil.copy(checkpoint, folder / name)}", *more]
            options += [f"--data_path={data_path}"] if data_path else []
            builds.append(stack.enter_context(Build(source, __file__, folder / f"{name}.log", *options)))
        for size in SIZES:
            for build in builds:
                build.ask(size)  # warm
            seconds = np.array([[build.ask(size)[0] for build in builds] for _ in range(PAIRS)])
            for number, name in enumerate(("now", "kept"), start=1):
                print(f"{size:4d} interactions: {times_faster(seconds[:, [0, number]], EARLIER, name)}", flush=True)


def main() -> None:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="a trained model that both builds read")
    parser.add_argument("--data_path", help="folder of its dataset")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.checkpoint, arguments.data_path, arguments.kept)
    else:
        compare(arguments.checkpoint, arguments.data_path)


if __name__ == "__main__":
    main()
