"""The wall time of a deletion request against that of an earlier commit: pairs interleaved, on one machine.

    OMP_NUM_THREADS=1 python benchmarks/revision_ratio.py --checkpoint=saved/original-LightGCN-ml-1m-random-2021.pth

The earlier commit is checked out as a git worktree for the time of the run. Each build serves a store of its own, made
from a copy of the checkpoint, in a process that has imported everything; a request takes the time from loading the current
version to the published one, receipts included.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

EARLIER, SIZES, PAIRS = "e6764c5", (1, 100), 15


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
        print(f"seconds {time.perf_counter() - start}", flush=True)


class Build:
    """A process of one checkout that serves requests."""

    def __init__(self, source: Path, checkpoint: str, folder: Path) -> None:
        copy = folder / Path(checkpoint).name
        folder.mkdir()
        shutil.copy(checkpoint, copy)
        command = [sys.executable, __file__, f"--serve={copy}"]
        environment = {**os.environ, "PYTHONPATH": str(source)}
        self.log = folder / "log"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log.open("w")}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        self._answer("ready")

    def seconds(self, size: int) -> float:
        """Wall time of a request of ``size`` interactions."""
        self.process.stdin.write(f"{size}\n")
        self.process.stdin.flush()
        return float(self._answer("seconds").split()[1])

    def _answer(self, word: str) -> str:
        for line in self.process.stdout:
            if line.startswith(word):
                return line
        raise RuntimeError(f"{self.process.args} has ended: {self.log.read_text()}")


def compare(checkpoint: str) -> None:
    """Print the medians of both builds and the median of the ratios of pairs."""
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder, "earlier")
        git = ["git", "-C", str(here), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(earlier), EARLIER], check=True)
        try:
            builds = [
                Build(earlier, checkpoint, Path(folder, "before")),
                Build(here, checkpoint, Path(folder, "after")),
            ]
            for size in SIZES:
                for build in builds:
                    build.seconds(size)  # warm
                pairs = np.array([[build.seconds(size) for build in builds] for _ in range(PAIRS)])
                ratios, (before, after) = pairs[:, 1] / pairs[:, 0], np.median(pairs, axis=0)
                low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
                print(
                    f"{size:4d} interactions, {PAIRS} pairs: {EARLIER} {before:.3f} s, now {after:.3f} s; ratio {middle:.2f} "
                    f"(quartiles {low:.2f} to {high:.2f})",
                    flush=True,
                )
            for build in builds:
                build.process.stdin.close()
                build.process.wait()
        finally:
            subprocess.run([*git, "remove", "--force", str(earlier)], check=True)


def main() -> None:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", help="a trained model that both builds read")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    serve(arguments.serve) if arguments.serve else compare(arguments.checkpoint)


if __name__ == "__main__":
    main()
