"""Cells together: the rows of a table, each with mean and standard deviation over its seeds."""

from recbole_unlearn.comparison import gaps_to_retrain, summarise
from recbole_unlearn.errors import UsageError
from recbole_unlearn.report import read_row
from reproduction.cells import load


def summary(folder, rows):
    """Rows against Retrain's of the same seed.

    Args:
        folder (str): of results.
        rows (dict): a row's name to its cells, one a seed; Retrain's among them for the gaps.

    Raises:
        UsageError: a cell is of another request or split than Retrain's of its seed, as those of two machines may be.

    Returns:
        dict: ``(name, stage)`` to a row of :func:`recbole_unlearn.comparison.summarise`; nothing of cells that were not run.
    """
    by_seed = {}
    for name, cells in rows.items():
        for cell in cells:
            result = load(folder, cell)
            if result is not None:
                report = by_seed.setdefault(cell.seed, {**result, "results": []})
                if result["data"] != report["data"]:
                    raise UsageError(f"Cell {cell} is of other interactions than those beside it: delete it and run it again.")
                has_original = any(row["method"] == "original" for row in report["results"])
                for row in map(read_row, result["results"]):
                    if row["method"] != "original":
                        report["results"].append({**row, "method": str(name)})
                    elif not has_original:
                        report["results"].append(row)
    reports = [{**report, "gaps": gaps_to_retrain(report["results"])} for report in by_seed.values()]
    return {(row["method"], row["stage"]): row for row in summarise(reports)["results"]} if reports else {}
