"""The tables as Markdown, the paper's numbers in brackets behind ours."""

import math

from recbole_unlearn.report.tables import markdown_table
from reproduction import experiments, paper
from reproduction.experiments import FINETUNING_EPOCHS, METHODS, PAPERS_ENCODER, STAGES, WITHOUT
from reproduction.summary import summary

PAPERS_WITHOUT = {
    "L_U": "L_U",
    "L_P and L_S": "L_P",
    "L_C": "L_C",
}  # a row of Table 3: the paper's row, which has no L_S
NOT_RUN = "not run"
NO_RESULT = "no result"
QUALITY = {  # a column's heading: key in a summarised row, and how a number is written
    "Recall@20": ("recall@20", "{:.4f}".format),
    "NDCG@20": ("ndcg@20", "{:.4f}".format),
    "MI-BF": ("MI-BF", "{:.2f}".format),
    "MI-NG": ("MI-NG", "{:.2f}".format),
    "NDCG / Retrain's": ("ndcg@20_ratio", "{:.3f}".format),
    "gap MI-BF": ("MI-BF_gap", "{:.2f}".format),
    "gap MI-NG": ("MI-NG_gap", "{:.2f}".format),
    "gap AUC_FN": ("AUC_FN_gap", "{:.3f}".format),
    "gap AUC_FT": ("AUC_FT_gap", "{:.3f}".format),
}


def table_2(folder, base):
    """Utility and forgetting of all methods."""
    rows = summary(folder, experiments.table_2(base))
    adversarial = base.request == "adversarial"
    retrain = _papers(base, "Retrain") if adversarial else {}
    lines = [("original", rows.get(("original", "")), {})]
    for name in METHODS:
        for stage in STAGES.get(name, ("",)):
            printed = _papers(base, name) if adversarial and stage in ("", "fine-tuned") else {}
            lines.append((f"{name} {stage}".strip(), _row(rows, name, stage), _with_gaps(printed, retrain)))
    return _quality(lines)


def table_3(folder, base):
    """UnlearnRec with the paper's encoder, fine-tuned, without one of its parts."""
    rows = summary(folder, experiments.table_3(base))
    retrain = _papers(base, "Retrain")

    def line(title, name, stage="fine-tuned", without=None):
        return title, _row(rows, name, stage), _with_gaps(paper.table_3(base.dataset, base.model, without), retrain)

    lines = [("Retrain", _row(rows, "Retrain"), retrain), line(PAPERS_ENCODER, "nothing", without="nothing")]
    lines += [line(f"without {name}", name, without=PAPERS_WITHOUT.get(name)) for name in WITHOUT]
    lines += [line("without fine-tuning", "nothing", "zero-shot", "fine-tuning")]
    lines += [line("UnlearnRec", "UnlearnRec"), line("UnlearnRec without fine-tuning", "UnlearnRec", "zero-shot")]
    return _quality(lines)


def table_4(folder, base):
    """Seconds of a request and before any, and how many times faster than Retrain."""
    cells = experiments.table_4(base)
    others = [name for name in cells if name not in STAGES]
    finetuned = {_epochs(name, epochs): of_epochs for name in STAGES for epochs, of_epochs in cells[name].items()}
    rows = summary(folder, {name: cells[name] for name in others} | finetuned)
    lines = [(name, _row(rows, name), paper.table_4(base.dataset, name)) for name in others]
    for name in STAGES:
        lines.append((f"{name} zero-shot", _row(rows, _epochs(name, 1), "zero-shot"), paper.table_4(base.dataset, 0)))
        for epochs in FINETUNING_EPOCHS[:3]:
            title = _epochs(name, epochs)
            lines.append((title, _row(rows, title, "fine-tuned"), paper.table_4(base.dataset, epochs)))
    retrain = paper.table_4(base.dataset, "Retrain")
    body = []
    for title, row, printed in lines:
        body.append(
            [
                title,
                _cell(row, "online_seconds", _short, printed),
                "" if title == "Retrain" else _cell(row, "speed_up", _short, printed and retrain / printed),
                "" if title == "Retrain" else _cell(row, "offline_seconds", _short),
                "" if title == "Retrain" else _cell(row, "break_even", _short),
                _cell(row, "peak_memory_mb", "{:,.0f}".format),
                "; ".join(row["machines"] if row else []),
            ]
        )
    return markdown_table(
        ["", "online s", "times faster than Retrain", "offline s", "break-even (requests)", "peak MB", "machine"], body
    )


def table_5(folder, base):
    """UnlearnRec on requests of several sizes, beside Retrain."""
    lines = []
    for ratio, cells in experiments.table_5(base).items():
        rows = summary(folder, cells)
        retrain, share = _row(rows, "Retrain"), f"{ratio:.2%}"
        lines.append((f"{share} Retrain", retrain, {}))
        lines.append((f"{share} UnlearnRec", _row(rows, "UnlearnRec", "fine-tuned"), paper.table_5(ratio)))
        lines.append((f"{share} {PAPERS_ENCODER}", _row(rows, PAPERS_ENCODER, "fine-tuned"), paper.table_5(ratio)))
    return _quality(lines)


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


def _epochs(name, epochs):
    """The title of a row that was fine-tuned for so long."""
    return f"{name}, {epochs} epoch{'s' * (epochs > 1)}"


def _short(value):
    """Three figures; of nothing below a thousandth."""
    if value < 0.001:
        return "0" if value == 0 else "< 0.001"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _quality(lines):
    """A line each: title, summarised row or ``None``, the paper's numbers."""
    body = []
    for title, row, printed in lines:
        cells = [_cell(row, key, form, printed.get(key)) for key, form in QUALITY.values()]
        body.append([title, *cells, str(row["n"]) if row else ""])
    ran = {}
    for title, row, _ in lines:
        for machine in row["machines"] if row else []:
            ran.setdefault(machine, []).append(title)
    usual, *others = sorted(ran, key=lambda machine: -len(ran[machine])) or ["none of these rows"]
    told = [usual, *(f"of {' and '.join(ran[machine])}: {machine}" for machine in others)]
    return f"{markdown_table(['', *QUALITY, 'seeds'], body)}\n\nMachine: {'; '.join(told)}."


def _cell(row, key, form, printed=None):
    """Mean, standard deviation where there is one, and the paper's number in brackets."""
    behind = f" ({form(printed)})" if printed is not None else ""
    if row is None:
        return NOT_RUN + behind
    if row["n"] == 0:
        return NO_RESULT + behind
    value = row.get(key)
    if value is None or value["mean"] is None:
        return behind.strip()
    spread = "" if value["sd"] is None else f" ± {form(value['sd'])}"
    return f"{form(value['mean'])}{spread}{behind}"
