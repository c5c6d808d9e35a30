"""What a Hessian-vector product of the influence methods costs, in full-batch gradients.

The gradient of the same frozen loss shares the influence methods' BPR; that of the backbone's own ``model_loss`` over all
edges at once has the BPR of training, which goes through the triples block by block.

    python benchmarks/hessian_cost.py --data_path=FOLDER [--dataset=ml-1m]
"""

import argparse
from statistics import median
from time import perf_counter

import torch
from recbole.data.interaction import Interaction

from recbole_unlearn.config import Config
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.task import prepare_data

REPETITIONS = 5


def seconds(function):
    """Median time of a call, after one to warm up."""
    times = []
    for _ in range(REPETITIONS + 1):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return median(times[1:])


def full_batch_gradient(model, method):
    """The gradient of the backbone's training loss with all edges in one batch."""
    triples, ego = method.triples, method.point.requires_grad_()
    fields = model.USER_ID, model.ITEM_ID, model.NEG_ITEM_ID
    batch = Interaction(dict(zip(fields, (triples.users, triples.items, triples.negatives))))
    loss = model.model_loss(batch, ego, model.forward(ego, method.loss.adjacency), method.views)
    return torch.autograd.grad(loss, ego)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--data_path", default=None)
    arguments = parser.parse_args()
    settings = {"unlearn_methods": "GIF", "forget_type": "random", "gpu_id": "", "show_progress": False}
    if arguments.data_path:
        settings["data_path"] = arguments.data_path
    print(f"{arguments.dataset}, {torch.get_num_threads()} thread(s)")
    for name in ("LightGCN", "SGL", "SimGCL"):
        config = Config(name, arguments.dataset, config_dict=settings)
        data = prepare_data(config)
        model = MODELS[name](config, data.train).eval()
        method = METHODS["GIF"](config, data, model)
        method.prepare()
        gradient = seconds(lambda: method.loss.gradient(method.point))
        product = seconds(lambda: method.hessian(torch.ones_like(method.point)))
        autograd = seconds(lambda: full_batch_gradient(model, method))
        print(
            f"  {name}: product {product:.3f} s; gradient of the frozen loss {gradient:.3f} s, ratio {product / gradient:.2f}; "
            f"of model_loss {autograd:.3f} s, ratio {product / autograd:.2f}"
        )


if __name__ == "__main__":
    main()
