"""RecBole's general recommenders: which are served, and the one line that refuses each as it is; accuracy beside RecBole's.

    python benchmarks/recbole_models.py
    OMP_NUM_THREADS=1 python benchmarks/recbole_models.py --accuracy=NGCF,SimpleX --dataset=ml-100k

The first puts each class behind ``UnlearnableRecommender`` without a change, starts a run on a tiny dataset, and exits
with 1 if one of them trains or fails otherwise than in one line. The second trains RecBole's class and this package's
on the same split, batches and early stopping, with this package's settings. RecBole's is evaluated as RecBole does.
"""

import argparse
import logging
import os
import sys
import tempfile
import types
from pathlib import Path
from time import perf_counter

import recbole.model.general_recommender as recboles
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.trainer import Trainer
from recbole.utils import init_seed

from recbole_unlearn import run_unlearn
from recbole_unlearn.config import Config
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.errors import UsageError
from recbole_unlearn.model import MODELS, UnlearnableRecommender
from recbole_unlearn.report.tables import markdown_table
from recbole_unlearn.task import prepare_data
from recbole_unlearn.testing import tiny_dataset, tiny_settings
from recbole_unlearn.trainer import train_backbone

METRICS = ("recall@20", "ndcg@20")


def general_recommenders() -> list[type]:
    """RecBole's classes, by name."""
    classes = {cls for cls in vars(recboles).values() if isinstance(cls, type) and issubclass(cls, GeneralRecommender)}
    return sorted(classes, key=lambda cls: cls.__name__)


def answer_to(base: type, settings: dict) -> str:
    """What a run says to a class as it is: the line of a refusal, or what else happens."""
    name = f"Plain{base.__name__}"
    plain = types.new_class(name, (UnlearnableRecommender, base))
    MODELS.register(plain)
    try:
        run_unlearn(name, "tiny", config_dict=settings, saved=False)
    except UsageError as error:
        return str(error).replace(name, base.__name__)
    except Exception as error:
        return f"RAW {type(error).__name__}: {error}"
    finally:
        MODELS._classes.pop(name)
    return "RAW: it runs"


def table() -> str:
    """A line for each class, as Markdown."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # for RecBole's logs
        settings = tiny_settings(tiny_dataset(folder), str(Path(folder) / "saved"))
        lines = []
        for base in general_recommenders():
            served = f"`{base.__name__}`" if base.__name__ in MODELS.shipped() else ""
            said = answer_to(base, settings).replace("\n", " \\n ").replace("|", "\\|").replace(folder, "")
            lines.append((base.__name__, served, said.replace(str(Path(recboles.__file__).parents[2]) + os.sep, "")))
        os.chdir(here)
    return markdown_table(("RecBole's", "served by", "as it is"), lines)


def accuracy(name: str, dataset: str, settings: dict) -> list[tuple[str, ...]]:
    """Test metrics of RecBole's class and of ours, trained on one split."""
    config = Config(name, dataset, config_dict={"forget_type": "random", **settings})
    data = prepare_data(config)
    evaluator = Trainer(config, torch.nn.Linear(1, 1))  # only evaluates, both models alike
    lines = []
    for whose in ("RecBole's", "ours"):
        start = perf_counter()
        if whose == "ours":
            model = train_backbone(config, data.train, "original", data.valid_data).model
        else:
            init_seed(config["seed"], config["reproducibility"])
            model = getattr(recboles, name)(config, data.train).to(config["device"])
            if hasattr(model, "norm_adj_matrix"):  # the same numbers in a format whose product is many times faster
                model.norm_adj_matrix = model.norm_adj_matrix.coalesce().to_sparse_csr()
            trainer = Trainer(config, model)
            trainer.fit(train_loader(config, data.train), data.valid_data, verbose=False)
            model.load_state_dict(torch.load(trainer.saved_model_file, weights_only=False)["state_dict"])
        seconds = perf_counter() - start
        evaluator.model = model.eval()
        evaluator.tot_item_num = None
        result = evaluator.evaluate(data.test_data, load_best_model=False)
        lines.append((name, whose, *(f"{result[metric]:.4f}" for metric in METRICS), f"{seconds:.0f}"))
        logging.info(" ".join(lines[-1]))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--accuracy", help="models to train beside RecBole's, e.g. NGCF,SimpleX")
    parser.add_argument("--dataset", default="ml-100k")
    known, others = parser.parse_known_args()
    settings = dict(argument.removeprefix("--").split("=", 1) for argument in others)
    sys.argv = sys.argv[:1]  # RecBole reads it too
    if known.accuracy:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        lines = [line for name in known.accuracy.split(",") for line in accuracy(name, known.dataset, settings)]
        print(markdown_table(("model", "", *METRICS, "s"), lines))
        return
    logging.disable()
    text = table()
    print(text)
    sys.exit("RAW" in text)


if __name__ == "__main__":
    main()
