"""The page of ml-100k with the shipped settings, from the reports of run_unlearn.py.

    python run_unlearn.py --model=LightGCN --dataset=ml-100k --seeds=2020,2021,2022 --unlearn_methods=all --report_file=reports/LightGCN.json
    python benchmarks/shipped.py reports/*.json
    python benchmarks/shipped.py

The second line keeps reports, without what they say of their machine's folders, under ``benchmarks/results/ml-100k``, and
draws the page ``benchmarks/shipped.md`` of all that are there; the last one draws it alone. The tables are made of the reports of
single seeds: those of ``--seeds``, which stand beside their summary, share a table; the summary says nothing more.
"""

import json
import sys
from pathlib import Path

from reproduction.cells import ROOT
from reproduction.document import REQUESTED
from reproduction.rows import cost, lists, quality
from reproduction.summary import summarised

from recbole_unlearn.config import results_settings
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files.checkpoint import write_aside
from recbole_unlearn.report.files import save_json
from recbole_unlearn.report.tables import label, read_row

KEPT = ROOT / "benchmarks" / "results" / "ml-100k"
PAGE = ROOT / "benchmarks" / "shipped.md"
PREAMBLE = """# ml-100k with the shipped settings

The results of a plain `run_unlearn.py` with every method. [Another page](results/README.md) has the paper's split and larger batches.

```bash
python run_unlearn.py --model=MODEL --dataset=ml-100k --forget_type=adversarial --seeds=2020,2021,2022 --unlearn_methods=all --report_file=reports/MODEL-adversarial.json
python run_unlearn.py --model=MODEL --dataset=ml-100k --forget_type=TYPE --unlearn_methods=all --report_file=reports/MODEL-TYPE.json
python benchmarks/shipped.py reports/*.json
```

The second command is for the real requests, with TYPE `random` or `user`, of one seed. The reports are in `results/ml-100k/`, whole but for
the settings of their machine; `versions` in each says by which code it was made.

- **The aim is Retrain's row.** A gap is the distance to it; **(4.1x)** is its multiple of the **floor**, the distance of `Retrain again`, which differs in its
  random streams alone. At 1x or less, nobody can tell a method from another Retrain. Several seeds share one floor, the mean of theirs.
- **a / b / c**: the numbers of the seeds in the title, in their order; the other columns have the mean.
- The second table of a request has the agreement of users' lists with Retrain's, the shares of forgotten pairs that are under- and over-forgotten, and the 95 %
  interval over users of the ranking; the third the seconds, which compare within a table alone
  (other jobs ran beside these runs and slowed some rows more than others). [`docs/evaluation.md`](../docs/evaluation.md) explains each column.
- Several settings were chosen on ml-100k's splits of the seeds 2020 and 2022, none on 2021's: [settings.md](settings.md)."""


def main(arguments=None):
    """Exit code 0; 2 if a file is no report of run_unlearn.py, or two are of one run."""
    try:
        for file in sys.argv[1:] if arguments is None else arguments:
            keep(Path(file), KEPT)
        text = page([read(file) for file in sorted(KEPT.glob("*.json"))])
    except UsageError as error:
        print(f"shipped: {error}", file=sys.stderr)
        return 2
    write_aside(str(PAGE), lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
    print(f"Page: {PAGE}")
    return 0


def keep(file, folder):
    """Copy a report of one seed, without its machine's settings; a summary of several seeds is left out.

    Args:
        file (Path): a report.
        folder (Path): where to.
    """
    report = read(file)
    if "seeds" not in report:
        folder.mkdir(parents=True, exist_ok=True)
        save_json(str(folder / file.name), {**report, "config": results_settings(report["config"])})


def read(file):
    """A report or a summary.

    Raises:
        UsageError: it is neither.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if {"model", "dataset", "forget", "results"} <= report.keys():
            return report
    except (ValueError, AttributeError):
        pass
    raise UsageError(f"{file} is no report of run_unlearn.py.")


def page(reports):
    """The page as Markdown.

    Args:
        reports (list of dict): each of one seed; those of the same backbone, data and kind of request share a table.
    """
    groups = {}
    for report in sorted(reports, key=_order):
        groups.setdefault((report["model"], report["dataset"], report["forget"]["type"]), []).append(report)
    parts = [PREAMBLE]
    for (model, dataset, request), group in groups.items():
        seeds = ", ".join(str(report["seed"]) for report in group)
        parts.append(
            f"## {model} on {dataset}, {REQUESTED.get(request, request)}, seed{'s' * (len(group) > 1)} {seeds}"
        )
        lines = sorted(((label(row), row, {}) for row in rows(group).values()), key=_place)
        compared = [line for line in lines if line[0] != "original"]
        parts += [table for table in (quality(lines), lists(lines), cost(compared)) if table]
    return "\n\n".join(parts) + "\n"


def rows(reports):
    """The rows of reports that differ in their seed; see :func:`reproduction.summary.summary`.

    Raises:
        UsageError: two are of one seed.
    """
    machines, seeds = {}, [report["seed"] for report in reports]
    if len(set(seeds)) < len(seeds):
        of = f"{reports[0]['model']} on {reports[0]['dataset']}, {reports[0]['forget']['type']} request"
        raise UsageError(f"Two reports of {of} are of one seed ({', '.join(map(str, seeds))}): delete one.")
    for report in reports:
        for row in report["results"]:
            ran_on = machines.setdefault(row["method"], [])
            if report["versions"]["machine"] not in ran_on:
                ran_on.append(report["versions"]["machine"])
    read_reports = [
        {**report, **{key: [read_row(row) for row in report[key]] for key in ("results", "gaps")}} for report in reports
    ]
    return summarised(read_reports, machines)


def _place(line):
    """The aim first, doing nothing last, whatever the order of the run."""
    return line[0] != "original", not line[0].startswith("Retrain"), line[0] == "DropEdges"


def _order(report):
    requests = list(REQUESTED)
    kind = report["forget"]["type"]
    return requests.index(kind) if kind in requests else len(requests), report["model"], report["seed"]


if __name__ == "__main__":
    sys.exit(main())
