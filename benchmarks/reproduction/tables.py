"""The tables as Markdown, the paper's numbers in square brackets behind ours."""

import math

from reproduction import experiments, paper
from reproduction.experiments import FINETUNED, FINETUNING_EPOCHS, METHODS, PAPERS_ENCODER, STAGES, WITHOUT
from reproduction.rows import cost, quality
from reproduction.summary import summary

PAPERS_WITHOUT = {
    "L_U": "L_U",
    "L_P and L_S": "L_P",
    "L_C": "L_C",
}  # a row of Table 3: the paper's row, which has no L_S


def table_2(folder, base):
    """Utility and forgetting of all methods."""
    rows = summary(folder, experiments.table_2(base))
    adversarial = base.request == "adversarial"
    retrain = _papers(base, "Retrain") if adversarial else {}
    lines = [("original", rows.get(("original", "")), {})]
    for name in METHODS:
        for stage in STAGES.get(name, ("",)):
            printed = _papers(base, name) if adversarial and stage == STAGES.get(name, ("",))[-1] else {}
            lines.append((f"{name} {stage}".strip(), _row(rows, name, stage), _with_gaps(printed, retrain)))
        if name == "Retrain":
            lines.append(_again(rows))
    return quality(lines)


def table_3(folder, base):
    """UnlearnRec with the paper's encoder, fine-tuned, without one of its parts."""
    rows = summary(folder, experiments.table_3(base))
    retrain = _papers(base, "Retrain")

    def line(title, name, stage="fine-tuned", without=None):
        return title, _row(rows, name, stage), _with_gaps(paper.table_3(base.dataset, base.model, without), retrain)

    lines = [("Retrain", _row(rows, "Retrain"), retrain), _again(rows)]
    lines += [line(PAPERS_ENCODER, "nothing", without="nothing")]
    lines += [line(f"without {name}", name, without=PAPERS_WITHOUT.get(name)) for name in WITHOUT]
    lines += [line("without fine-tuning", "nothing", "zero-shot", "fine-tuning")]
    lines += [line("UnlearnRec zero-shot", "UnlearnRec", "zero-shot")]
    return quality(lines)


def table_4(folder, base):
    """Seconds of a request and before any, and how many times faster than Retrain."""
    cells = experiments.table_4(base)
    others = [name for name in cells if name not in FINETUNED]
    finetuned = {_epochs(name, epochs): of_epochs for name in FINETUNED for epochs, of_epochs in cells[name].items()}
    rows = summary(folder, {name: cells[name] for name in others} | finetuned)

    def line(title, row, of_paper):
        seconds = paper.table_4(base.dataset, of_paper)
        return title, row, {} if seconds is None else {"online_seconds": seconds}

    lines = [line(name, _row(rows, name), name) for name in others]
    for name, usual in FINETUNED.items():
        lines.append(line(f"{name} zero-shot", _row(rows, _epochs(name, usual), "zero-shot"), 0))
        for epochs in FINETUNING_EPOCHS[:3]:
            title = _epochs(name, epochs)
            lines.append(line(title, _row(rows, title, "fine-tuned"), epochs))
    return cost(lines, paper.table_4(base.dataset, "Retrain"))


def table_5(folder, base):
    """UnlearnRec on requests of several sizes, beside Retrain."""
    lines = []
    for ratio, cells in experiments.table_5(base).items():
        rows, printed = summary(folder, cells), paper.table_5(ratio)
        of_ratio = [
            ("Retrain", _row(rows, "Retrain"), {}),
            _again(rows),
            ("UnlearnRec", _row(rows, "UnlearnRec", "zero-shot"), printed),
            (PAPERS_ENCODER, _row(rows, PAPERS_ENCODER, "fine-tuned"), printed),
        ]
        lines += [(f"{ratio:.2%} {title}", row, numbers) for title, row, numbers in of_ratio]
    return quality(lines)


def _papers(base, name):
    """The paper's numbers of a row of Table 2; its encoder is its UnlearnRec, and so what ours is compared with."""
    return paper.table_2(base.dataset, base.model, METHODS[name][0])


def _with_gaps(printed, retrain):
    """The paper's numbers and their own gaps to its Retrain."""
    if not printed or not retrain or printed == retrain:
        return printed
    gaps = {f"{metric}_gap": abs(math.log(printed[metric] / retrain[metric])) for metric in ("MI-BF", "MI-NG")}
    return {**printed, **gaps, "ndcg@20_ratio": printed["ndcg@20"] / retrain["ndcg@20"]}


def _row(rows, name, stage=""):
    """A summarised row; one without a result where a method that has stages failed before the first; ``None`` if not run."""
    return rows.get((str(name), stage), rows.get((str(name), "")))


def _again(rows):
    """The line of the second Retrain, the floor, which the paper does not have."""
    return "Retrain again", rows.get(("Retrain", "again")), {}


def _epochs(name, epochs):
    """The title of a row that was fine-tuned for so long."""
    return f"{name}, {epochs} epoch{'s' * (epochs > 1)}"
