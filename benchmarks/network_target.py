"""What of UnlearnRec's idea carries over to networks: a target for each forgotten pair, and fine-tuning towards it.

    OMP_NUM_THREADS=1 python benchmarks/network_target.py --model=MultiVAE --dataset=ml-100k --forget_type=random --train_batch_size=100

The target is UnlearnRec's with what a network has: a regression from the graph's features of a pair (degrees, spectral
sums, paths; no table, whose projection is half of them elsewhere) to the score that the original gives pairs that it never
saw. Fine-tuning is FineTune's, with the mean Huber distance of the forgotten pairs' scores to their targets added to the
loss, at several weights, none of them chosen. A row is one training.
"""

import logging
import sys

import numpy as np
import torch
import torch.nn.functional as F

from recbole_unlearn.config import Config
from recbole_unlearn.data.sampler import draw_negatives
from recbole_unlearn.encoder.features import graph_features
from recbole_unlearn.encoder.spectrum import Spectrum
from recbole_unlearn.encoder.target import Examples, UnseenScores, held_out_pairs
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.evaluator.recbole_metrics import scores_of
from recbole_unlearn.method import METHODS
from recbole_unlearn.report.tables import markdown_table
from recbole_unlearn.streams import begin_stream, torch_stream
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import loader_of, train_backbone

WEIGHTS = 0, 1, 10, 100
LOGS, DIFFERENCES = ("MI-BF", "MI-NG"), ("AUC_FN", "AUC_FT")


def features_of(graph, pairs):
    """The graph's features of pairs, as float32."""
    return graph_features(graph, Spectrum.of(graph), *pairs).float()


def targets_of(config, data, original):
    """The score expected of each forgotten pair, had the original never seen it, shape ``(F,)``."""
    generator = torch_stream(config["seed"], "encoder")
    sides = zip(draw_negatives(data.observed, 20_000, generator), held_out_pairs(data.valid, generator))
    pairs = tuple(torch.cat(side) for side in sides)
    known = Examples(features_of(data.graph, pairs), torch.from_numpy(scores_of(original, *pairs)).float())
    return UnseenScores.fit(known)(features_of(data.remaining_graph, (data.request.users, data.request.items)))


def fine_tuned(config, data, original, targets, weight):
    """The original after ``unlearn_tune_epochs`` of Adam on what remains, drawn towards the targets."""
    begin_stream(config.stream("fine-tuning"), "weights")
    model, request = original.on_graph(data.remaining_graph), data.request
    optimiser = torch.optim.Adam(model.parameters(), lr=config["unlearn_tune_learning_rate"] or config["learning_rate"])
    loader = loader_of(config, model, data.remaining, data.remaining_graph)
    for _ in range(config["unlearn_tune_epochs"]):
        for batch in loader:
            model.train()
            loss = model.calculate_loss(batch)
            if weight:
                drawn = torch.randint(len(request), (256,))
                of_all = torch.log_softmax(model.eval().logits(request.users[drawn]), dim=1)
                scores = of_all[torch.arange(len(drawn)), request.items[drawn]]
                loss = loss + weight * F.smooth_l1_loss(scores, targets[drawn])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def main() -> None:
    """Train, tune, and print how near each comes to Retrain."""
    given = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
    sys.argv = sys.argv[:1]  # RecBole reads it too
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = {"unlearn_methods": "Retrain,FineTune", "show_progress": False, **given}
    config = Config(settings.pop("model"), settings.pop("dataset"), config_dict=settings)
    data = prepare_data(config)
    original = train_backbone(config, data.train, "original", data.valid_data).model
    evaluator = UnlearningEvaluator(config, data, original)
    retrain, again = (stage.model for stage in METHODS["Retrain"](config, data, original).unlearn())
    targets = targets_of(config, data, original)

    forgotten = data.request.users, data.request.items
    truth = scores_of(retrain, *forgotten)
    guesses = {
        "another Retrain": scores_of(again, *forgotten),
        "the original without the pair in its input": scores_of(original.on_graph(data.remaining_graph), *forgotten),
        "the target": targets.numpy(),
    }
    lines = []
    for name, scores in guesses.items():
        rms, bias = np.sqrt(np.square(scores - truth).mean()), (scores - truth).mean()
        lines.append((name, f"{rms:.3f}", f"{bias:+.3f}", f"{np.corrcoef(scores, truth)[0, 1]:.3f}"))
    print(
        markdown_table(("a forgotten pair's score by Retrain, guessed by", "rms error", "bias", "correlation"), lines)
    )

    models = {"Retrain": retrain, "Retrain again": again, "DropEdges": original.on_graph(data.remaining_graph)}
    lines = []
    for weight in WEIGHTS:
        models[f"fine-tuned, weight {weight}"] = fine_tuned(config, data, original, targets, weight)
    rows = {name: evaluator.evaluate(model)[0] for name, model in models.items()}
    aim = rows.pop("Retrain")
    for name, row in rows.items():
        gaps = [abs(np.log(row[key] / aim[key])) for key in LOGS] + [abs(row[key] - aim[key]) for key in DIFFERENCES]
        lines.append((name, *(f"{gap:.3f}" for gap in gaps), f"{row['ndcg@20'] / aim['ndcg@20']:.3f}"))
    print(markdown_table(("row", *LOGS, *DIFFERENCES, "NDCG@20 of Retrain's"), lines))


if __name__ == "__main__":
    main()
