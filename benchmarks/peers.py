"""A training by other public code beside ours: the same split, batch, d, L and learning rate, one process each, in turn.

    OMP_NUM_THREADS=1 python benchmarks/peers.py --model=LightGCN --recbole_gnn=../RecBole-GNN --selfrec=../SELFRec

It compares stock RecBole, checkouts of RecBole-GNN and SELFRec, and ALS and BPR of the package implicit, as what an engineer would
use instead. Losses and their weights are each project's own. After each evaluation it ranks the validation pairs with the tables that a
project has learned, by one code for all, with the clock stopped. RecBole-GNN and implicit need `pip install torch_geometric implicit`,
SELFRec `numba`; RecBole-GNN runs as it does without torch_sparse, and SELFRec, which asks for a GPU, on the CPU.
"""

import argparse
import logging
import resource
import subprocess
import sys
import types
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import yaml
from recbole.utils import init_seed

from recbole_unlearn.config import Config
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.data.split import evaluation_loaders, split
from recbole_unlearn.files.yaml_file import read_yaml
from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.model import MODELS
from recbole_unlearn.streams import begin_stream
from recbole_unlearn.trainer import ResumableTrainer

SHARED = {"embedding_size": 64, "n_layers": 3, "train_batch_size": 2048, "learning_rate": 0.005}
METRIC = "ndcg@20"


class Clock:
    """Seconds of training, and the ranking of the tables that it has learned by then.

    Args:
        config (Config): settings.
        parts: the dataset and its three parts.
    """

    def __init__(self, config, parts):
        dataset, train, valid, test = parts
        self.valid_data, _ = evaluation_loaders(config, dataset, train, valid, test)
        self.shape = train.user_num, train.item_num
        self.trainer = ResumableTrainer(config.replace(model="BPR"), MODELS["BPR"](config, train), "peers")
        self.seconds, self.records, self.begun = 0.0, [], perf_counter()

    def measure(self, epoch, users, items):
        """Stop, rank, and go on.

        Args:
            epoch: epochs done.
            users, items: tables by the dataset's ids, shape ``(n_users, d)`` and ``(n_items, d)``.
        """
        self.seconds += perf_counter() - self.begun
        tables = torch.cat([torch.as_tensor(np.asarray(table), dtype=torch.float32) for table in (users, items)])
        scorer = self.trainer.model
        scorer._final, scorer._item_columns = tables, None  # of any width
        score = self.trainer.evaluate(self.valid_data, load_best_model=False)[METRIC]
        self.records.append((epoch, self.seconds, score))
        self.begun = perf_counter()

    def summary(self):
        """One line: seconds of an epoch, of the way to .99 of the best ranking, that ranking, and the peak of memory."""
        epochs, seconds, scores = map(np.array, zip(*self.records))
        steps = np.diff(seconds, prepend=0) / np.diff(epochs, prepend=0)
        best = scores.max()
        there = int(np.argmax(scores >= 0.99 * best))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return (
            f"{np.median(steps):8.3f} s an epoch; {seconds[there]:7.1f} s and {epochs[there]:3d} epochs to .99 of its best "
            f"{METRIC} {best:.4f} (of {epochs[-1]} epochs); peak {peak:.0f} MiB"
        )


def ours(config, parts, clock, options):
    """This package."""
    _, train, _, _ = parts
    begin_stream(config, "weights")
    model = MODELS[options.model](config, train)
    trainer, loader = ResumableTrainer(config, model, "peers"), train_loader(config, train)
    _epochs(trainer, loader, clock, options, lambda: model.final_embeddings().split([model.n_users, model.n_items]))


def recbole(config, parts, clock, options):
    """Stock RecBole."""
    from recbole.model import general_recommender

    _, train, _, _ = parts
    _stock(getattr(general_recommender, options.model)(config, train), config, train, clock, options)


def recbole_gnn(config, parts, clock, options):
    """RecBole-GNN, without torch_sparse."""
    sys.path.insert(0, options.recbole_gnn)
    sys.modules.setdefault("torch_sparse", types.SimpleNamespace(matmul=None))  # imported, but not called
    from recbole_gnn.data.dataset import GeneralGraphDataset
    from recbole_gnn.model import general_recommender

    _, train, _, _ = parts
    train.get_norm_adj_mat = types.MethodType(GeneralGraphDataset.get_norm_adj_mat, train)
    own = read_yaml(Path(options.recbole_gnn, "recbole_gnn/properties/model", f"{options.model}.yaml"))
    config = config.replace(**{**own, **SHARED})
    _stock(getattr(general_recommender, options.model)(config, train), config, train, clock, options)


def _stock(model, config, train, clock, options):
    from recbole.data.dataloader import TrainDataLoader
    from recbole.sampler import Sampler
    from recbole.trainer import Trainer

    loader = TrainDataLoader(config, train, Sampler(["train"], [train]).set_phase("train"), shuffle=True)

    def tables():
        with torch.no_grad():
            return model.forward()[:2]

    _epochs(Trainer(config, model), loader, clock, options, tables)


def _epochs(trainer, loader, clock, options, tables):
    clock.begun = perf_counter()
    for epoch in range(1, 1 + options.epochs):
        trainer._train_epoch(loader, epoch)
        if epoch % options.eval_step == 0:
            clock.measure(epoch, *tables())


def selfrec(config, parts, clock, options):
    """SELFRec, on the CPU."""
    sys.path.insert(0, options.selfrec)
    torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_: self
    import importlib

    _, train, valid, _ = parts
    module = importlib.import_module(f"model.graph.{options.model}")
    conf = yaml.safe_load(Path(options.selfrec, "conf", f"{options.model}.yaml").read_text())
    conf |= {"embedding.size": 64, "batch.size": SHARED["train_batch_size"], "max.epoch": options.epochs}
    conf |= {"learning.rate": SHARED["learning_rate"], "output": "./"}
    conf[options.model]["n_layer"] = SHARED["n_layers"]
    settings = types.SimpleNamespace(config=conf, contain=conf.__contains__)

    class Settings(types.SimpleNamespace):
        def __getitem__(self, key):
            return conf[key]

    def triples(part):
        graph = dataset_graph(part)
        return [[str(user), str(item), 1.0] for user, item in zip(graph.users.tolist(), graph.items.tolist())]

    class Peer(getattr(module, options.model)):
        def fast_evaluation(self, epoch):
            tables = []
            for names, rows, n in zip((self.data.user, self.data.item), (self.user_emb, self.item_emb), clock.shape):
                tables.append(torch.zeros(n, rows.shape[1]))
                tables[-1][torch.tensor([int(name) for name in names])] = rows[list(names.values())].detach()
            clock.measure(epoch + 1, *tables)
            self.save()

    peer = Peer(Settings(**vars(settings)), triples(train), triples(valid))
    clock.begun = perf_counter()
    peer.train()


def implicit_als(config, parts, clock, options):
    """ALS of the package implicit."""
    from implicit.als import AlternatingLeastSquares

    _implicit(AlternatingLeastSquares(factors=64, iterations=15, num_threads=1, random_state=0), parts, clock)


def implicit_bpr(config, parts, clock, options):
    """BPR of the package implicit."""
    from implicit.bpr import BayesianPersonalizedRanking

    _implicit(BayesianPersonalizedRanking(factors=63, iterations=100, num_threads=1, random_state=0), parts, clock)


def _implicit(model, parts, clock):
    import scipy.sparse

    graph: Graph = dataset_graph(parts[1])
    ones = np.ones(len(graph), dtype=np.float32)
    matrix = scipy.sparse.csr_matrix((ones, (graph.users.numpy(), graph.items.numpy())), shape=clock.shape)
    clock.begun = perf_counter()

    def measure(iteration, *_):
        clock.measure(iteration + 1, model.user_factors, model.item_factors)

    model.fit(matrix, show_progress=False, callback=measure)


PEERS = {
    "ours": ours,
    "RecBole": recbole,
    "RecBole-GNN": recbole_gnn,
    "SELFRec": selfrec,
    "implicit ALS": implicit_als,
    "implicit BPR": implicit_bpr,
}


def run(peer, options):
    """Train one of them in this process and print its line."""
    given = {"data_path": options.data_path} if options.data_path else {}
    # No early stopping: all train for as long. Its own log says nothing.
    settings = {**SHARED, "gpu_id": "", "show_progress": False, "state": "ERROR", "metrics": ["NDCG"], "topk": [20]}
    config = Config(options.model, options.dataset, config_dict={**settings, "valid_metric": METRIC, **given})
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    parts = split(config)
    config = config.replace(seed=options.training_seed)
    init_seed(options.training_seed, config["reproducibility"])
    clock = Clock(config, parts)
    PEERS[peer](config, parts, clock, options)
    print(f"{peer:12} {clock.summary()}", flush=True)


def main():
    """Run those that can train this model, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="LightGCN", choices=["LightGCN", "SGL", "SimGCL"])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--data_path")
    parser.add_argument("--recbole_gnn", help="a checkout of RecBole-GNN; without it, it is left out")
    parser.add_argument("--selfrec", help="a checkout of SELFRec; without it, it is left out")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--training_seed", type=int, default=2020, help="of weights and batches; the split stays")
    parser.add_argument("--eval_step", type=int, default=1)
    parser.add_argument("--peer", choices=PEERS, action="append", help="default all that can be run")
    options = parser.parse_args()
    if options.peer and len(options.peer) == 1:
        run(options.peer[0], options)
        return
    missing = {"RecBole-GNN": not options.recbole_gnn, "SELFRec": not options.selfrec}
    missing["RecBole"] = options.model == "SimGCL"  # it has none
    print(f"{options.model} on {options.dataset}, {SHARED}, one thread", flush=True)
    for peer in options.peer or PEERS:
        if not missing.get(peer):
            subprocess.run([sys.executable, __file__, *sys.argv[1:], f"--peer={peer}"])


if __name__ == "__main__":
    main()
