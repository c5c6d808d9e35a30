"""The figures, drawn from the cells' files alone: PNGs, of what was run."""

import itertools
import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from recbole_unlearn.files.checkpoint import write_aside
from recbole_unlearn.report import figure
from reproduction import experiments
from reproduction.cells import load, values_of
from reproduction.experiments import METHODS, PAPERS_ENCODER, SHOWN, STAGES
from reproduction.summary import summary

COLOURS = {"Retrain": "#000000", "UnlearnRec": "#0072b2", PAPERS_ENCODER: "#d55e00", "pre-training": "#d55e00"}
DPI = 130
BAR = 0.2  # width
SCALED = {"online_seconds": "seconds of a request", "peak_memory_mb": "peak memory (MB)"}
ASIDE = "gowalla"  # no more interactions than ml-1m, with seven times the nodes: its points are drawn, and fitted by no line
MODELS = {
    "original": "#999999",
    "Retrain": "#000000",
    "UnlearnRec zero-shot": "#0072b2",
}


def figure_2(folder, bases, path):
    """Scores after unlearning, a panel for each method of ``SHOWN``.

    Args:
        folder (str): of results.
        bases (list of Cell): datasets and models that one picture shows.
        path (str): PNG to write.

    Returns:
        bool: whether there was enough to draw; otherwise nothing is written.
    """
    return _distributions(
        {f"{base.model}: {name}": _scores(folder, base, name, _last_row(name)) for base in bases for name in SHOWN},
        path,
        len(SHOWN),
    )


def figure_3(folder, bases, path):
    """Scores before unlearning, a panel for each backbone; see :func:`figure_2`."""
    return _distributions(
        {base.model: _scores(folder, base, "Retrain", "original") for base in bases}, path, len(bases)
    )


def figure_4(folder, bases, path):
    """Peak memory of a request, a panel for each dataset, a bar for each method; see :func:`figure_2`."""
    peaks = {}
    for base in bases:
        rows = summary(folder, experiments.one_seed(base))
        there = {key: row for key, row in rows.items() if row["n"] and key[0] != "original"}
        if there:
            (machine,) = there.get(("Retrain", ""), next(iter(there.values())))["machines"]
            found = {
                key: row["peak_memory_mb"]["mean"] / 1024 for key, row in there.items() if row["machines"] == [machine]
            }
            peaks[f"{base.dataset}\n{machine}"] = found
    if not peaks:
        return False
    shown = [
        (name, stage)
        for name in METHODS
        for stage in STAGES.get(name, ("",))
        if any((name, stage) in found for found in peaks.values())
    ]
    drawing = Figure(figsize=(2.4 + 2.6 * len(peaks), 3.8), layout="constrained")
    for panel, (title, found) in zip(drawing.subplots(1, len(peaks), squeeze=False, sharey=True).flat, peaks.items()):
        colours = [COLOURS.get(name, "#999999") for name, _ in shown]
        panel.barh(range(len(shown)), [found.get(key, math.nan) for key in shown], color=colours)
        panel.set_title(f"{bases[0].model} on {title}", fontsize=10)
        panel.set_xlabel("peak memory (GiB)")
    panel.set_yticks(range(len(shown)), [f"{name} {stage}".strip() for name, stage in shown])
    panel.invert_yaxis()  # of all panels
    _write(drawing, path)
    return True


def figure_5(folder, bases, path):
    """Ranking and forgetting by epochs of pre-training and of fine-tuning; see :func:`figure_2`."""
    (base,) = bases
    curves = experiments.figure_5(base)
    results = {name: {epochs: load(folder, cell) for epochs, cell in cells.items()} for name, cells in curves.items()}
    retrain = results.pop("Retrain")[0]
    aim = _rows(retrain).get("") if retrain else None
    if not any(any(points.values()) for points in results.values()):
        return False
    drawing = Figure(figsize=(9.6, 6.0), layout="constrained")
    panels = drawing.subplots(2, 2, sharex="row")
    for (left, right), finetuning in zip(panels, (False, True)):
        for name in [name for name in results if (name != "pre-training") == finetuning]:
            for metric, panel in (("ndcg@20", left), ("MI-BF", right)):
                panel.plot(
                    *_curve(results[name], metric, finetuning), marker="o", color=COLOURS[name], label=_title(name)
                )
        for metric, panel in (("ndcg@20", left), ("MI-BF", right)):
            if aim:
                panel.axhline(aim[metric], color=COLOURS["Retrain"], linewidth=1, linestyle="--", label="Retrain")
            panel.set_ylabel(metric.upper() if metric.startswith("n") else metric)
            panel.set_xlabel("epochs of fine-tuning" if finetuning else "epochs of pre-training")
            panel.xaxis.get_major_locator().set_params(integer=True)
    drawing.legend(
        *panels[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False
    )
    _write(drawing, path)
    return True


def figure_6(folder, bases, path):
    """The case study: mean scores of pairs before and after, by their likeness to the forgotten; see :func:`figure_2`."""
    (base,) = bases
    (cell,) = experiments.figure_6(base)
    result = load(folder, cell)
    if result is None:
        return False
    cases = result["cases"]
    drawing = Figure(figsize=(5.2 * len(cases), 3.8), layout="constrained")
    panels = drawing.subplots(1, len(cases), squeeze=False, sharey=True)[0]
    for panel, (case, groups) in zip(panels, cases.items()):
        for number, (model, colour) in enumerate(MODELS.items()):
            at = np.arange(len(groups)) + (number - (len(MODELS) - 1) / 2) * BAR
            panel.bar(at, [group[model] for group in groups.values()], BAR, label=model, color=colour)
        panel.set_xticks(range(len(groups)), groups, fontsize=8)
        panel.set_title(case, fontsize=10)
    panels[0].set_ylabel("mean score")
    drawing.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(MODELS), fontsize=8, frameon=False
    )
    _write(drawing, path)
    return True


def figure_scaling(folder, bases, path):
    """Seconds and memory of UnlearnRec against interactions, with the exponents of power laws; see :func:`figure_2`."""
    costs = costs_by_size(folder, bases)
    fitted = {stage: [point for point in points if point["dataset"] != ASIDE] for stage, points in costs.items()}
    if min(map(len, fitted.values()), default=0) < 2:
        return False
    drawing = Figure(figsize=(9.6, 3.8), layout="constrained")
    for panel, (key, heading) in zip(drawing.subplots(1, 2), SCALED.items()):
        for (stage, points), marker in zip(costs.items(), "os"):
            sizes = np.array([point["interactions"] for point in fitted[stage]])
            exponent, factor = power_law(fitted[stage], key)
            colour, label = MODELS[f"UnlearnRec {stage}"], f"{stage}: exponent {exponent:.2f}"
            if len(points) > len(sizes):
                label += f" ({power_law(points, key)[0]:.2f} with {ASIDE})"
            panel.loglog(sizes, factor * sizes**exponent, color=colour, label=label)
            for point in points:
                face = "none" if point["dataset"] == ASIDE else colour
                panel.loglog(point["interactions"], point[key], marker=marker, color=colour, markerfacecolor=face)
        of_datasets = {}
        for point in itertools.chain(*costs.values()):
            of_datasets.setdefault(point["dataset"], []).append((point["interactions"], point[key]))
        for dataset, places in of_datasets.items():
            offset = (-8, -3) if dataset == ASIDE else (-6, 6)
            panel.annotate(dataset, max(places), xytext=offset, textcoords="offset points", fontsize=8, ha="right")
        panel.margins(x=0.2, y=0.2)
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel("training interactions")
        panel.set_ylabel(heading)
        panel.legend(fontsize=8, frameon=False)
    _write(drawing, path)
    return True


def costs_by_size(folder, bases):
    """What a request costs UnlearnRec on each dataset that was run on the same machine as the first of them.

    Args:
        folder, bases: see :func:`figure_2`.

    Returns:
        dict: stage to a list of ``dataset``, ``interactions`` and the keys of ``SCALED``, fewest interactions first.
    """
    costs = {}
    results = {base: load(folder, *experiments.scaling(base)) for base in bases}
    there = {base: result for base, result in results.items() if result}
    machines = [result["versions"]["machine"] for result in there.values()]
    for base, result in there.items():
        if result["versions"]["machine"] != machines[0]:
            continue
        for stage, row in _rows(result).items():
            point = {
                "dataset": base.dataset,
                "interactions": result["interactions"]["training"],
                **{key: row[key] for key in SCALED},
            }
            costs.setdefault(stage, []).append(point)
    return {stage: sorted(points, key=lambda point: point["interactions"]) for stage, points in costs.items()}


def power_law(points, key):
    """``e`` and ``c`` of ``cost ~ c interactions ** e`` by least squares of logarithms; not numbers for fewer than two sizes."""
    sizes, costs = (np.log([point[axis] for point in points]) for axis in ("interactions", key))
    if len(set(sizes)) < 2:
        return math.nan, math.nan
    exponent, constant = np.polyfit(sizes, costs, 1)
    return float(exponent), math.exp(constant)


def _distributions(scores, path, columns):
    """Panels of those that were run."""
    there = {title: sets for title, sets in scores.items() if sets}
    if there:
        write_aside(path, lambda temporary: figure.score_distributions(there, temporary, columns))
    return bool(there)


def _scores(folder, base, name, row):
    """Scores of a row of Table 2 by set of pairs, ``None`` if it was not run."""
    result = load(folder, experiments.one_seed(base)[name][0])
    sets = (result or {}).get("scores", {}).get(row)
    return sets and {pairs: values_of(histogram) for pairs, histogram in sets.items()}


def _last_row(name):
    """The label of a method's last stage in a report."""
    return f"{METHODS[name][0]} {STAGES.get(name, ('',))[-1]}".strip()


def _rows(result):
    """A cell's own rows by stage; none of a method without a result."""
    return {row["stage"]: row for row in result["results"] if row["method"] != "original" and "MI-BF" in row}


def _curve(points, metric, finetuning):
    """Epochs and a metric: of what was pre-trained alone, or fine-tuned, from zero epochs of that on."""
    wanted = "fine-tuned" if finetuning else "zero-shot"
    runs = {epochs: _rows(result) for epochs, result in points.items() if result}
    curve = {epochs: rows[wanted][metric] for epochs, rows in runs.items() if wanted in rows}
    if finetuning:
        curve |= {0: rows["zero-shot"][metric] for rows in list(runs.values())[:1] if rows}
    epochs = sorted(curve)
    return epochs, [curve[epoch] for epoch in epochs]


def _title(name):
    return PAPERS_ENCODER if name == "pre-training" else name


def _write(drawing, path):
    write_aside(path, lambda temporary: drawing.savefig(temporary, dpi=DPI, format="png"))
