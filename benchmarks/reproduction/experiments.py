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
    "SCIF": ("SCIF", ()),
    "GNNDelete": ("GNNDelete", ()),
    PAPERS_ENCODER: ("UnlearnRec", (("ie_target", "negative"),)),
    "UnlearnRec": ("UnlearnRec", ()),
    "DropEdges": ("DropEdges", ()),
}
STAGES = {"UnlearnRec": ("zero-shot",), PAPERS_ENCODER: ("zero-shot", "fine-tuned")}  # as shipped; others have one
FINETUNED = {"UnlearnRec": 0, PAPERS_ENCODER: 1}  # for more and less of it: the epochs that an empty setting means
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
SHIPPED = {
    "unlearn_finetune_epochs": None,
    "ie_epochs": 10,
    "ie_target": "unseen",
    "forget_ratio": 0.01,
}  # no change, no other cell


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


def before(base):
    """Any run has the scores of the original."""
    return _cell(base, "Retrain")


def table_3(base):
    """UnlearnRec with the paper's encoder, and without each of its losses; see :func:`table_2`."""
    rows = {"Retrain": [_cell(base, "Retrain")], "nothing": [_paper(base)]}
    return (
        rows
        | {name: [_paper(base, changes)] for name, changes in WITHOUT.items()}
        | {"UnlearnRec": [_cell(base, "UnlearnRec")]}
    )


def table_4(base):
    """All methods of Table 2, and UnlearnRec by epochs of fine-tuning, a dict of its own; see :func:`table_2`."""
    rows = {name: cells for name, cells in one_seed(base).items() if name not in FINETUNED}
    of_epochs = {name: _by_epochs(base, name, FINETUNING_EPOCHS[:3]) for name in FINETUNED}
    return rows | {name: {epochs: [cell] for epochs, cell in cells.items()} for name, cells in of_epochs.items()}


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
        **{name: _by_epochs(base, name, FINETUNING_EPOCHS) for name in FINETUNED},
        "Retrain": {0: _cell(base, "Retrain")},
    }


def figure_6(base):
    """The case study."""
    return [_cell(base, "UnlearnRec")]


def scaling(base):
    """UnlearnRec on a dataset, for how its cost grows."""
    return [_cell(base, "UnlearnRec")]


@dataclass(frozen=True)
class Experiment:
    """A table or figure.

    Args:
        heading, note (str): what it is, and what its reader must know.
        cells (callable): of a :class:`Cell` with dataset, model, request and setting; returns cells, nested as it likes.
        datasets, models, requests (tuple of str): that it is made for unless others are asked for.
        together (tuple of str): what the bases of one picture have in common; a table is always of one.
    """

    heading: str
    note: str
    cells: Callable
    datasets: tuple = DATASETS
    models: tuple = MODELS
    requests: tuple = REQUESTS[:1]
    together: tuple = ("setting", "dataset", "model")


EXPERIMENTS = {
    "table 2": Experiment(
        "Table 2: utility and forgetting",
        "The paper has the adversarial edges; random interactions and users are requests of ours, as real ones come.",
        table_2,
        requests=REQUESTS,
    ),
    "table 3": Experiment(
        "Table 3: what each part of UnlearnRec is for",
        "Fine-tuned rows but for those that say otherwise. The paper has no L_S, which holds the scores of other pairs in place as "
        "L_P does: its row without L_P stands beside ours without both.",
        table_3,
        DATASETS[:2],
        ("SimGCL",),
    ),
    "table 4": Experiment(
        "Table 4: what a request costs",
        "Online seconds from the request on, offline ones before any. The paper's are of an RTX 3090, ours of the machine that each row "
        "names: compare how many times faster than Retrain a method is on the same kind of machine, as far as both were alone there. An original "
        "takes about as long to train as Retrain. Break-even is offline seconds over the seconds that a request saves against Retrain; empty where it saves none.",
        table_4,
        models=MODELS[:1],
    ),
    "table 5": Experiment(
        "Table 5: requests of several sizes",
        "UnlearnRec zero-shot, the paper's encoder fine-tuned. The paper forgets shares of the dataset's own edges, ours are adversarial ones of that "
        "number, added before training. It does not say of which dataset and backbone its numbers are; their ranking is at the level of its Gowalla's.",
        table_5,
        DATASETS[:1],
        MODELS[:1],
    ),
    "figure 2": Experiment(
        "Figure 2: scores after unlearning",
        "One seed; each method at its last stage. Dashed: means. The aim is Retrain's panel.",
        score_distributions,
    ),
    "figure 3": Experiment(
        "Figure 3: scores before unlearning",
        "The original models, trained with the adversarial edges. Dashed: means.",
        before,
        together=("setting", "dataset"),
    ),
    "figure 4": Experiment(
        "Figure 4: memory",
        "Peak while a request is unlearned: of the whole process on a CPU (Python and its libraries take some 400 MB), of what is "
        "allocated on a GPU. The paper's is of a GPU. A panel is of the machine that Retrain ran on: what ran on another has no bar.",
        one_seed,
        models=MODELS[:1],
        together=("setting", "model"),
    ),
    "figure 5": Experiment(
        "Figure 5: epochs of pre-training and of fine-tuning",
        "Above, the paper's encoder before any fine-tuning; below, both encoders by epochs of fine-tuning, zero being zero-shot. "
        "Pre-training keeps its best epoch, judged on simulated requests, so that further ones may change nothing.",
        figure_5,
        DATASETS[:1],
        MODELS[:1],
    ),
    "figure 6": Experiment(
        "Figure 6: case study",
        "Mean scores over 100 users a case, drawn by the seed, who forget real interactions; the paper shows single pairs. Items are alike "
        "if the same users interacted with them.",
        figure_6,
        DATASETS[:1],
        MODELS[:1],
        requests=("case-study",),
    ),
    "figure scaling": Experiment(
        "Cost and size of the data (not in the paper)",
        "UnlearnRec, zero-shot. The exponent is the slope of a straight line through the logarithms of ml-100k, ml-1m and yelp2018: 1 is linear. gowalla "
        "(hollow) has as many interactions as ml-1m and seven times the nodes, which cost too. Memory is of the whole process, as in Figure 4, "
        "some 400 MB of it Python and its libraries, which flattens its slope. All points are of one machine.",
        scaling,
        ("ml-100k", *DATASETS),
        MODELS[:1],
        together=("setting", "model"),
    ),
}


def bases(name, datasets=None, models=None, requests=None, settings=None):
    """What a table or figure is made for: what is asked for, else what it usually is.

    Args:
        name (str): key of ``EXPERIMENTS``.
        datasets, models, requests, settings (list of str): ``None`` for the usual ones. Only Table 2 has several requests.

    Returns:
        list of Cell: with dataset, model, request and setting.
    """
    usual = EXPERIMENTS[name]
    return [
        Cell(dataset, model, "", request, setting=setting)
        for setting in settings or ["d64"]
        for request in (requests if requests and len(usual.requests) > 1 else usual.requests)
        for dataset in datasets or usual.datasets
        for model in models or usual.models
    ]


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


def _by_epochs(base, name, every):
    """So many epochs of fine-tuning to a cell; that of Table 2 is among them, and has the zero-shot row."""
    (method, encoder), usual = METHODS[name], FINETUNED[name]
    given = {epochs: None if epochs == usual else epochs for epochs in sorted({usual, *every})}
    return {
        epochs: _cell(base, method, (*encoder, ("unlearn_finetune_epochs", setting)))
        for epochs, setting in given.items()
    }


def _paper(base, changes=()):
    method, encoder = METHODS[PAPERS_ENCODER]
    return _cell(base, method, (*encoder, *changes))
