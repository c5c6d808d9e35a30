"""The product of a graph's adjacency and a table against what the memory's bandwidth allows, and against torch's sparse product.

    OMP_NUM_THREADS=1 python benchmarks/product_bandwidth.py --data_path=../shared/datasets [--dataset=gowalla]

The limit is the compulsory traffic, over the bandwidth of a copy: the matrix once, the table read, and the product written. A copy
of 160 MB, which no cache holds, counts what it reads and what it writes. The three are timed in turns, one thread.
"""

import argparse
from time import perf_counter

import numpy as np
import torch

from recbole_unlearn.config import Config
from recbole_unlearn.data.dataset import Dataset
from recbole_unlearn.graph import dataset_graph
from recbole_unlearn.propagation import multiply

D, TURNS, COPIED = 64, 15, 160 * 10**6


def main() -> None:
    """Time them, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_path", required=True, help="folder of the dataset")
    parser.add_argument("--dataset", default="gowalla")
    arguments = parser.parse_args()
    config = Config("LightGCN", arguments.dataset, config_dict={"data_path": arguments.data_path, "gpu_id": ""})
    graph = dataset_graph(Dataset(config).build()[0])
    table = torch.randn(graph.n_nodes, D, generator=torch.Generator().manual_seed(0))
    source, target = (torch.zeros(COPIED // 4) for _ in range(2))
    work = {
        "copy": lambda: target.copy_(source),
        "ours": lambda: multiply(graph.adjacency, table),
        "torch's": lambda: graph.adjacency @ table,
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(TURNS):
        for name, function in work.items():
            start = perf_counter()
            function()
            seconds[name].append(perf_counter() - start)
    copy, ours, theirs = (float(np.median(times)) for times in seconds.values())
    bandwidth = 2 * COPIED / copy
    n_entries = 2 * len(graph)
    limit = (8 * n_entries + 4 * graph.n_nodes + 2 * 4 * D * graph.n_nodes) / bandwidth
    print(
        f"{arguments.dataset}, {graph.n_nodes} nodes, {n_entries} entries, d {D}: a copy {bandwidth / 1e9:.1f} GB/s, limit "
        f"{1e3 * limit:.1f} ms; ours {1e3 * ours:.1f} ms, {ours / limit:.2f} times the limit; torch's sparse product "
        f"{1e3 * theirs:.1f} ms, {theirs / limit:.2f} times"
    )


if __name__ == "__main__":
    main()
