"""The GPU beside the CPU: equal losses and gradients, and the seconds of an epoch, of a request and of Retrain at d 128.

    python benchmarks/gpu.py --dataset=ml-1m --data_path=../shared/datasets

It ends within ten minutes: the CPU's epoch is that of some steps times their number, the CPU's Retrain its epoch times the GPU's
epochs. `--device=cpu` in the place of the GPU tries the script out.
"""

import argparse
import logging
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

from recbole_unlearn.config import Config
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.evaluator.stages import costed_stages
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.streams import begin_stream
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import ResumableTrainer, train_backbone

BACKBONES = ("LightGCN", "SGL", "SimGCL")
SETTINGS = {"embedding_size": 128, "forget_type": "random", "show_progress": False, "state": "ERROR"}
STEPS, REPEATS = 5, 5
TOLERANCE = 1e-4  # of a gradient, of its largest entry


def synchronised(device):
    """Wait for a device; returns the time."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()


def first_gradient(config, data, device):
    """The loss and the gradient of a batch without random views on a device, on the CPU."""
    config = config.replace(device=device, ssl_weight=0.0, simgcl_lambda=0.0)
    begin_stream(config, "weights")
    model = MODELS[config["model"]](config, data.train).to(device)
    batch = next(iter(train_loader(config, data.train, data.graph)))
    model.train()
    loss = model.calculate_loss(batch.to(device))
    return [each.detach().cpu() for each in (loss, *torch.autograd.grad(loss, list(model.parameters())))]


def step_seconds(config, data, device):
    """The median seconds of a step of training on a device, and the steps of an epoch."""
    config = config.replace(device=device)
    begin_stream(config, "weights")
    model = MODELS[config["model"]](config, data.train).to(device)
    optimizer = ResumableTrainer(config, model, "gpu").optimizer
    loader = train_loader(config, data.train, data.graph)
    batches, seconds = iter(loader), []
    model.train()
    for _ in range(REPEATS + 1):
        start = synchronised(device)
        for _ in range(STEPS):
            optimizer.zero_grad()
            model.calculate_loss(next(batches).to(device)).backward()
            optimizer.step()
        seconds.append((synchronised(device) - start) / STEPS)
    return median(seconds[1:]), len(loader)


def request(config, data, state, device):
    """UnlearnRec's request on a device: the median online seconds, and the final embeddings after it, on the CPU."""
    config = config.replace(device=device)
    model = MODELS[config["model"]](config, data.train).to(device)
    model.load_state_dict(state)
    seconds = []
    for _ in range(3):
        fresh = data.cold()
        method = METHODS["UnlearnRec"](config, fresh, model.served(fresh.graph))
        method.prepare()
        stage, cost = next(costed_stages(method, device))
        seconds.append(cost.seconds)
    return median(seconds), stage.model.final_embeddings().cpu()


def row(name, options, gpu):
    """The line of one backbone in the page's table, in Markdown."""
    given = {"data_path": options.data_path} if options.data_path else {}
    given |= {"checkpoint_dir": options.checkpoint_dir, "epochs": options.epochs}
    config = Config(name, options.dataset, config_dict={**SETTINGS, **given})
    data, cpu = prepare_data(config.replace(device=torch.device("cpu"))), torch.device("cpu")
    here, there = (first_gradient(config, data, device) for device in (cpu, gpu))
    apart = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(here, there))
    if not apart <= TOLERANCE:
        sys.exit(f"{name}: loss and gradient on {gpu} are {apart:.1e} from the CPU's, more than {TOLERANCE:.0e}")
    (slow, steps), (fast, _) = (step_seconds(config, data, device) for device in (cpu, gpu))
    on_gpu = config.replace(device=gpu)
    state = train_backbone(on_gpu, data.train, "original").model.state_dict()
    retrain = train_backbone(on_gpu, data.remaining, "retrain").seconds
    (request_here, table), (request_there, same) = (request(config, data, state, device) for device in (cpu, gpu))
    moved = float((table - same).abs().max() / table.abs().max())
    return (
        f"| {name} | {apart:.0e}, {moved:.0e} | {slow * steps:.1f} s | {fast * steps:.2f} s | {slow / fast:.0f} | "
        f"{request_here:.3f} s | {request_there:.3f} s | {retrain:.1f} s | {retrain / request_there:.0f} |"
    )


def main():
    """Write the page, or say that there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--data_path")
    parser.add_argument("--device", default="cuda", help="cpu tries the script out")
    parser.add_argument("--epochs", type=int, default=20, help="of the original and of Retrain, without early stopping")
    parser.add_argument("--checkpoint_dir", default="saved/gpu")
    parser.add_argument("--page", default=str(Path(__file__).with_name("gpu.md")))
    options = parser.parse_args()
    gpu = torch.device(options.device)
    if gpu.type == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu.py: torch sees no GPU here.")
    logging.disable(logging.WARNING)
    name = torch.cuda.get_device_name(gpu) if gpu.type == "cuda" else "the CPU itself, to try the script out"
    lines = [
        "# On a GPU",
        "",
        f"`sh benchmarks/gpu.sh` on {name}, {torch.get_num_threads()} CPU thread(s), torch {torch.__version__}: "
        f"{options.dataset}, d 128, 1 % random, {options.epochs} epochs for the original and Retrain, one run.",
        "",
        "Apart: the largest difference of the first batch's loss and gradient, and of the final embeddings after the request, "
        "relative to the largest entry.",
        "",
        "| backbone | apart | epoch, CPU | epoch, GPU | times | request, CPU | request, GPU | Retrain, GPU | times |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for backbone in BACKBONES:
        lines.append(row(backbone, options, gpu))
        print(lines[-1], flush=True)
    Path(options.page).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
