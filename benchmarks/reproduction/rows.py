"""Summarised rows as Markdown: gaps to Retrain read against the floor, the paper's numbers stand in square brackets."""

from recbole_unlearn.report.tables import in_floors, markdown_table

NO_RESULT = "no result"
LEVELS = {  # a column's heading: key in a summarised row, and how a number is written
    "Recall@20": ("recall@20", "{:.4f}".format),
    "NDCG@20": ("ndcg@20", "{:.4f}".format),
    "MI-BF": ("MI-BF", "{:.2f}".format),
    "MI-NG": ("MI-NG", "{:.2f}".format),
}
AGAINST_RETRAIN = {
    "NDCG / Retrain's": ("ndcg@20_ratio", "{:.3f}".format),
    "gap MI-BF": ("MI-BF_gap", "{:.2f}".format),
    "gap MI-NG": ("MI-NG_gap", "{:.2f}".format),
    "gap AUC_FN": ("AUC_FN_gap", "{:.3f}".format),
    "gap AUC_FT": ("AUC_FT_gap", "{:.3f}".format),
}
LISTS = {
    "Jaccard@20": ("jaccard@20", "{:.3f}".format),
    "RBO@20": ("rbo@20", "{:.3f}".format),
    "D": ("D", "{:.2f}".format),
    "under": ("under_forgotten", "{:.0%}".format),
    "over": ("over_forgotten", "{:.0%}".format),
    "NDCG / Retrain's, low": ("ndcg@20_ratio_low", "{:.3f}".format),
    "high": ("ndcg@20_ratio_high", "{:.3f}".format),
}


def quality(lines):
    """Utility, forgetting, and the gaps to Retrain.

    Args:
        lines (list): of each row its title, its summary (see :func:`reproduction.summary.summary`; ``None`` if it was not run)
            and the paper's numbers by the summary's keys.

    Returns:
        str: a table of the rows that were run, the others' titles, the machines and what a reader must know of a row.
    """
    body = []
    for title, row, printed in _run(lines):
        levels = [level(row, key, form, printed.get(key)) for key, form in LEVELS.values()]
        gaps = [of_seeds(row, key, form, printed.get(key)) for key, form in AGAINST_RETRAIN.values()]
        body.append([title, *levels, *gaps, str(row["n"])])
    return "\n\n".join([markdown_table(["", *LEVELS, *AGAINST_RETRAIN, "seeds"], body), *_below(lines)])


def lists(lines):
    """Agreement of lists with Retrain's, the shares over- and under-forgotten, and the interval of the ranking over users.

    Args:
        lines (list): as for :func:`quality`.

    Returns:
        str: a table, empty if no row has any of these.
    """
    compared = [
        (title, row)
        for title, row, _ in _run(lines)
        if any(row.get(key, {}).get("mean") is not None for key, _ in LISTS.values())
    ]
    body = [[title, *(of_seeds(row, key, form) for key, form in LISTS.values())] for title, row in compared]
    return markdown_table(["", *LISTS], body) if body else ""


def cost(lines, retrain=None):
    """Seconds of a request and before any, and how many times faster than Retrain; memory.

    Args:
        lines (list): as for :func:`quality`; the paper's numbers have ``online_seconds`` alone.
        retrain (float): the paper's seconds of Retrain.

    Returns:
        str: as of :func:`quality`.
    """
    body = []
    for title, row, printed in _run(lines):
        seconds = printed.get("online_seconds")
        compared = [
            level(row, "speed_up", short, seconds and retrain / seconds),
            level(row, "offline_seconds", short),
            level(row, "break_even", short),
        ]
        body.append(
            [
                title,
                level(row, "online_seconds", short, seconds),
                *(["", "", ""] if title == "Retrain" else compared),
                level(row, "peak_memory_mb", "{:,.0f}".format),
                "; ".join(row["machines"]),
            ]
        )
    headings = ["online s", "times faster than Retrain", "offline s", "break-even (requests)", "peak MB", "machine"]
    return "\n\n".join([markdown_table(["", *headings], body), *_not_run(lines)])


def level(row, key, form, printed=None):
    """The mean over seeds, and the paper's number."""
    known = row.get(key, {}).get("mean")
    return _cell(row, "" if known is None else form(known), form, printed)


def of_seeds(row, key, form, printed=None):
    """The number of each seed, of many seeds their mean; its multiple of the floor; and the paper's number."""
    value = row.get(key, {})
    known = [number for number in value.get("values", [value.get("mean")]) if number is not None]
    floors = in_floors(row.get(f"{key}_floors", {}).get("mean")) if known else ""
    return _cell(row, " / ".join(map(form, known)) + floors, form, printed)


def short(value):
    """Three figures; of nothing below a thousandth."""
    if value < 0.001:
        return "0" if value == 0 else "< 0.001"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cell(row, text, form, printed):
    of_paper = "" if printed is None else f" [{form(printed)}]"
    return ((text if row["n"] else NO_RESULT) + of_paper).strip()


def _run(lines):
    return [line for line in lines if line[1] is not None]


def _not_run(lines):
    """A line that names the rows that were not run, or none."""
    titles = [title for title, row, _ in lines if row is None]
    return [f"Rows not run: {'; '.join(titles)}."] if titles else []


def _below(lines):
    """What stands below a table."""
    ran, remarks = {}, []
    for title, row, _ in _run(lines):
        for machine in row["machines"]:
            ran.setdefault(machine, []).append(title)
        remarks += [f"- {title}: {'; '.join(row['remarks'])}"] if row["remarks"] else []
    usual, *others = sorted(ran, key=lambda machine: -len(ran[machine]))
    machines = [usual, *(f"of {' and '.join(ran[machine])}: {machine}" for machine in others)]
    return [*_not_run(lines), f"Machine: {'; '.join(machines)}.", *(["\n".join(remarks)] if remarks else [])]
