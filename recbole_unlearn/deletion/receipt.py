"""The receipt of a finished request: JSON for machines, one self-contained HTML page for people.

A receipt outlives what it is about, so that it holds keyed hashes in place of users and items, and histograms in place of
scores. It says what was done and measured, and no more than that.
"""

import base64
import functools
import io
import json
import math
import os
import re
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from matplotlib.figure import Figure

from recbole_unlearn.checkpoint import write_aside
from recbole_unlearn.figure import SETS
from recbole_unlearn.report import save_json

FEWEST_PAIRS = 20  # a histogram of fewer would come close to single scores
BINS = 40
LISTED = 200  # rows on the page; the JSON has all
ROW_KEYS = {"scope", "hash", "found"}
RESULTS = {True: "passed", False: "failed", None: "not measured"}

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Deletion receipt $request_id</title>
<style>
body { max-width: 46rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; break-after: avoid; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { padding: 0.3rem 0.6rem 0.3rem 0; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
tr { break-inside: avoid; }
tbody th { font-weight: normal; }
tbody th:nth-last-child(2) { width: 40%; }
figure { margin: 0; break-inside: avoid; }
figcaption { font-size: 0.9rem; }
img { max-width: 100%; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } .wide { overflow: visible; } }
</style>
</head>
<body>
<main>
<h1>Receipt of deletion request $request_id</h1>
<p>$summary</p>
<p>$limits</p>
$sections
</main>
</body>
</html>
""")


def write_receipt(receipt, folder):
    """Write ``FOLDER/<request_id>.html`` and then ``.json``, each whole or absent: where the JSON is, the page is too.

    Args:
        receipt (dict): plain data, with ``rows`` of ``scope``, ``hash`` and ``found`` only, ``scores`` of
            :func:`score_histograms`, and None for what was not measured.
        folder (str): made if need be.

    Returns:
        tuple of str: paths of the JSON and of the page.

    Raises:
        ValueError: a row holds anything else, such as an identifier. Nothing is written then.
        KeyError: an entry of the receipt is not there. Nothing is written then.
    """
    text = page(receipt)
    path = os.path.join(folder, receipt["request_id"])  # which may have dots: endings are added, not exchanged
    write_aside(f"{path}.html", lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
    save_json(f"{path}.json", receipt)
    return f"{path}.json", f"{path}.html"


def score_histograms(before, after):
    """What a receipt keeps of the scores.

    Args:
        before, after (dict): scores of a model, an array each under the keys of :data:`~recbole_unlearn.figure.SETS`.

    Returns:
        dict: ``edges`` of the bins, and under ``before`` and ``after`` the densities in them (zero where a set is empty)
        under the legends of ``SETS``; None if fewer than 20 pairs were forgotten.
    """
    if len(before["forget"]) < FEWEST_PAIRS:
        return None
    everything = np.concatenate([np.asarray(values) for scores in (before, after) for values in scores.values()])
    lowest, highest = np.quantile(everything, [0.001, 0.999])
    edges = np.linspace(lowest, max(highest, lowest + 1e-6), BINS + 1)  # a width even where all scores are equal

    def densities(values):
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        return (counts / (max(len(values), 1) * np.diff(edges))).tolist()

    both = {"before": before, "after": after}
    drawn = {name: {legend: densities(scores[key]) for key, (legend, _) in SETS.items()} for name, scores in both.items()}
    return {"edges": edges.tolist(), **drawn}


def page(receipt):
    """The receipt as HTML without outside resources or scripts, every value escaped.

    Args:
        receipt (dict): as of :func:`write_receipt`.

    Returns:
        str: the page.
    """
    if any(set(row) != ROW_KEYS for row in receipt["rows"]):
        raise ValueError(f"A receipt's rows have {', '.join(sorted(ROW_KEYS))} and nothing else: identifiers stay out.")
    before, after = ((receipt["measures"] or {}).get(stage) or {} for stage in ("before", "after"))
    measures = [(name, before.get(name), after.get(name)) for name in {**before, **after}]
    checks = [(check["name"], check["value"], check["limit"], RESULTS[check["passed"]]) for check in receipt["checks"] or []]
    artefacts = [(file["file"], file["scanned"], file["leftovers"]) for file in receipt["artefacts"] or []]
    quarantined = [(entry["version"], entry["until"]) for entry in receipt["quarantined"] or []]
    parts = {
        "The request": _table(_facts(receipt)),
        "Counts": _table(_entries(receipt["counts"])),
        "Checks": _table(checks, "Check", "Value", "Limit", "Result"),
        "Measures (ranking: on validation data)": _table(measures, "Measure", "Before", "After"),
        "Scores": _figure(receipt["scores"]) if receipt["scores"] else "",
        "Files searched": _table(artefacts, "File", "Searched for", "Leftovers"),
        "Versions in quarantine": _table(quarantined, "Version", "Until"),
        "Since the last retraining": _table(_entries(receipt["drift"])),
        "Seconds": _table(_entries(receipt["seconds"])),
        "Software": _table(_entries(receipt["versions"])),
        "Rows of the request, as keyed hashes": _rows(receipt["rows"]),
    }
    return PAGE.substitute(
        request_id=_text(receipt["request_id"]),
        summary=_text(_summary(receipt)),
        limits=_text(_limits(receipt)),
        sections="\n".join(f"<h2>{heading}</h2>\n{part}" for heading, part in parts.items() if part),
    )


def _summary(receipt):
    """What was done and which tests passed, in plain words."""
    day, model = receipt["finished_at"][:10], f"the model '{receipt['model']}' on '{receipt['dataset']}'"
    if receipt["outcome"] == "not found":
        return (
            f"On {day} what this request names was looked up in the data of {model}. Nothing of it was in the data, so "
            "that there was nothing to forget."
        )
    counts, others = receipt["counts"], (receipt["batch"] or 1) - 1
    nouns = {"interactions": "interaction", "users_erased": "user", "items_erased": "item", "rows": "row"}
    edges, users, items, rows = (_count(counts[key], noun) for key, noun in nouns.items())
    together = f", together with {_count(others, 'other request')}" if others else ""
    absent = f" Of {rows} of the request, {counts['not_found']} named nothing in the data." if counts["not_found"] else ""
    return (
        f"On {day} {model} was made to forget {edges} ({users} and {items} entirely) with the method {receipt['method']}"
        f"{together}.{absent} {_verdict(receipt['checks'] or [])}"
    )


def _verdict(checks):
    """The checks by their result."""
    if not checks:
        return "No checks were made."
    names = {result: [check["name"] for check in checks if check["passed"] is passed] for passed, result in RESULTS.items()}
    results = [f"{len(which)} {result} ({'; '.join(which)})" for result, which in names.items() if which]
    return f"Of {_count(len(checks), 'check')}, {', '.join(results)}."


def _limits(receipt):
    """What the receipt does not say."""
    if receipt["outcome"] == "not found":
        return "This page says what was looked up. It is no proof that the data are nowhere else."
    if receipt["method"].split()[0] == "Retrain":
        how = "The model was trained again without the data."
    else:
        how = "The model was revised approximately: it was not trained again from the start without the data."
    return f"{how} This page says what was done and measured. It is no proof that nothing of the data is left."


def _facts(receipt):
    """What was asked and what came of it, a name and a value each."""
    return [
        ("Received", receipt["received_at"]),
        ("Submitted", receipt["submitted_at"]),
        ("Finished", receipt["finished_at"]),
        ("Outcome", receipt["outcome"]),
        ("Requests applied together", receipt["batch"]),
        ("Dataset", receipt["dataset"]),
        ("Model", receipt["model"]),
        ("Method", receipt["method"]),
        ("Model file before", _model_file(receipt["parent"])),
        ("Model file after", _model_file(receipt["child"])),
    ]


def _model_file(version):
    """A version and its file's hash, or None if there is none."""
    if not version or version["version"] is None:
        return None
    return f"version {version['version']}, SHA-256 {version['sha256'] or 'not recorded'}"


def _rows(rows):
    """The first rows, and how many more there are."""
    splits = ("train", "valid", "test")
    listed = [(row["scope"], row["hash"], *((row["found"] or {}).get(split) for split in splits)) for row in rows[:LISTED]]
    more = f"<p>And {len(rows) - LISTED} more, in the JSON file.</p>" if len(rows) > LISTED else ""
    return _table(listed, "Scope", "Hash", *(f"Found in {split}" for split in splits)) + more


def _figure(scores):
    """The histograms, after below before so that a shift shows on a phone too; their means in words as well."""
    return _drawn(json.dumps(scores))


@functools.lru_cache(maxsize=1)  # requests that were applied together share their scores
def _drawn(text):
    scores = json.loads(text)
    drawing = Figure(figsize=(6.4, 4.6), layout="constrained")
    edges, colours, said = np.array(scores["edges"]), dict(SETS.values()), []
    for panel, stage in zip(drawing.subplots(2, 1, sharex=True), ("before", "after")):
        for legend, densities in scores[stage].items():
            if not any(densities):
                continue
            mean = float(np.sum(densities * np.diff(edges) * (edges[1:] + edges[:-1]) / 2))
            panel.stairs(densities, edges, fill=True, alpha=0.25, color=colours[legend])
            panel.stairs(densities, edges, color=colours[legend], label=legend)
            panel.axvline(mean, color=colours[legend], linestyle="--", linewidth=1)
            said.append(f"{legend} {stage} {mean:.3g}")
        panel.set_title(stage, fontsize=10)
        panel.set(ylabel="density", yticks=[])
    drawing.axes[0].legend(fontsize=8, frameon=False)
    drawing.axes[1].set_xlabel("score")
    image = io.BytesIO()
    drawing.savefig(image, dpi=150, format="png")
    alt = f"Histograms of the model's scores before and after. Means: {', '.join(said)}."
    source = base64.b64encode(image.getvalue()).decode()
    return (
        f'<figure><img alt="{_text(alt)}" src="data:image/png;base64,{source}">\n'
        "<figcaption>Densities of the model's scores before and after, means dashed.</figcaption></figure>"
    )


def _entries(values):
    """A dict's names and values, as rows of a table."""
    return [(name.replace("_", " "), value) for name, value in (values or {}).items()]


def _table(rows, *headings):
    """A table whose rows begin with their name; empty text without rows."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{_text(heading)}</th>' for heading in headings)
    lines = [
        f'<tr><th scope="row">{_text(name)}</th>{"".join(f"<td>{_text(value)}</td>" for value in values)}</tr>'
        for name, *values in rows
    ]
    head = f"<thead><tr>{head}</tr></thead>\n" if headings else ""
    return f'<div class="wide"><table>\n{head}<tbody>\n' + "\n".join(lines) + "\n</tbody></table></div>"


def _text(value):
    """A value as text of a page."""
    if value is None or isinstance(value, float) and not math.isfinite(value):
        return "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return escape(str(value))


def _count(number, noun):
    """A number of things."""
    return f"{'an unknown number of' if number is None else number} {noun}{'' if number == 1 else 's'}"


def is_written(path, store):
    """Whether a file is the receipt of a request, as the database has it.

    Args:
        path (str): of a file.
        store (Store): knows the receipts.
    """
    name, ending = os.path.splitext(os.path.basename(path))
    try:
        receipt = store.receipt(name)
        text = Path(path).read_text(encoding="utf-8")
        if ending == ".json":
            return json.loads(text) == json.loads(json.dumps(receipt))
        return ending == ".html" and _without_image(text) == _without_image(page(receipt))
    except (OSError, ValueError):
        return False


def _without_image(page_text):
    return re.sub(r'src="data:image/png;base64,[A-Za-z0-9+/=]*"', "", page_text)
