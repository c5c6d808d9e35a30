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
from collections import Counter
from pathlib import Path
from time import perf_counter

import recbole.model.general_recommender as recboles
import torch
from recbole.config import Config as RecBoleConfig
from recbole.data.dataset import Dataset
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.trainer import Trainer
from recbole.utils import get_trainer, init_seed

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
CLOSED_FORM = "not shipped: it is solved for, like EASE"
OF_ROWS = "not shipped: a network that reads a user's row of interactions, like MultiVAE"
NETWORK = "no: a network scores each pair, not a dot product"
NOTHING = "no: it learns no embeddings"
NOT_SERVED = {
    **dict.fromkeys(("ADMMSLIM", "NCEPLRec"), CLOSED_FORM),
    **dict.fromkeys(("DiffRec", "LDiffRec", "MacridVAE", "MultiDAE", "RaCT", "RecVAE"), OF_ROWS),
    "CDAE": "not shipped: a network that reads a user's row, with a table of users as weights besides",
    "DMF": "not shipped: two networks, of a user's row and of an item's column",
    **dict.fromkeys(("ConvNCF", "NNCF", "NeuMF"), NETWORK),
    **dict.fromkeys(("Pop", "Random"), NOTHING),
    "FISM": "not shipped: a table of items, and users' rows from their histories, as SimpleX's",
    "NAIS": "no: attention between each pair and a history, not a dot product",
    "ENMF": "not shipped: a dot product with `H_i` as a weight besides; its loss is over all items",
    "GCMC": "no: a decoder scores each pair, not a dot product",
    "LINE": "not shipped: a second table of contexts is trained besides and scores nothing",
    "SpectralCF": "not shipped: a `forward` on the graph with filters as weights besides",
}


def general_recommenders() -> list[type]:
    """RecBole's classes, by name."""
    classes = {cls for cls in vars(recboles).values() if isinstance(cls, type) and issubclass(cls, GeneralRecommender)}
    return sorted(classes, key=lambda cls: cls.__name__)


def register(base: type) -> type[UnlearnableRecommender]:
    """Put a class behind ``UnlearnableRecommender``, and make it known."""
    return MODELS.register(types.new_class(f"Plain{base.__name__}", (UnlearnableRecommender, base)))


def answer_to(base: type, settings: dict) -> str:
    """What a run says to a class as it is: the line of a refusal, or what else happens."""
    name = register(base).__name__
    try:
        run_unlearn(name, "tiny", config_dict=settings, saved=False)
    except UsageError as error:
        return str(error).replace(name, base.__name__)
    except Exception as error:
        return f"RAW {type(error).__name__}: {error}"
    finally:
        MODELS._classes.pop(name)
    return "RAW: it runs"


def trained_by(base: type, config: RecBoleConfig, train: Dataset) -> tuple[str, str]:
    """Names of what a class trains: tables with a row for each user or item, and other weights; modules by their names."""
    init_seed(0, True)
    model = base(config, train)
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    tables = [name for name, value in parameters.items() if value.ndim == 2 and len(value) in sizes(train)]
    others = dict.fromkeys(name.partition(".")[0] for name in parameters if name not in tables)
    return ", ".join(name.removesuffix(".weight") for name in tables), ", ".join(others)


def sizes(train: Dataset) -> tuple[int, ...]:
    """Numbers of rows of a table: of users, items, or both."""
    return train.user_num, train.item_num, train.user_num + train.item_num


def table() -> str:
    """The line that all get, and a table of the classes, as Markdown."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # for RecBole's logs
        settings = tiny_settings(tiny_dataset(folder), str(Path(folder) / "saved"))
        train = prepare_data(Config("BPR", "tiny", config_dict=settings)).train
        lines: list[tuple[str, ...]] = []
        answers: Counter[str] = Counter()
        for base in general_recommenders():
            name = base.__name__
            answers[answer_to(base, settings).replace(folder, "").replace(name, "X")] += 1
            config = RecBoleConfig(name, "tiny", config_dict={"data_path": folder, "gpu_id": "", "state": "ERROR"})
            tables, others = trained_by(base, config, train)
            served = f"`--model={name}`" if name in MODELS.shipped() else NOT_SERVED.get(name, "")
            lines.append((name, tables, others, served))
        os.chdir(here)
    of_all = [f"{number} classes: `{line}`" for line, number in answers.items()]
    headings = ("RecBole's", "tables", "weights besides", "served by, or why not")
    return "\n".join([*of_all, "", markdown_table(headings, lines)])


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
            trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)  # NCL has one of its own
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
