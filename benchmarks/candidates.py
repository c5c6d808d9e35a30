"""What drawing InfoNCE's candidates costs in accuracy and gains in time: one training with several numbers of them.

    OMP_NUM_THREADS=1 python benchmarks/candidates.py --model=SGL --dataset=ml-1m --data_path=../shared/datasets

For each number and seed it prints the validation NDCG@20 by epoch, its best, and the seconds of training (without those
of evaluation) until it is first within .5 % of the best of the first number with the same seed.
"""

import argparse
from time import perf_counter

from recbole_unlearn.config import Config
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.model import MODELS
from recbole_unlearn.streams import begin_stream
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import ResumableTrainer

NEAR = 0.995  # of the best NDCG


class Timed(ResumableTrainer):
    """Adds up the seconds of its epochs."""

    epochs_seconds = 0.0

    def _train_epoch(self, *arguments, **options):
        start = perf_counter()
        try:
            return super()._train_epoch(*arguments, **options)
        finally:
            self.epochs_seconds += perf_counter() - start


def curve(config, data):
    """Train once: the epoch, the seconds so far and the validation NDCG@20 of each evaluation."""
    config = config.stream("original")
    begin_stream(config, "weights")
    trainer = Timed(config, MODELS[config["model"]](config, data.train), "candidates")
    points = []
    trainer.fit(
        train_loader(config, data.train, data.graph),
        data.valid_data,
        verbose=False,
        saved=False,
        callback_fn=lambda epoch, score: points.append((epoch + 1, trainer.epochs_seconds, score)),
    )
    return points


def main():
    """Print a paragraph for each number of candidates and seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="SGL")
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--data_path")
    parser.add_argument("--candidates", default="all,2048", help="numbers; `all` draws none")
    parser.add_argument("--seeds", default="2020")
    parser.add_argument("--config_files", default="properties/setting/d64.yaml properties/setting/d64-{model}.yaml")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--eval_step", type=int, default=5)
    parser.add_argument("--batch", type=int)
    options = parser.parse_args()
    given = {"data_path": options.data_path, "epochs": options.epochs, "train_batch_size": options.batch}
    given = {name: value for name, value in given.items() if value}
    files = options.config_files.format(model=options.model).split()
    for seed in map(int, options.seeds.split(",")):
        best = None
        for number in options.candidates.split(","):
            settings = {
                **given,
                "seed": seed,
                "ssl_candidates": None if number == "all" else int(number),
                "eval_step": options.eval_step,
                "stopping_step": 1000,
                "gpu_id": "",
                "forget_type": "random",
                "state": "WARNING",
                "show_progress": False,
            }
            config = Config(options.model, options.dataset, files, settings)
            points = curve(config, prepare_data(config))
            best = best or max(score for *_, score in points)
            near = next((f"{s:.0f} s, epoch {e}" for e, s, score in points if score >= NEAR * best), "never")
            last_epoch, seconds, _ = points[-1]
            print(
                f"{options.model} on {options.dataset}, seed {seed}, candidates {number}: {seconds / last_epoch:.2f} s an epoch"
            )
            print("  NDCG@20 by epoch: " + " ".join(f"{epoch}: {score:.4f}" for epoch, _, score in points))
            print(
                f"  best {max(score for *_, score in points):.4f}; within .5 % of {best:.4f} after {near}", flush=True
            )


if __name__ == "__main__":
    main()
