"""A full ranking of the test data, with RecBole's collector and with ours: pairs interleaved, on one machine.

    OMP_NUM_THREADS=1 python benchmarks/ranking_ratio.py --data_path=../shared/datasets --datasets=ml-1m,gowalla

All items are ranked for all test users by a random table; the metrics must be equal. The earlier commit e6764c5 ranks with
RecBole's collector.
"""

import argparse
from time import perf_counter

import torch
from pairs import times_faster
from recbole.evaluator.collector import Collector
from recbole.utils import init_logger

from recbole_unlearn.config import Config
from recbole_unlearn.model import MODELS
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import ResumableTrainer
from recbole_unlearn.trainer.collector import TopCollector

PAIRS = 5


def compare(dataset: str, data_path: str) -> None:
    """Print medians and the median ratio of pairs."""
    settings = {"data_path": data_path, "gpu_id": "", "forget_type": "random", "state": "ERROR", "show_progress": False}
    config = Config("LightGCN", dataset, config_dict={**settings, "metric_decimal_place": 12})
    init_logger(config)
    data = prepare_data(config)
    model = MODELS["LightGCN"](config, data.train)
    model.set_ego_embeddings(torch.randn(model.ego_embeddings().shape, generator=torch.Generator().manual_seed(1)))
    trainer = ResumableTrainer(config, model, "ranking_ratio")
    pairs, metrics = [], []
    for _ in range(1 + PAIRS):
        pairs.append([])
        for collector in (Collector, TopCollector):
            trainer.eval_collector = collector(config)
            start = perf_counter()
            ranked = trainer.evaluate(data.test_data, load_best_model=False)
            pairs[-1].append(perf_counter() - start)
            metrics.append({name: float(value) for name, value in ranked.items()})
    assert all(each == metrics[0] for each in metrics), metrics
    compared = times_faster(pairs[1:], "RecBole's", "ours")
    print(f"{dataset}: {compared}; equal metrics {metrics[0]}", flush=True)


def main() -> None:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_path", default="../shared/datasets")
    parser.add_argument("--datasets", default="ml-1m,gowalla")
    arguments = parser.parse_args()
    for dataset in arguments.datasets.split(","):
        compare(dataset, arguments.data_path)


if __name__ == "__main__":
    main()
