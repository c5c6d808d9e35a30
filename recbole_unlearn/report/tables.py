"""Rows as text."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from recbole_unlearn.data.request import described

COLUMNS = {  # heading and number format of a column; others keep their key and have four decimals
    "offline_seconds": ("offline s", "{:.1f}"),
    "online_seconds": ("online s", "{:.3f}"),
    "peak_memory_mb": ("peak MB", "{:.0f}"),
    "MI-BF_gap": ("|ln MI-BF|", "{:.3f}"),
    "MI-NG_gap": ("|ln MI-NG|", "{:.3f}"),
    "AUC_FN_gap": ("|d AUC_FN|", "{:.3f}"),
    "AUC_FT_gap": ("|d AUC_FT|", "{:.3f}"),
    "under_forgotten": ("under", "{:.1%}"),
    "over_forgotten": ("over", "{:.1%}"),
    "speed_up": ("speed-up", "{:.4g}"),
    "break_even": ("break-even", "{:.2g}"),
}
NAMES = ("method", "stage")  # of a row
NOTES = ("details", "remarks")  # of a row, in words


def read_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as it was before JSON, which has no nan; a missing cost stays ``None``."""
    return {
        key: math.nan if value is None and key not in ("online_seconds", "peak_memory_mb") else value
        for key, value in row.items()
    }


def label(row: Mapping[str, Any]) -> str:
    """A row's name, e.g. ``UnlearnRec zero-shot``."""
    return f"{row['method']} {row['stage']}".strip()


def text_frame(
    rows: pd.DataFrame | Sequence[Mapping[str, Any]], column: Callable[[str], tuple[str, str]]
) -> pd.DataFrame:
    """A table whose cells are texts; arguments as for :func:`text_table`."""
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
    columns = [column(name) for name in frame]
    cells = [
        ["" if pd.isna(value) else form.format(value) for (_, form), value in zip(columns, row)]
        for row in frame.itertuples(index=False, name=None)
    ]
    return pd.DataFrame(cells, columns=[heading for heading, _ in columns])


def text_table(rows: pd.DataFrame | Sequence[Mapping[str, Any]], column: Callable[[str], tuple[str, str]]) -> str:
    """A table as text, one line each row.

    Args:
        rows: a cell that is missing, None or nan stays empty.
        column: a column's heading and its format, e.g. ``("peak MB", "{:.0f}")``, by its name.
    """
    return text_frame(rows, column).to_string(index=False)


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as Markdown, from the texts of its cells."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, ["---"] * len(headings), *rows))


def tables(result: Mapping[str, Any]) -> list[tuple[str, pd.DataFrame]]:
    """The tables of a report, each with its title; those that it has no numbers for are left out.

    Args:
        result: a report; see :meth:`recbole_unlearn.report.report.Report.finish`.
    """
    rows, gaps = result["results"], result["gaps"]
    found = [(headline(result), row_table(rows))]
    if gaps:
        title = "Forgetting against Retrain: gap (and how many times the distance between two Retrains)"
        found.append(
            (title if any("MI-BF_gap_floors" in gap for gap in gaps) else title.partition(" (")[0], gap_table(gaps))
        )
        found.append(("Ranking and cost against Retrain [95 % interval over users]", ranking_table(gaps)))
    if result["groups"] or any(_is_agreement(key) for gap in gaps for key in gap):
        found.append(("Lists and groups of users against Retrain", list_table(gaps, result["groups"])))
    if any("audit_forgotten_auc" in row for row in rows):
        found.append(("Membership audit", audit_table(rows)))
    return found


def headline(result: Mapping[str, Any]) -> str:
    """What a report is about, in one line."""
    forget = result["forget"]
    return (
        f"{result['model']} on {result['dataset']}, seed {result['seed']}: {forget['n_interactions']} interactions of "
        f"{forget['n_users']} users and {forget['n_items']} items forgotten ({described(forget)})"
    )


def row_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A report's rows; those of an audit have a table of their own."""
    shown = [
        {key: value for key, value in row.items() if key not in NOTES and not key.startswith("audit_")} for row in rows
    ]
    return text_frame(shown, heading_of)


def audit_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """How well a membership attack recognises forgotten and retained units: AUC and TPR at 1 % false positives."""
    names = {
        f"audit_{name}_{key}": f"{name} {heading}"
        for name in ("forgotten", "retained")
        for key, heading in (("auc", "AUC"), ("tpr", "TPR@1%"))
    }
    lines = [{key: row[key] for key in (*NAMES, *names)} for row in rows if names.keys() <= row.keys()]
    return text_frame(lines, lambda key: (names.get(key, key), "{:.3f}" if key in names else "{}"))


def gap_table(gaps: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Distances from Retrain's forgetting, with their multiple of the floor; shares over- and under-forgotten."""
    lines = []
    for gap in gaps:
        line = {name: gap[name] for name in NAMES}
        for key, (heading, form) in COLUMNS.items():
            if key.endswith("_gap"):
                line[heading] = _filled(form, gap[key]) + in_floors(gap.get(f"{key}_floors"))
        if any("over_forgotten" in each for each in gaps):
            for key in ("under_forgotten", "over_forgotten"):
                line[COLUMNS[key][0]] = _filled(COLUMNS[key][1], gap.get(key))
        lines.append(line)
    return text_frame(lines, _as_written)


def ranking_table(gaps: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Ratios of the ranking metrics to Retrain's, with their interval over users; speed-up and break-even."""
    lines = []
    for gap in gaps:
        line = {name: gap[name] for name in NAMES}
        for key in (key for key in gap if key.endswith("_ratio")):
            low, high = (gap.get(f"{key}_{end}", math.nan) for end in ("low", "high"))
            interval = f" [{low:.3f}, {high:.3f}]" if math.isfinite(low) else ""
            line[heading_of(key)[0]] = _filled("{:.3f}", gap[key]) + interval
        for key in ("speed_up", "break_even"):
            line[COLUMNS[key][0]] = _filled(COLUMNS[key][1], gap.get(key))
        lines.append(line)
    return text_frame(lines, _as_written)


def list_table(gaps: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Agreement of lists with Retrain's, and the change of the last ranking metric in each group of users."""
    metric = groups[-1]["metric"] if groups else None
    lines = []
    for gap in gaps:
        line = {name: gap[name] for name in NAMES}
        line |= {key: _filled("{:.3f}", gap[key]) for key in filter(_is_agreement, gap)}
        for of_group in groups:
            if of_group["metric"] == metric and all(of_group[name] == gap[name] for name in NAMES):
                line[f"{metric} {of_group['group']}"] = f"{of_group['mean']:+.4f}" if of_group["n"] else ""
        lines.append(line)
    return text_frame(lines, _as_written)


def _is_agreement(key):
    return key.split("@")[0] in ("jaccard", "rbo") or key == "D"


def notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each row that has details or remarks."""
    lines = []
    for row in rows:
        told = {key: value for key, value in row.get("details", {}).items() if key != "not unlearned"}  # a remark is
        details = ", ".join(f"{key} {value}" for key, value in told.items())
        said = [details] * bool(details) + row.get("remarks", [])
        lines += [f"{label(row)}: {'; '.join(said)}"] if said else []
    return lines


def heading_of(key: str) -> tuple[str, str]:
    """Heading and number format of a column."""
    return COLUMNS.get(key, (key.replace("_ratio", " ratio"), "{}" if key in NAMES else "{:.4f}"))


def in_floors(floors: float | None) -> str:
    """A multiple of the floor, e.g. `` (3.1x)``; empty if it is not known."""
    return "" if floors is None or math.isnan(floors) else f" ({floors:.{1 if floors < 99.95 else 0}f}x)"


def _as_written(name):
    return name, "{}"


def _filled(form, value):
    return "" if value is None or math.isnan(value) else form.format(value)
