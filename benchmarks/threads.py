"""Training steps with one thread and with all, alone and beside a process that keeps one core busy.

    python benchmarks/threads.py --model=SimGCL --dataset=ml-100k

It says what :func:`recbole_unlearn.parallel.share_threads` is for.
"""

import argparse
from contextlib import contextmanager
from multiprocessing import Process
from statistics import median
from time import perf_counter

import torch

from recbole_unlearn.config import Config
from recbole_unlearn.data.dataset import Dataset
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.model import MODELS
from recbole_unlearn.trainer import ResumableTrainer

STEPS, REPEATS = 10, 5


def count():
    """Keep a core busy."""
    number = 0
    while True:
        number += 1


@contextmanager
def neighbours(number):
    """So many busy processes, while the block runs."""
    processes = [Process(target=count, daemon=True) for _ in range(number)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()


def main():
    """Print a line for each number of threads and of neighbours."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="SimGCL")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--data_path")
    options = parser.parse_args()
    given = {"data_path": options.data_path} if options.data_path else {}
    config = Config(options.model, options.dataset, config_dict={"gpu_id": "", "state": "WARNING", **given})
    train = Dataset(config).build()[0]
    model = MODELS[options.model](config, train)
    optimizer = ResumableTrainer(config, model, "threads").optimizer
    model.train()
    loader = train_loader(config, train, model.graph)

    def steps():
        start = perf_counter()
        for _, batch in zip(range(STEPS), loader):
            optimizer.zero_grad()
            model.calculate_loss(batch).backward()
            optimizer.step()
        return (perf_counter() - start) / STEPS

    threads = torch.get_num_threads()
    print(f"{options.model} on {options.dataset}, {threads} cores, {len(loader)} steps an epoch")
    for busy in (0, 1):
        with neighbours(busy):
            for number in (1, threads):
                torch.set_num_threads(number)
                steps()
                seconds = sorted(steps() for _ in range(REPEATS))
                print(
                    f"  {number} thread(s), {busy} busy process(es): {1000 * median(seconds):.1f} ms a step "
                    f"({1000 * seconds[0]:.1f} to {1000 * seconds[-1]:.1f})"
                )


if __name__ == "__main__":
    main()
