"""Seconds of UnlearnRec's zero-shot against those of an earlier commit, by the size of the request: in turns, on one machine.

    OMP_NUM_THREADS=1 python benchmarks/request_ratio.py --data_path=../shared/datasets [--datasets=ml-100k,ml-1m]

LightGCN, d 64, three layers. The table is untrained, since no cost depends on what it holds. A request is cold: random
interactions, never asked for before, on data from which nothing is computed; what a preparation computes is there. ``revised``
takes the time to the revised table and the graph that goes with it; for this checkout the remaining graph is made within that
time, for the earlier one before. ``ready`` includes all final embeddings, which a ranking needs. The last lines give the
exponent of the seconds in the number of interactions.
"""

import argparse
import dataclasses
import sys
import time
from contextlib import ExitStack

import numpy as np
from builds import Build, checkouts
from pairs import times_faster

EARLIER, PAIRS = "e6764c5", 9
SIZES = ("10", "100", "1%")


def serve(dataset: str, data_path: str | None) -> None:
    """Prepare; then, for each line with a size, revise and print the seconds to the table and to all embeddings."""
    import torch

    from recbole_unlearn.config import Config
    from recbole_unlearn.method import METHODS
    from recbole_unlearn.model import MODELS

    try:
        from recbole_unlearn.data.split import prepare_data  # of the earlier commit
    except ImportError:
        from recbole_unlearn.task import prepare_data

    settings = {"gpu_id": "", "forget_type": "random", "embedding_size": 64, "n_layers": 3}
    config = Config("LightGCN", dataset, config_dict={**settings, **({"data_path": data_path} if data_path else {})})
    torch.manual_seed(0)
    data = prepare_data(config)
    model = MODELS["LightGCN"](config, data.train).eval()
    model.final_embeddings()
    method = METHODS["UnlearnRec"](config, data, model)
    method.prepare()
    graph = data.graph
    print("ready", flush=True)
    for number, line in enumerate(sys.stdin):
        size = round(len(graph) * 0.01) if "%" in line else int(line)
        edges = torch.randperm(len(graph), generator=torch.Generator().manual_seed(number))[:size].sort().values
        request = dataclasses.replace(data.request, users=graph.users[edges], items=graph.items[edges])
        if "remaining_graph" in {field.name for field in dataclasses.fields(data)}:  # the earlier commit
            remaining = graph.without(request.users, request.items)
            method.data = dataclasses.replace(data, request=request, remaining_graph=remaining)
        else:
            method.data = dataclasses.replace(data.cold(), request=request)
        start = time.perf_counter()
        stage = next(method.unlearn())
        revised = time.perf_counter() - start
        stage.model.final_embeddings()
        print(f"answer {revised} {time.perf_counter() - start} {len(graph)}", flush=True)


def compare(datasets: list[str], data_path: str | None) -> None:
    """Print the medians of both builds and their ratios, and how seconds grow with the data."""
    medians: dict[str, list[tuple[float, float]]] = {size: [] for size in SIZES}
    with checkouts(EARLIER) as (folder, (earlier, here)):
        for dataset in datasets:
            with ExitStack() as stack:
                builds = [
                    stack.enter_context(Build(source, __file__, folder / f"{name}.log", *_options(dataset, data_path)))
                    for name, source in ((EARLIER, earlier), ("now", here))
                ]
                for size in SIZES:
                    for build in builds:
                        build.ask(size)  # warm
                    answers = np.array([[build.ask(size) for build in builds] for _ in range(PAIRS)])
                    for number, what in enumerate(("revised", "ready")):
                        ratio = times_faster(answers[:, :, number], EARLIER, "now")
                        print(f"{dataset}, {size:>3} interactions, {what}: {ratio}", flush=True)
                    medians[size].append((float(answers[0, 0, 2]), float(np.median(answers[:, 1, 0]))))
    for size, points in medians.items():
        if len(points) > 1:
            slope = np.polyfit(*np.log(np.array(points)).T, deg=1)[0]
            print(f"{size:>3} interactions: seconds to the revised table grow with the data's size to the {slope:.2f}")


def _options(dataset, data_path):
    own = ["--data_path=" + data_path] if data_path and dataset != "ml-100k" else []  # RecBole brings ml-100k
    return [f"--dataset={dataset}", *own]


def main() -> None:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", default="ml-100k,ml-1m,gowalla,yelp2018")
    parser.add_argument("--data_path", help="folder of the datasets")
    parser.add_argument("--dataset", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.dataset, arguments.data_path)
    else:
        compare(arguments.datasets.split(","), arguments.data_path)


if __name__ == "__main__":
    main()
