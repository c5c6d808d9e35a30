"""The page that shows everything: which table or figure stands where."""

from pathlib import Path

from recbole_unlearn.checkpoint import write_aside
from reproduction import figures, tables
from reproduction.cells import Cell
from reproduction.experiments import EXPERIMENTS

REQUESTED = {"adversarial": "1 % adversarial edges", "random": "1 % of the interactions", "user": "1 % of the users"}
PREAMBLE = """# The paper's tables and figures

Drawn by `python benchmarks/reproduce.py --render` from the files in this folder, each of which is one run of the public pipeline and
says by which command. In brackets behind our number: the paper's, where it has one. Mean ± standard deviation where there are
several seeds. What was not run says so.

**Not the paper's**: the setting `d64` has embeddings of 64 instead of 128 (`d128` has the paper's). Gowalla is the LightGCN authors'
cut (29,858 users, 40,981 items), the paper's another (25,557, 19,747) that is not public. All splits are ours: a fifth of each user's
interactions is test data, as in the paper, and one in a hundred, but at least one, is validation data. The adversarial edges are a
node's least likely ones, of the paper's not named pool of unlikely ones. Numbers therefore differ from the paper's in their level; what compares is
how far a method is from Retrain beside it. *Gaps* are |ln(m / Retrain's m)| of MI-BF and MI-NG and |m - Retrain's m| of the AUCs: 0 is
Retrain, the aim. `UnlearnRec, paper's encoder` is pre-trained on simulated requests as the paper has it (`ie_target: negative`), `UnlearnRec`
is what we ship (`ie_target: unseen`); the paper's numbers stand beside both.
"""
NOTES = {
    "table 2": "Utility and forgetting",
    "table 3": "What each part of UnlearnRec is for",
    "table 4": "What a request costs",
    "table 5": "Requests of several sizes",
    "figure 2": "Scores after unlearning",
    "figure 3": "Scores before unlearning",
    "figure 4": "Memory",
    "figure 5": "Epochs of pre-training and of fine-tuning",
    "figure 6": "Case study",
    "figure scaling": "Beyond the paper: cost and size of the data",
}
TOGETHER = {  # what the cells of one picture have in common; other figures and all tables are of one base
    "figure 3": ("setting", "dataset"),
    "figure 4": ("setting", "model"),
    "figure scaling": ("setting", "model"),
}


def bases(experiment, datasets=None, models=None, requests=None, settings=None):
    """What a table or figure is made for: what is asked for, else what it usually is.

    Args:
        experiment (str): key of ``EXPERIMENTS``.
        datasets, models, requests, settings (list of str): ``None`` for the usual ones.

    Returns:
        list of Cell: with dataset, model, request and setting.
    """
    usual = EXPERIMENTS[experiment]
    return [
        Cell(dataset, model, "", request, setting=setting)
        for setting in settings or ["d64"]
        for request in (requests if requests and len(usual.requests) > 1 else usual.requests)
        for dataset in datasets or usual.datasets
        for model in models or usual.models
    ]


def render(folder, chosen=None):
    """Write the page ``README.md`` and its pictures from the cells in a folder.

    Args:
        folder (str): of results.
        chosen (dict): experiments to bases that are shown besides the usual ones.

    Returns:
        Path: of the page.
    """
    parts = [PREAMBLE]
    for name, heading in NOTES.items():
        shown = bases(name) + (bases(name, requests=["adversarial"], settings=["d128"]) if name == "table 2" else [])
        shown = list(dict.fromkeys(shown + (chosen or {}).get(name, [])))
        parts.append(f"## {name.capitalize()}: {heading}")
        parts += _tables(folder, name, shown) if name.startswith("table") else _figures(folder, name, shown)
    page = Path(folder, "README.md")
    write_aside(str(page), lambda temporary: Path(temporary).write_text("\n\n".join(parts) + "\n", encoding="utf-8"))
    return page


def _tables(folder, name, shown):
    draw = getattr(tables, name.replace(" ", "_"))
    return [f"**{_title(base)}**:\n\n{draw(folder, base)}" for base in shown]


def _figures(folder, name, shown):
    draw = getattr(figures, name.replace(" ", "_"))
    common = TOGETHER.get(name, ("setting", "dataset", "model"))
    groups = {}
    for base in shown:
        groups.setdefault(tuple(getattr(base, key) for key in common), []).append(base)
    parts = []
    for key, group in groups.items():
        picture = Path("figures", "-".join((name.replace(" ", "-"), *(Path(part).stem for part in key))) + ".png")
        title = ", ".join(Path(part).stem for part in key)
        drawn = draw(folder, group, str(Path(folder, picture)))
        parts.append(f"![{name}: {title}]({picture.as_posix()})" if drawn else f"**{title}**: not run")
    return parts


def _title(base):
    return f"{base.model} on {base.dataset}, {REQUESTED.get(base.request, base.request)}, {Path(base.setting).stem}"
