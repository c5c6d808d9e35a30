"""Training steps against those of an earlier commit: pairs interleaved, on one machine.

    OMP_NUM_THREADS=1 python benchmarks/epoch_ratio.py --data_path=../shared/datasets
    OMP_NUM_THREADS=1 python benchmarks/epoch_ratio.py --data_path=../shared/datasets --case=LightGCN,gowalla,65536,2

A case is a backbone, a dataset, a batch and the number of steps that are timed together, loading of batches included; what an
epoch draws once (SGL's views) is not in it. Each build trains in a process of its own, on batches of its own. Both first compute
the loss of one equal batch with equal weights; LightGCN's must be equal, SGL's and SimGCL's have random views.
"""

import argparse
import sys
from contextlib import ExitStack
from time import perf_counter

from builds import Build, checkouts
from pairs import times_faster

EARLIER = "e6764c5"
CASES = (
    "LightGCN,ml-1m,2048,40",
    "LightGCN,gowalla,65536,2",
    "SGL,ml-1m,32768,3",
    "SimGCL,ml-1m,32768,3",
    "SGL,gowalla,65536,1",
    "SimGCL,gowalla,65536,1",
)
PAIRS = 7


def serve(case: str, data_path: str) -> None:
    """Answer the loss of a first batch; then, for each line, train some steps and answer their seconds."""
    import torch
    from recbole.data.interaction import Interaction
    from recbole.utils import init_seed

    from recbole_unlearn.config import Config
    from recbole_unlearn.data.dataset import Dataset
    from recbole_unlearn.data.sampler import train_loader
    from recbole_unlearn.model import MODELS
    from recbole_unlearn.trainer import ResumableTrainer

    name, dataset, batch, steps = case.split(",")
    settings = {"data_path": data_path, "gpu_id": "", "train_batch_size": int(batch), "show_progress": False}
    config = Config(name, dataset, config_dict=settings)
    train = Dataset(config).build()[0]
    init_seed(0, config["reproducibility"])
    model = MODELS[name](config, train)
    optimizer = ResumableTrainer(config, model, "epoch_ratio").optimizer
    batches = iter(())
    model.train()
    fields, sizes = (model.USER_ID, model.ITEM_ID, model.NEG_ITEM_ID), (model.n_users, model.n_items, model.n_items)
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randint(1, size, (int(batch),), generator=generator) for size in sizes]
    first = model.calculate_loss(Interaction(dict(zip(fields, drawn)))).item()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "first loss":
            print(f"answer {first}", flush=True)
            continue
        start = perf_counter()
        for _ in range(int(steps)):
            interaction = next(batches, None)
            if interaction is None:
                batches = iter(train_loader(config, train, model.graph))
                interaction = next(batches)
            optimizer.zero_grad()
            loss = model.calculate_loss(interaction)
            loss.backward()
            optimizer.step()
        print(f"answer {perf_counter() - start}", flush=True)


def compare(case: str, data_path: str) -> None:
    """Print medians, the median ratio of pairs, and how far the losses are apart."""
    with checkouts(EARLIER) as (folder, sources), ExitStack() as stack:
        arguments = f"--case={case}", f"--data_path={data_path}"
        builds = [
            stack.enter_context(Build(source, __file__, folder / f"{name}.log", *arguments))
            for name, source in zip(("before", "after"), sources)
        ]
        (theirs,), (ours,) = (build.ask("first loss") for build in builds)
        assert not case.startswith("LightGCN") or abs(theirs - ours) < 1e-5 * abs(theirs), (theirs, ours)
        for build in builds:
            build.ask("steps")  # warm
        pairs = [[build.ask("steps")[0] for build in builds] for _ in range(PAIRS)]
    compared = times_faster(pairs, EARLIER, "now")
    print(f"{case}: {compared}; loss of an equal batch {theirs:.6g} and {ours:.6g}", flush=True)


def main() -> None:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_path", default="../shared/datasets")
    parser.add_argument("--case", help="BACKBONE,DATASET,BATCH,STEPS; default several")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.case, arguments.data_path)
        return
    for case in [arguments.case] if arguments.case else CASES:
        compare(case, arguments.data_path)


if __name__ == "__main__":
    main()
