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

- **In brackets**: the paper's number, or what we computed from its numbers (ratios, gaps, times faster).
- **Not run**: no machine has run it yet. **No result**: it was run and diverged.
- **Mean ± standard deviation** where there are several seeds; gaps and ratios are taken within each seed. Tables 3 to 5 and the figures are of one.
- **MI-BF** is the mean probability of the forgotten pairs before, over that after; **MI-NG** that of pairs never interacted with, over that of the
  forgotten ones, both after. The paper wants them high. Here **Retrain's are the aim**: beyond them is as wrong as below.
- **gap** of MI-BF and MI-NG: |ln(m / Retrain's m)|; of AUC_FN and AUC_FT (how well scores tell forgotten pairs from pairs never interacted with, and
  from held-out positives): the difference to Retrain's. 0 is Retrain.
- **Older code.** These cells are of commits up to 71b4dbe, before the random streams became independent: on an adversarial request Retrain then continued
  the attacker's own training, and so gave the forgotten pairs less than an independent Retrain does. They have no second Retrain. They are to be run again.
- **A request** is 1 % of the interactions, or of the users, except in Table 5 and Figure 6.
- **UnlearnRec, paper's encoder** is pre-trained on simulated requests to push forgotten pairs down (`ie_target: negative`; with one loss more than the
  paper's, L_S). **UnlearnRec** is what we ship (`ie_target: unseen`). The paper's numbers stand beside both. **DropEdges** only drops the edges.

What differs from the paper:

- `d64` has embeddings of 64 instead of 128, and trains in large batches with learning rates and epochs to match
  ([`properties/setting/`](../../properties/setting)). `d128` has the paper's size.
- Fine-tuning is one epoch where nothing else is said, the paper's 3 to 5; pre-training of the paper's encoder is 10 epochs in batches that suit the
  data's size ([`properties/dataset/`](../../properties/dataset)), in the paper 10 to 15 in batches of 512 or 1,024.
- All splits are ours: a fifth of each user's interactions is test data, where the paper splits all together; one in a hundred, but at least one a
  user, is validation data. Gowalla is the LightGCN authors' cut (29,858 users, 40,981 items, 1,027,370 interactions), the paper's another
  (25,557, 19,747, 294,983) that is not public.
- Adversarial edges are a node's least likely ones. The paper draws from unlikely edges at random, and does not say from how many, nor how many it draws.

The request of a seed is the same on every machine. Where a table's cells are of several machines, a line below it says which; each has its own original,
trained alike, but for rounding and the libraries' versions. A CPU is named by its kind and threads: two hosts of a kind are not told apart, nor is what else
ran on them. Cells may be of several states of the code; `versions` in each file has a digest of it.

So the level of a number differs from the paper's; what compares is how far a method is from Retrain beside it.
"""


def render(folder):
    """Write the page ``README.md`` and its pictures from the cells in a folder.

    Args:
        folder (str): of results.

    Returns:
        Path: of the page.
    """
    parts = [PREAMBLE]
    for name, experiment in EXPERIMENTS.items():
        parts += [f"## {experiment.heading}", experiment.note]
        parts += (_tables if name.startswith("table") else _figures)(folder, name, _shown(folder, name))
    page = Path(folder, "README.md")
    write_aside(str(page), lambda temporary: Path(temporary).write_text("\n\n".join(parts) + "\n", encoding="utf-8"))
    return page


def _shown(folder, name):
    """The usual bases, Table 2 also at the paper's size, and what else was run enough for it."""
    usual = bases(name) + (bases(name, requests=["adversarial"], settings=["d128"]) if name == "table 2" else [])
    others = [
        base for base in _run(folder) if base.request in EXPERIMENTS[name].requests and _enough(folder, name, base)
    ]
    return list(dict.fromkeys(usual + others))


def _enough(folder, name, base):
    """Table 2 once Retrain is there; others once any cell is that no other has, or all where all are others', too."""
    cells = EXPERIMENTS[name].cells(base)
    if name == "table 2":
        return load(folder, cells["Retrain"][0]) is not None
    shared = set(all_cells([other.cells(base) for key, other in EXPERIMENTS.items() if key != name]))
    own = [cell for cell in all_cells(cells) if cell not in shared]
    return any(load(folder, cell) for cell in own) if own else all(load(folder, cell) for cell in all_cells(cells))


def _run(folder):
    """What the cells in a folder were run for."""
    return dict.fromkeys(replace(cell, method="", seed=SEEDS[0], changes=()) for cell in cells_there(folder))


def _tables(folder, name, shown):
    """A table each; those of which no cell is there in one line at the end."""
    begun = [base for base in shown if _begun(folder, name, base)]
    parts = [f"**{_title(base)}**\n\n{DRAW[name](folder, base)}" for base in begun]
    return parts + _not_run(_titles([base for base in shown if base not in begun]))


def _figures(folder, name, shown):
    groups = {}
    for base in shown:
        groups.setdefault(tuple(Path(getattr(base, key)).stem for key in EXPERIMENTS[name].together), []).append(base)
    parts, empty = [], []
    for key, group in groups.items():
        begun = [base for base in group if _begun(folder, name, base)]
        empty += [base for base in group if base not in begun]
        picture = Path("figures", "-".join((name.replace(" ", "-"), *key)) + ".png")
        if DRAW[name](folder, group, str(Path(folder, picture))):
            parts.append(f"![{EXPERIMENTS[name].heading}, {', '.join(key)}]({picture.as_posix()})")
        parts += _not_run(
            f"`{cell}`"
            for base in begun
            for cell in all_cells(EXPERIMENTS[name].cells(base))
            if load(folder, cell) is None
        )
    return parts + _not_run(_titles(empty))


def _begun(folder, name, base):
    """Whether any cell of a table or figure is there."""
    return any(load(folder, cell) is not None for cell in all_cells(EXPERIMENTS[name].cells(base)))


def _not_run(names):
    """A line that names what is missing, or none."""
    line = "; ".join(names)
    return [f"{tables.NOT_RUN.capitalize()}: {line}."] if line else []


def _title(base):
    (title,) = _titles([base])
    return title


def _titles(bases):
    """What they are of; those that differ in their backbone alone together."""
    models = {}
    for base in bases:
        models.setdefault((base.dataset, base.request, Path(base.setting).stem), []).append(base.model)
    return [
        f"{', '.join(of)} on {dataset}, {REQUESTED.get(request, request)}, {setting}"
        for (dataset, request, setting), of in models.items()
    ]
