"""What UnlearnRec makes of small requests from what they touch, beside what it makes of them from all of what remains.

    OMP_NUM_THREADS=1 python benchmarks/local_requests.py --model=LightGCN,SimGCL [--dataset=ml-100k]

An original is trained on data with the shipped adversarial edges. Requests are random interactions, or some of those edges while the
others stay. Both ways start from one preparation, whatever size would take which; the scores are those of the forgotten pairs.
"""

import argparse

import torch

from recbole_unlearn.config import Config
from recbole_unlearn.data.request import edges_where, random_edges
from recbole_unlearn.encoder import local
from recbole_unlearn.encoder.touched import Touched
from recbole_unlearn.loss import pair_scores
from recbole_unlearn.method import METHODS
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import train_backbone

SIZES = (10, 40, 80, 160)
WAYS = {"local": (1.0, float("inf")), "whole": (0.0, 0.0)}  # FEW and WEAK


def compare(model_name: str, dataset: str, data_path: str | None) -> None:
    """Print a line for each request."""
    settings = {"gpu_id": "", "show_progress": False, **({"data_path": data_path} if data_path else {})}
    config = Config(model_name, dataset, config_dict=settings)
    data = prepare_data(config)
    model = train_backbone(config, data.train, "original", data.valid_data).model.eval()
    method = METHODS["UnlearnRec"](config, data, model)
    method.prepare()
    encoder, snapshot = method.encoder.encoder, method.encoder.snapshot
    print(f"{model_name} on {dataset}: least singular value {snapshot.spectrum.values[-1]:.3f}")
    for kind in ("random", "adversarial"):
        for size in SIZES:
            generator = torch.Generator().manual_seed(size)
            if kind == "random":
                request = random_edges(data.graph, size, generator)
            else:
                some = torch.randperm(len(data.request), generator=generator)[:size]
                wanted = torch.zeros(len(data.graph), dtype=torch.bool)
                wanted[data.graph.find(data.request.users[some], data.request.items[some])[0]] = True
                request = edges_where(data.graph, wanted)
            pairs, remaining = (request.users, request.items), data.graph.without(request.users, request.items)
            touched = Touched(data.graph, *pairs)
            way = "local" if local.is_local(snapshot, touched) else "whole"
            scores = {"before": pair_scores(model.final_embeddings(), model.n_users, *pairs)}
            for name, limits in WAYS.items():
                kept = local.FEW, local.WEAK
                local.FEW, local.WEAK = limits
                ego = encoder(model, remaining, request, snapshot).ego
                local.FEW, local.WEAK = kept
                final = model.forward(ego, remaining.adjacency).detach()
                scores[name] = pair_scores(final, model.n_users, *pairs)
            moved, apart = scores["whole"] - scores["before"], scores["local"] - scores["whole"]
            print(
                f"  {size:3d} {kind}, strength {touched.strength:.3f}, taken as {way}: scores move by {moved.mean():.2f} (rms "
                f"{moved.square().mean().sqrt():.2f}); local less whole {apart.mean():.3f} (rms {apart.square().mean().sqrt():.3f})",
                flush=True,
            )


def main() -> None:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="LightGCN,SimGCL")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--data_path")
    arguments = parser.parse_args()
    for name in arguments.model.split(","):
        compare(name, arguments.dataset, arguments.data_path)


if __name__ == "__main__":
    main()
