"""One training epoch of stock RecBole against ours, in one process, after asserting that both compute the same loss.

    python benchmarks/training_speed.py [--data_path=../shared/datasets] [--dataset=ml-1m] [--models=LightGCN,SGL]

Both sides run through their own loader, sampler and trainer loop. Quote the ratio, not the seconds.
"""

import argparse
from time import perf_counter

import torch
from recbole.data.dataloader import TrainDataLoader
from recbole.model import general_recommender
from recbole.sampler import Sampler
from recbole.trainer import Trainer
from recbole.utils import init_seed

from recbole_unlearn.config import Config
from recbole_unlearn.data.dataset import Dataset
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import MODELS
from recbole_unlearn.trainer import ResumableTrainer

SETTINGS = {
    "gpu_id": "",
    "train_batch_size": 2048,
    "embedding_size": 64,
    "n_layers": 3,
    "show_progress": False,
    "epochs": 1,
}
BATCHES_COMPARED = 3


def same_views(stock, ours):
    """Give our SGL the subgraphs that the stock one drew."""
    if not hasattr(stock, "sub_graph1"):
        return
    graph = ours.graph
    ours._views = []
    for matrix in (stock.sub_graph1, stock.sub_graph2):
        rows, columns = matrix.coalesce().indices()
        upper = rows < graph.n_users
        kept = Graph.from_edges(rows[upper], columns[upper] - graph.n_users, graph.n_users, graph.n_items)
        ours._views.append(kept)


def assert_equal_losses(stock, ours, batches):
    """The same weights, views and batches must give the same loss."""
    stock.train()
    ours.train()
    same_views(stock, ours)
    for batch in batches:
        theirs, mine = stock.calculate_loss(batch).item(), ours.calculate_loss(batch).item()
        assert abs(theirs - mine) <= 1e-4 * abs(theirs), (theirs, mine)
        print(f"  loss on an equal batch: stock {theirs:.6f}, ours {mine:.6f}")


def epoch_seconds(trainer, loader):
    start = perf_counter()
    trainer._train_epoch(loader, 0)
    return perf_counter() - start


def compare(name, config, train):
    print(f"{name} on {config['dataset']}, batch {config['train_batch_size']}, {torch.get_num_threads()} threads")
    start = perf_counter()
    stock = getattr(general_recommender, name)(config, train)
    stock_loader = TrainDataLoader(config, train, Sampler(["train"], [train]).set_phase("train"), shuffle=True)
    stock_build = perf_counter() - start
    start = perf_counter()
    ours = MODELS[name](config, train)
    loader = train_loader(config, train, ours.graph)
    build = perf_counter() - start
    ours.load_state_dict(stock.state_dict())
    batches = [batch for batch, _ in zip(loader, range(BATCHES_COMPARED))]
    assert_equal_losses(stock, ours, batches)
    seconds = epoch_seconds(ResumableTrainer(config, ours, f"benchmark-{name}"), loader)
    stock_seconds = epoch_seconds(Trainer(config, stock), stock_loader)
    print(f"  building: stock {stock_build:.2f} s, ours {build:.2f} s, ratio {stock_build / build:.1f}")
    print(
        f"  an epoch: stock {stock_seconds:.1f} s, ours {seconds:.1f} s, ratio {stock_seconds / seconds:.1f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_path", default="../shared/datasets")
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--models", default="LightGCN,SGL")
    arguments = parser.parse_args()
    for name in arguments.models.split(","):
        config = Config(name, arguments.dataset, config_dict={"data_path": arguments.data_path, **SETTINGS})
        init_seed(config["seed"], config["reproducibility"])
        train = Dataset(config).build()[0]
        compare(name, config, train)


if __name__ == "__main__":
    main()
