"""Which cells each table and figure is made of."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from reproduction import paper
from reproduction.cells import SEEDS, Cell

DATASETS = ("ml-1m", "gowalla", "yelp2018")
MODELS = ("LightGCN", "SGL", "SimGCL")
REQUESTS = ("adversarial", "random", "user")  # the paper has the first

PAPERS_ENCODER = "UnlearnRec, paper's encoder"
METHODS = {  # a row's name: method and settings
    "Retrain": ("Retrain", ()),
    "RecEraser": ("RecEraser", ()),
    "GraphEraser": ("GraphEraser", ()),
    "SISA": ("SISA", ()),
    "CEU": ("CEU", ()),
    "GIF": ("GIF", ()),
    "IFRU": ("IFRU", ()),
    PAPERS_ENCODER: ("UnlearnRec", (("ie_target", "negative"),)),
    "UnlearnRec": ("UnlearnRec", ()),
    "DropEdges": ("DropEdges", ()),
}
STAGES = {"UnlearnRec": ("zero-shot", "fine-tuned"), PAPERS_ENCODER: ("zero-shot", "fine-tuned")}  # others have one
SEVERAL_SEEDS = ("Retrain", "UnlearnRec", PAPERS_ENCODER, "DropEdges")
SHOWN = ("Retrain", "GraphEraser", "GIF", PAPERS_ENCODER, "UnlearnRec")  # of Figures 2 and 3

WITHOUT = {  # what Table 3 leaves out: its settings
    "L_U": (("ie_unlearning_weight", 0),),
    "L_P": (("ie_preserving_weight", 0),),
    "L_S": (("ie_score_weight", 0),),
    "L_P and L_S": (("ie_preserving_weight", 0), ("ie_score_weight", 0)),
    "L_C": (("ie_contrast_weight", 0),),
}
FINETUNING_EPOCHS = (1, 2, 3, 4, 5)
PRETRAINING_EPOCHS = (1, 2, 3, 5, 10, 15)
SHIPPED = {"unlearn_finetune_epochs": 1, "ie_epochs": 10, "forget_ratio": 0.01}  # of properties: no change, no other cell


def table_2(base):
    """All methods; those of ``SEVERAL_SEEDS`` on the paper's request with several seeds.

    Args:
        base (Cell): dataset, model, request and setting.

    Returns:
        dict: a row's name to its cells, which differ in their seed.
    """
    rows = {}
    for name, (method, changes) in METHODS.items():
        seeds = SEEDS if name in SEVERAL_SEEDS and base.request == "adversarial" else SEEDS[:1]
        rows[name] = [_cell(base, method, changes, seed) for seed in seeds]
    return rows


def one_seed(base):
    """The rows of Table 2 with the first seed only: for its costs."""
    return {name: cells[:1] for name, cells in table_2(base).items()}


def score_distributions(base):
    """The rows whose scores Figures 2 and 3 show."""
    return {name: cells for name, cells in one_seed(base).items() if name in SHOWN}


def table_3(base):
    """UnlearnRec with the paper's encoder, and without each of its losses; see :func:`table_2`."""
    rows = {"Retrain": [_cell(base, "Retrain")], "nothing": [_paper(base)]}
    return rows | {name: [_paper(base, changes)] for name, changes in WITHOUT.items()} | {"UnlearnRec": [_cell(base, "UnlearnRec")]}


def table_4(base):
    """All methods of Table 2, and UnlearnRec with one to three epochs of fine-tuning; see :func:`table_2`."""
    rows = {name: cells for name, cells in one_seed(base).items() if name not in STAGES}
    return rows | {epochs: [_cell(base, "UnlearnRec", (("unlearn_finetune_epochs", epochs),))] for epochs in FINETUNING_EPOCHS[:3]}


def table_5(base):
    """Retrain and UnlearnRec for requests of several sizes: a size to the rows of :func:`table_2`."""
    methods = ("Retrain", PAPERS_ENCODER, "UnlearnRec")
    return {
        ratio: {name: [_cell(base, METHODS[name][0], (*METHODS[name][1], ("forget_ratio", ratio)))] for name in methods}
        for ratio in paper.RATIOS
    }


def figure_5(base):
    """By epochs of pre-training (of the paper's encoder) and of fine-tuning (of both): a curve's name to epochs to a cell."""
    return {
        "pre-training": {epochs: _paper(base, (("ie_epochs", epochs),)) for epochs in PRETRAINING_EPOCHS},
        PAPERS_ENCODER: {epochs: _paper(base, (("unlearn_finetune_epochs", epochs),)) for epochs in FINETUNING_EPOCHS},
        "UnlearnRec": {epochs: _cell(base, "UnlearnRec", (("unlearn_finetune_epochs", epochs),)) for epochs in FINETUNING_EPOCHS},
        "Retrain": {0: _cell(base, "Retrain")},
    }


def figure_6(base):
    """The case study."""
    return [_cell(replace(base, request="case-study"), "UnlearnRec")]


def scaling(base):
    """UnlearnRec on a dataset, for how its cost grows."""
    return [_cell(base, "UnlearnRec")]


@dataclass(frozen=True)
class Experiment:
    """A table or figure.

    Args:
        cells (callable): of a :class:`Cell` with dataset, model, request and setting; returns cells, nested as it likes.
        datasets, models, requests (tuple of str): that it is made for unless others are asked for.
    """

    cells: Callable
    datasets: tuple = DATASETS
    models: tuple = MODELS
    requests: tuple = REQUESTS[:1]


EXPERIMENTS = {
    "table 2": Experiment(table_2, requests=REQUESTS),
    "table 3": Experiment(table_3, DATASETS[:2], ("SimGCL",)),
    "table 4": Experiment(table_4, models=MODELS[:1]),
    "table 5": Experiment(table_5, DATASETS[:1], MODELS[:1]),
    "figure 2": Experiment(score_distributions),
    "figure 3": Experiment(score_distributions),
    "figure 4": Experiment(one_seed, models=MODELS[:1]),
    "figure 5": Experiment(figure_5, DATASETS[:1], MODELS[:1]),
    "figure 6": Experiment(figure_6, DATASETS[:1], MODELS[:1]),
    "figure scaling": Experiment(scaling, ("ml-100k", *DATASETS), MODELS[:1]),
}


def all_cells(cells):
    """The cells of a nest of dicts and lists, each once, in order."""
    if isinstance(cells, Cell):
        return [cells]
    nested = cells.values() if isinstance(cells, dict) else cells
    return list(dict.fromkeys(cell for some in nested for cell in all_cells(some)))


def _cell(base, method, changes=(), seed=SEEDS[0]):
    """A cell; settings that are as shipped are left out, so that the same run has the same name everywhere."""
    changes = tuple((key, value) for key, value in changes if SHIPPED.get(key) != value)
    return replace(base, method=method, seed=seed, changes=changes)


def _paper(base, changes=()):
    method, encoder = METHODS[PAPERS_ENCODER]
    return _cell(base, method, (*encoder, *changes))
