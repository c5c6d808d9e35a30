"""Forgetting with fitted models against fitting anew, in pairs that take turns: CPU seconds of one thread.

    OMP_NUM_THREADS=1 python benchmarks/exact_forgetting.py EASE ml-1m --data_path=FOLDER --single=1000
    OMP_NUM_THREADS=1 python benchmarks/exact_forgetting.py ItemKNN ml-1m --data_path=FOLDER --single=1000 --recbole
    OMP_NUM_THREADS=1 python benchmarks/exact_forgetting.py SLIMElastic ml-100k
    OMP_NUM_THREADS=1 python benchmarks/exact_forgetting.py ALS ml-100k

Each pair has another user, interaction, or 100 interactions. The graph of what remains is there before either begins. A
line has medians over the pairs, the ratio's least and largest, and the largest difference of any number of the state.
``--single`` also forgets so many single interactions one after the other, without a refit between, and compares the
last state with a refit. ``--recbole`` also times RecBole's own class.
"""

import argparse
import statistics
import time

import torch
from recbole.model import general_recommender as stock

from recbole_unlearn.config import Config
from recbole_unlearn.model import MODELS, ExactRecommender
from recbole_unlearn.streams import torch_stream
from recbole_unlearn.task import prepare_data


def seconds(work):
    """CPU seconds of a piece of work, and its result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def requests(graph, pairs):
    """Name of a kind to the edges that each pair forgets, booleans over the edges."""
    generator = torch_stream(0, "benchmark")
    users = torch.unique(graph.users)
    users = users[torch.randperm(len(users), generator=generator)[:pairs]]
    order = torch.randperm(len(graph), generator=generator)

    def those(places):
        return torch.zeros(len(graph), dtype=torch.bool).index_fill(0, places, True)

    return {
        "a user": [graph.users == user for user in users],
        "one interaction": [those(order[[pair]]) for pair in range(pairs)],
        "100 interactions": [those(order[100 * (1 + pair) : 100 * (2 + pair)]) for pair in range(pairs)],
    }


def largest_difference(model: ExactRecommender, refit: ExactRecommender):
    """The largest difference of scores of a thousand users, which every number of a state goes into."""
    users = torch.unique(refit.graph.users)[:1000]
    return float((model.scores(users) - refit.scores(users)).abs().max())


def compare(model, pairs):
    """Print a line for each kind of request."""
    graph = model.graph
    for kind, of_pairs in requests(graph, pairs).items():
        costs, differences, deviations = [], [], []
        for edges in of_pairs:
            remaining, copied = graph.subgraph(~edges), model.copied()
            refit_seconds, refit = seconds(lambda remaining=remaining: model.fitted(remaining))
            forget_seconds, _ = seconds(lambda copied=copied, remaining=remaining: copied.follow(remaining))
            costs.append((forget_seconds, refit_seconds))
            differences.append(largest_difference(copied, refit))
            deviations.append(copied.deviation(torch.unique(remaining.items)[:64]))
        ratios = sorted(refit / forget for forget, refit in costs)
        forget, refit = (statistics.median(side) for side in zip(*costs))
        print(
            f"| {kind} | {refit:.2f} | {forget:.4f} | {statistics.median(ratios):.0f} ({ratios[0]:.0f} to {ratios[-1]:.0f}) "
            f"| {max(differences):.1e} | {max(deviations):.1e} |",
            flush=True,
        )


def one_by_one(model, number):
    """Forget single interactions one after the other, and compare the last state with a refit."""
    edges = torch.randperm(len(model.graph), generator=torch_stream(0, "one by one"))[:number]
    graph, model, costs = model.graph, model.copied(), []
    for edge in edges:
        remaining = model.graph.without(graph.users[edge][None], graph.items[edge][None])
        costs.append(seconds(lambda remaining=remaining: model.follow(remaining))[0])
    difference = largest_difference(model, model.fitted(model.graph))
    deviation = model.deviation(torch.unique(model.graph.items)[:64])
    print(f"{number} single interactions: median {statistics.median(costs):.4f} s, {difference:.1e}, {deviation:.1e}")


def main():
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("--data_path")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--single", type=int, default=0)
    parser.add_argument("--recbole", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings = {"forget_type": "random", "gpu_id": "", **({"data_path": given.data_path} if given.data_path else {})}
    config = Config(given.model, given.dataset, config_dict=settings)
    data = prepare_data(config)
    model = MODELS[given.model](config, data.train)
    spent, model = seconds(lambda: model.fitted(model.graph))
    size = sum(tensor.nbytes for tensor in model.state.values()) / 1e6
    print(f"{given.model} on {given.dataset}: fitted in {spent:.2f} s, state of {size:.0f} MB")
    if given.recbole:
        print(f"RecBole's own class: {seconds(lambda: getattr(stock, given.model)(config, data.train))[0]:.2f} s")
    print("| request | refit s | forget s | times faster | largest difference of scores | deviation |")
    print("| --- | --- | --- | --- | --- | --- |")
    compare(model, given.pairs)
    if given.single:
        one_by_one(model, given.single)


if __name__ == "__main__":
    main()
