"""The receipts of finished requests: JSON for machines, one self-contained HTML page for people.

A receipt outlives the data that it is about. So it holds keyed hashes instead of users and items, and smoothed
histograms instead of scores. It says what was done and measured, and no more. Requests that were applied together share
one page and one JSON file, with a line a request.

A receipt gives the power of ten of a number of interactions. Exact numbers could identify people: 113 of the 943 users
of ml-100k are the only ones with their numbers of interactions in the parts of the data. The power of ten fits hundreds
of users, and still says whether much or little was there.
"""

import functools
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import jinja2

from recbole_unlearn.deletion.receipt.histograms import drawn_as_png
from recbole_unlearn.files.checkpoint import write_aside
from recbole_unlearn.report.files import finite

LISTED = 200  # rows on the page of a single request; the JSON has all
OWN = ("request_id", "received_at", "submitted_at", "outcome", "rows", "counts")  # entries that differ within a batch
ROW_KEYS = {"scope", "hash", "found"}
RESULTS = {True: "passed", False: "failed", None: "not measured"}
FOLDER, BATCHES = "receipts", "batches"  # of a store; of its receipts
IMAGE = re.compile(r'src="data:image/png;base64,[A-Za-z0-9+/=]*"')
TEMPLATE = Path(__file__).with_name("page.html")


def size_class(number: int) -> str:
    """The power of ten of a number of interactions as a range, e.g. ``"10-99"``."""
    if number == 0:
        return "0"
    least = 10 ** (len(str(number)) - 1)
    return f"{least:,}-{10 * least - 1:,}"


def place_of(ids: list[str], number: int | None) -> str:
    """The path of a batch's receipts, relative to the folder of receipts and without an ending.

    The place of a request that was applied alone is its id, which may contain dots but no folder.
    """
    return ids[0] if len(ids) == 1 else os.path.join(BATCHES, f"{number:04d}")


def places(batches: dict[int | None, list[str]]) -> dict[str, list[str]]:
    """Place of receipts, see :func:`place_of`, to the ids of the requests there. Earlier releases had no batches."""
    alone = {request_id: [request_id] for request_id in batches.get(None, [])}
    return alone | {place_of(ids, number): ids for number, ids in batches.items() if number is not None}


def write_receipts(receipts: list[dict[str, Any]], path: str) -> tuple[str, str]:
    """Write ``PATH.html`` and then ``PATH.json``, each whole or absent: where the JSON is, the page is too.

    Args:
        receipts: of all requests that were applied together. Each is plain data, with ``rows`` of ``scope``, ``hash``
            and ``found`` only, ``scores`` of :func:`score_histograms`, and None for what was not measured.
        path: without an ending; folders are made if need be.

    Returns:
        Paths of the JSON and of the page.

    Raises:
        ValueError: a row holds anything else, such as an identifier. Nothing is written.
        KeyError: an entry of a receipt is missing. Nothing is written.
    """
    for ending, text in ((".html", page(receipts)), (".json", content(receipts))):
        write_aside(f"{path}{ending}", lambda temporary, text=text: Path(temporary).write_text(text, encoding="utf-8"))
    return f"{path}.json", f"{path}.html"


def is_written(path: str, receipts: list[dict[str, Any]]) -> bool:
    """Whether a file has what :func:`write_receipts` would write there, apart from the pixels of the figure."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    if path.endswith(".json"):
        return text == content(receipts)
    return path.endswith(".html") and IMAGE.sub("", text) == IMAGE.sub("", page(receipts))


def content(receipts: list[dict[str, Any]]) -> str:
    """The JSON of a request or a batch. A batch's has the shared entries, and under ``requests`` a line a request."""
    if len(receipts) == 1:
        return json.dumps(finite(receipts[0]), indent=2, allow_nan=False)
    shared = {key: value for key, value in receipts[0].items() if key not in OWN}
    head = json.dumps(finite(shared), indent=2, allow_nan=False).removesuffix("\n}")
    lines = ",\n".join(json.dumps(finite({key: receipt[key] for key in OWN}), allow_nan=False) for receipt in receipts)
    return f'{head},\n  "requests": [\n{lines}\n  ]\n}}'


def page(receipts: list[dict[str, Any]]) -> str:
    """The receipts of a batch as HTML without outside resources or scripts, every value escaped.

    Args:
        receipts: as in :func:`write_receipts`.

    Raises:
        ValueError: a row holds more than its scope, hash and whether it was found.
        KeyError: an entry of a receipt is missing.
    """
    if any(row.keys() != ROW_KEYS for receipt in receipts for row in receipt["rows"]):
        raise ValueError(f"A receipt's rows have {', '.join(sorted(ROW_KEYS))} and nothing else: identifiers stay out.")
    receipt, single = receipts[0], len(receipts) == 1
    before, after = ((receipt["measures"] or {}).get(stage) or {} for stage in ("before", "after"))
    rows = [(row["scope"], row["hash"], _found(row["found"])) for row in receipt["rows"]] if single else []
    return _template().render(
        title=f"Receipt of deletion request {receipt['request_id']}"
        if single
        else f"Receipts of {len(receipts)} deletion requests",
        single=single,
        summary=_summary(receipt) if single else _summary_of_all(receipts),
        limits=_limits(receipt),
        facts=_facts(receipt, single),
        counts=_entries(receipt["counts"]) if single else [],
        checks=[
            (check["name"], check["value"], check["limit"], RESULTS[check["passed"]])
            for check in receipt["checks"] or []
        ],
        measures=[(name, before.get(name), after.get(name)) for name in {**before, **after}],
        figure=drawn_as_png(json.dumps(receipt["scores"])) if receipt["scores"] else None,
        artefacts=[(file["file"], file["scanned"], file["leftovers"]) for file in receipt["artefacts"] or []],
        quarantined=[(entry["version"], entry["until"]) for entry in receipt["quarantined"] or []],
        drift=_entries(receipt["drift"]),
        seconds=_entries(receipt["seconds"]),
        versions=_entries(receipt["versions"]),
        rows=rows[:LISTED],
        more_rows=max(0, len(rows) - LISTED),
        requests=[] if single else list(map(_line, receipts)),
    )


@functools.cache
def _template():
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["said"] = _said
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _line(receipt):
    counts = receipt["counts"]
    names = (receipt[name] for name in ("request_id", "received_at", "outcome"))
    return (*names, *(counts[name] for name in ("rows", "found", "interactions")))


def _found(found):
    """Whether a row named something. Receipts of earlier releases have a number for each part of the data."""
    return any(found.values()) if isinstance(found, dict) else found


def _summary(receipt):
    """What was done and which checks passed, in words."""
    if receipt["outcome"] == "not found":
        return (
            f"On {receipt['finished_at'][:10]} what this request names was looked up in the data of {_model(receipt)}. "
            "Nothing of it was in the data, so that there was nothing to forget."
        )
    counts, others = receipt["counts"], (receipt["batch"] or 1) - 1
    nouns = {"interactions": "interaction", "users_erased": "user", "items_erased": "item", "rows": "row"}
    edges, users, items, rows = (_count(counts[key], noun) for key, noun in nouns.items())
    together = f", together with {_count(others, 'other request')}" if others else ""
    absent = (
        f" Of {rows} of the request, {counts['not_found']} named nothing in the data." if counts["not_found"] else ""
    )
    return (
        f"On {receipt['finished_at'][:10]} {_model(receipt)} was made to forget {edges} ({users} and {items} entirely) "
        f"with the method {receipt['method']}{together}.{absent} {_verdict(receipt['checks'] or [])}"
    )


def _summary_of_all(receipts):
    """The same for a batch."""
    first, day = receipts[0], receipts[0]["finished_at"][:10]
    n_found = sum(each["outcome"] == "forgotten" for each in receipts)
    if not n_found:
        looked_up = f"On {day} what these requests name was looked up in the data of {_model(first)}"
        return f"{looked_up}. Nothing of it was in the data."
    absent = f" The other {len(receipts) - n_found} named nothing in the data." if n_found < len(receipts) else ""
    return (
        f"On {day} {_model(first)} was made to forget what {_count(n_found, 'request')} name, together, with the "
        f"method {first['method']}.{absent} {_verdict(first['checks'] or [])}"
    )


def _model(receipt):
    return f"the model '{receipt['model']}' on '{receipt['dataset']}'"


def _verdict(checks):
    """The checks by their result."""
    if not checks:
        return "No checks were made."
    names = {
        result: [check["name"] for check in checks if check["passed"] is passed] for passed, result in RESULTS.items()
    }
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


def _facts(receipt, single):
    """What was asked and what became of it, as pairs of name and value."""
    of_request = [
        ("Received", receipt["received_at"]),
        ("Submitted", receipt["submitted_at"]),
        ("Outcome", receipt["outcome"]),
    ]
    return [
        *(of_request if single else []),
        ("Finished", receipt["finished_at"]),
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


def _entries(values):
    """A dict's names and values as rows of a table."""
    return [(name.replace("_", " "), value) for name, value in (values or {}).items()]


def _said(value):
    """A value as text for the page."""
    if value is None or isinstance(value, float) and not math.isfinite(value):
        return "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return str(value)


def _count(number, noun):
    """A number, or a class of numbers, of things."""
    return f"{'an unknown number of' if number is None else number} {noun}{'' if number == 1 else 's'}"
