"""Epochs of one process against those of several that hold some columns each: in turns, with as many threads each.

    OMP_NUM_THREADS=1 python benchmarks/nproc_ratio.py --data_path=../shared/datasets

A case is a backbone, a dataset and a batch. Both train from the same weights on the same batches, so that an epoch's losses are
equal up to the order of sums. An epoch includes the exchange of columns before and after it.
"""

import argparse
import logging
from time import perf_counter

import torch
from pairs import times_faster

from recbole_unlearn.config import Config
from recbole_unlearn.data.dataset import Dataset
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.model import MODELS
from recbole_unlearn.process_group import process_group
from recbole_unlearn.streams import begin_stream
from recbole_unlearn.trainer import ColumnParallelTrainer, ResumableTrainer
from recbole_unlearn.trainer.column_parallel import END, tell, work

CASES = ("LightGCN,gowalla,65536", "LightGCN,ml-1m,2048", "SGL,ml-1m,32768", "SimGCL,ml-1m,32768")


def compare(case: str, nproc: int, pairs: int, data_path: str) -> None:
    """Print medians, the median ratio of pairs, and the last epochs' losses."""
    name, dataset, batch = case.split(",")
    settings = {"data_path": data_path, "gpu_id": "", "train_batch_size": int(batch), "show_progress": False}
    config = Config(name, dataset, config_dict=settings)
    train = Dataset(config).build()[0]
    loader = train_loader(config, train)
    trainers = []
    for trainer_class, size in ((ResumableTrainer, 1), (ColumnParallelTrainer, nproc)):
        own = config.replace(nproc=size)
        begin_stream(own, "weights")
        trainers.append(trainer_class(own, MODELS[name](own, train), "nproc_ratio"))
    seconds, losses = [], []
    with process_group(trainers[1].config, work, (trainers[1], loader)):
        trainers[1].check_gradient(loader)
        for epoch in range(1 + pairs):
            seconds.append([])
            losses.append([])
            for trainer in trainers:
                start = perf_counter()
                losses[-1].append(trainer.one_pass(loader, epoch))
                seconds[-1].append(perf_counter() - start)
        tell(END)
    ratio = times_faster(seconds[1:], "one process", f"{nproc} processes")  # the first epoch touches memory first
    print(f"{case}: {ratio}; loss of the last epoch {losses[-1][0]:.6g} and {losses[-1][1]:.6g}", flush=True)


def main():
    """Compare all cases."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_path", required=True)
    parser.add_argument("--case", action="append", help=f"default {' '.join(CASES)}")
    parser.add_argument("--nproc", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    for case in options.case or CASES:
        compare(case, options.nproc, options.pairs, options.data_path)


if __name__ == "__main__":
    main()
