"""The page that shows everything: which table or figure stands where."""

from dataclasses import replace
from pathlib import Path

from recbole_unlearn.files.checkpoint import write_aside
from reproduction import figures, tables
from reproduction.cells import SEEDS, cells_there, load
from reproduction.experiments import EXPERIMENTS, all_cells, bases

DRAW = {
    "table 2": tables.table_2,
    "table 3": tables.table_3,
    "table 4": tables.table_4,
    "table 5": tables.table_5,
    "figure 2": figures.figure_2,
    "figure 3": figures.figure_3,
    "figure 4": figures.figure_4,
    "figure 5": figures.figure_5,
    "figure 6": figures.figure_6,
    "figure scaling": figures.figure_scaling,
}
REQUESTED = {"adversarial": "adversarial edges", "random": "random interactions", "user": "users"}
PREAMBLE = """# The paper's tables and figures

Drawn by `python benchmarks/reproduce.py --render` from the files in this folder, each of which is one run of the public pipeline and
says by which command. [`benchmarks/README.md`](../README.md) says what to make of all this; everything else in this folder belongs to the pages beside it.

- **[In square brackets]**: the paper's number, or what we computed from its numbers (ratios, gaps, times faster).
- **(4.1x)**: a gap in multiples of the **floor**, which is the distance between two Retrains that differ in their random streams alone. `Retrain again` is
  the second one. At 1x or less, nobody can tell a method from another Retrain. Several seeds share one floor, the mean of theirs. One difference of two
  Retrains is a rough floor: by chance it may be near zero, and every multiple of it huge.
- **a / b / c**: the gaps and ratios of the seeds 2021, 2022 and 2023, each taken within its seed. Other columns have the mean over seeds; a row of one
  seed is of 2021, so that its gap, not its level, compares it with a Retrain of three. Tables 3 to 5 and the figures are of one seed.
- **MI-BF** is the mean probability of the forgotten pairs before, over that after; **MI-NG** that of pairs never interacted with, over that of the
  forgotten ones, both after. The paper wants them high. Here **Retrain's are the aim**: beyond them is as wrong as below.
- **gap** of MI-BF and MI-NG: |ln(m / Retrain's m)|; of AUC_FN and AUC_FT (how well scores tell forgotten pairs from pairs never interacted with, and
  from held-out positives): the difference to Retrain's. 0 is Retrain. [`docs/evaluation.md`](../../docs/evaluation.md) explains each column.
- **No result**: the method was run and diverged. What was not run at all is named below its table, or at the end of the page.
- **A request** is 1 % of the interactions, or of the users, except in Table 5 and Figure 6.
- **UnlearnRec, paper's encoder** is pre-trained on simulated requests to push forgotten pairs down (`ie_target: negative`; with one loss more than the
  paper's, L_S). **UnlearnRec** is what we ship (`ie_target: unseen`), without fine-tuning. The paper's numbers, of its
  fine-tuned models, stand beside the last stage of both. **DropEdges** only drops the edges.

What differs from the paper:

- `d64` has embeddings of 64 instead of 128, and trains in large batches with learning rates and epochs to match
  ([`properties/setting/`](../../properties/setting)). `d128` has the paper's size.
- Where nothing else is said, UnlearnRec is not fine-tuned, and the paper's encoder for one epoch, in the paper 3 to 5; pre-training of the paper's
  encoder is 10 epochs in batches that suit the data's size ([`properties/dataset/`](../../properties/dataset)), in the paper 10 to 15 in batches of 512
  or 1,024.
- All splits are ours: a fifth of each user's interactions is test data, where the paper splits all together; one in a hundred, but at least one a
  user, is validation data. Gowalla is the LightGCN authors' cut (29,858 users, 40,981 items, 1,027,370 interactions), the paper's another
  (25,557, 19,747, 294,983) that is not public.
- Adversarial edges are a node's least likely ones. The paper draws from unlikely edges at random, and does not say from how many, nor how many it draws.

The request of a seed is the same on every machine. Where a table's cells are of several machines, a line below it says which; each has its own original,
trained alike, but for rounding and the libraries' versions. A CPU is named by its kind and threads: two hosts of a kind are not told apart, nor is what else
ran on them. Cells may be of several states of the code; `versions` in each file has a digest of it.

So the level of a number differs from the paper's; what compares is how far a method is from Retrain beside it."""


def render(folder):
    """Write the page ``README.md`` and its pictures from the cells in a folder.

    Args:
        folder (str): of results.

    Returns:
        Path: of the page.
    """
    parts, missing = [PREAMBLE], []
    for name, experiment in EXPERIMENTS.items():
        shown, others = _shown(folder, name)
        drawn, undrawn = (_tables if name.startswith("table") else _figures)(folder, name, shown)
        parts += [f"## {experiment.heading}", experiment.note, *drawn] if drawn else []
        titles = _titles([base for base in others + undrawn if base in _usual(name)])
        missing += [f"{experiment.heading.partition(':')[0]} ({'; '.join(titles)})"] if titles else []
    if missing:
        parts += ["## Not run", f"Not run on today's code: {', '.join(missing)}."]
    page = Path(folder, "README.md")
    write_aside(str(page), lambda temporary: Path(temporary).write_text("\n\n".join(parts) + "\n", encoding="utf-8"))
    return page


def _usual(name):
    """What a table or figure is made for; Table 2 also at the paper's size."""
    return bases(name) + (bases(name, requests=["adversarial"], settings=["d128"]) if name == "table 2" else [])


def _shown(folder, name):
    """Of what is usual and of what else was run: what was run enough, and what was not."""
    run = [base for base in _run(folder) if base.request in EXPERIMENTS[name].requests]
    every = list(dict.fromkeys(_usual(name) + run))
    shown = [base for base in every if _enough(folder, name, base)]
    return shown, [base for base in every if base not in shown]


def _enough(folder, name, base):
    """Tables 2 and 4 once their aim, Retrain, is there. Others once any cell is that no other has; or, where all are others', too,
    any of what is usual and all of what is not."""
    experiment = EXPERIMENTS[name]
    cells = experiment.cells(base)
    if name == "table 2" or (name == "table 4" and base.model in experiment.models):
        return load(folder, cells["Retrain"][0]) is not None
    shared = set(all_cells([other.cells(base) for key, other in EXPERIMENTS.items() if key != name]))
    own = [cell for cell in all_cells(cells) if cell not in shared]
    there = [load(folder, cell) is not None for cell in own or all_cells(cells)]
    return any(there) if own or base in _usual(name) else all(there)


def _run(folder):
    """What the cells in a folder were run for."""
    return dict.fromkeys(replace(cell, method="", seed=SEEDS[0], changes=()) for cell in cells_there(folder))


def _tables(folder, name, shown):
    """A table each; none is without one."""
    return [f"**{_title(base)}**\n\n{DRAW[name](folder, base)}" for base in shown], []


def _figures(folder, name, shown):
    """A picture for each group, and what there was not enough of to draw."""
    groups = {}
    for base in shown:
        groups.setdefault(tuple(Path(getattr(base, key)).stem for key in EXPERIMENTS[name].together), []).append(base)
    parts, undrawn = [], []
    for key, group in groups.items():
        picture = Path("figures", "-".join((name.replace(" ", "-"), *key)) + ".png")
        if not DRAW[name](folder, group, str(Path(folder, picture))):
            undrawn += group
            continue
        parts.append(f"![{EXPERIMENTS[name].heading}, {', '.join(key)}]({picture.as_posix()})")
        absent = [
            cell for cell in all_cells([EXPERIMENTS[name].cells(base) for base in group]) if not load(folder, cell)
        ]
        parts += [f"Not run: {'; '.join(f'`{cell}`' for cell in absent)}."] if absent else []
    return parts, undrawn


def _title(base):
    (title,) = _titles([base])
    return title


def _titles(bases):
    """What they are of; those that differ in their backbone alone together, then those that differ in their dataset alone."""
    models, datasets = {}, {}
    for base in bases:
        models.setdefault((base.dataset, base.request, Path(base.setting).stem), []).append(base.model)
    for (dataset, request, setting), of in models.items():
        datasets.setdefault((", ".join(of), request, setting), []).append(dataset)
    return [
        f"{of} on {', '.join(on)}, {REQUESTED.get(request, request)}, {setting}"
        for (of, request, setting), on in datasets.items()
    ]
