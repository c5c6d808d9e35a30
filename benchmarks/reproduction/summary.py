"""Cells together: the rows of a table, each with its numbers of all seeds."""

from recbole_unlearn.errors import UsageError
from recbole_unlearn.evaluator.comparison import RETRAIN, Comparison, summarise
from recbole_unlearn.report.remarks import remarked
from recbole_unlearn.report.tables import read_row
from reproduction.cells import load


def summary(folder, rows):
    """Rows against Retrain's of the same seed.

    Args:
        folder (str): of results.
        rows (dict): a row's name to its cells, one a seed; Retrain's among them for the gaps.

    Raises:
        UsageError: a cell is of another request or split than Retrain's of its seed, as those of two machines may be.

    Returns:
        dict: ``(name, stage)`` to a row of :func:`recbole_unlearn.evaluator.comparison.summarise`; nothing of cells that were not run.
        Each also has ``machines``, a list of what its cells ran on, and ``remarks``; ``speed_up`` and ``break_even`` are known where
        Retrain ran there, too.
    """
    by_seed, machines = {}, {}
    for name, cells in rows.items():
        for cell in cells:
            result = load(folder, cell)
            if result is not None:
                report = by_seed.setdefault(cell.seed, {**result, "results": []})
                if result["data"] != report["data"]:
                    raise UsageError(
                        f"Cell {cell} is of other interactions than those beside it: delete it and run it again."
                    )
                machines.setdefault(str(name), {})[cell.seed] = result["versions"]["machine"]
                has_original = any(row["method"] == "original" for row in report["results"])
                for row in map(read_row, result["results"]):
                    if row["method"] != "original":
                        report["results"].append({**row, "method": str(name)})
                    elif not has_original:
                        report["results"].append(row)
    for seed, report in by_seed.items():
        report["gaps"] = Comparison(report["results"]).gaps()
        for gap in report["gaps"]:
            if machines[gap["method"]][seed] != machines[RETRAIN][seed]:
                del gap["speed_up"], gap["break_even"]
    ran_on = {name: sorted(set(of_seeds.values())) for name, of_seeds in machines.items()}
    return summarised([by_seed[seed] for seed in sorted(by_seed)], ran_on)


def summarised(reports, machines):
    """Reports that differ in their seed as rows.

    Args:
        reports (list of dict): each with ``results`` and ``gaps``.
        machines (dict): a method to what it ran on.

    Returns:
        dict: as of :func:`summary`.
    """
    remarks = {}
    for report in reports:
        for row, compared in zip(report["results"], remarked(report["results"], report["gaps"], {})):
            said = remarks.setdefault((row["method"], row["stage"]), {})
            said.update(dict.fromkeys((*row.get("remarks", []), *compared.get("remarks", []))))  # each once
    return {
        (row["method"], row["stage"]): {
            **row,
            "machines": machines.get(row["method"], []),
            "remarks": list(remarks[row["method"], row["stage"]]),
        }
        for row in (summarise(reports)["results"] if reports else [])
    }
