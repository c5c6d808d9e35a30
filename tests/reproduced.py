"""Cells of the paper's tables and figures without a training, and the tables of the page that is made of them."""

import zlib
from dataclasses import replace

import numpy as np
from reproduction import figures
from reproduction.cells import SEEDS, Cell, histogram, save
from reproduction.experiments import EXPERIMENTS, PAPERS_ENCODER, STAGES, all_cells, bases

from recbole_unlearn.report.tables import label

SIZES = {"ml-100k": 80_000, "ml-1m": 800_000, "gowalla": 820_000, "yelp2018": 1_240_000}
AGAIN = {"again": 2.2}  # MI-BF of the second Retrain: the floor is ln 1.1


def base_of(name):
    return bases(name)[0]


def cell_of(method="UnlearnRec", *changes, **others):
    return replace(Cell("ml-1m", "LightGCN", method, changes=changes), **others)


def usual_cells():
    """All cells of all tables and figures as they usually are."""
    return all_cells([experiment.cells(base) for name, experiment in EXPERIMENTS.items() for base in bases(name)])


def row(method, stage="", **changes):
    metrics = {"recall@20": 0.2, "ndcg@20": 0.3, "MI-BF": 2.0, "MI-NG": 1.5, "AUC_FN": 0.6, "AUC_FT": 0.4}
    return {
        "method": method,
        "stage": stage,
        **metrics,
        "offline_seconds": 3.0,
        "online_seconds": 2.0,
        "peak_memory_mb": 512.0,
        **changes,
    }


def stages_of(cell):
    if cell.method == "Retrain":
        return "", "again"
    changes = dict(cell.changes)
    finetuned = "unlearn_finetune_epochs" in changes or changes.get("ie_target") == "negative"
    return STAGES.get(PAPERS_ENCODER if finetuned else cell.method, ("",))


def report_of(cell, *rows):
    """What a run might report, but for its settings: these rows, or the original's and one for each stage, better with each seed."""
    rows = rows or (
        row("original", **{"MI-BF": 1.0}),
        *(
            row(cell.method, stage, **{"ndcg@20": 0.3 + (cell.seed - SEEDS[0]) / 100, "MI-BF": AGAIN.get(stage, 2.0)})
            for stage in stages_of(cell)
        ),
    )
    report = {
        "model": cell.model,
        "dataset": cell.dataset,
        "seed": cell.seed,
        "data": f"of seed {cell.seed}",
        "interactions": {"training": SIZES.get(cell.dataset, 320)},
        "forget": {"type": cell.request},
        "versions": {"machine": "some machine"},
        "results": list(rows),
    }
    if cell.request == "case-study":
        groups = ("forgotten", "kept, alike")
        report["cases"] = {
            case: {group: {model: 0.5 for model in figures.MODELS} for group in groups} for case in ("one", "ten")
        }
    return report


def left_by(cell, *rows):
    """What is kept of such a run, with today's settings."""
    report = report_of(cell, *rows)
    generator = np.random.default_rng(zlib.crc32(str(cell).encode()))
    scores = {
        label(each): {pairs: histogram(generator.normal(size=50)) for pairs in ("forget", "negative", "test")}
        for each in report["results"]
    }
    return {**report, "settings": cell.settings, "scores": scores}


def keep(folder, cell, *rows, **changes):
    """Save what is left of a cell's run, with these entries in the place of the usual ones."""
    save(folder, cell, {**left_by(cell, *rows), **changes})


def tables_of(page):
    """A section and a title to a table: its rows' names to columns to text."""
    found, section = {}, ""
    blocks = [block.strip() for block in page.read_text(encoding="utf-8").split("\n\n")]
    for title, block in zip(blocks, blocks[1:]):
        if title.startswith("## "):
            section = title[3:].partition(":")[0]
        if block.startswith("|"):
            headings, _, *lines = [line[2:-2].split(" | ") for line in block.splitlines()]
            found[section, title.strip("*:")] = {
                name: dict(zip(headings[1:], texts, strict=True)) for name, *texts in lines
            }
    return found
