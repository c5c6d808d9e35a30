"""A receipt as one self-contained HTML page for people. It says what was done and measured, and no more."""

import functools
import json
import math
from pathlib import Path
from typing import Any

import jinja2

from recbole_unlearn.deletion.receipt.histograms import drawn_as_png

LISTED = 200  # rows on the page of a single request; the JSON has all
ROW_KEYS = {"scope", "hash", "found"}
RESULTS = {True: "passed", False: "failed", None: "not measured"}
TEMPLATE = Path(__file__).with_name("page.html")


def page(receipts: list[dict[str, Any]]) -> str:
    """The receipts of a batch as HTML without outside resources or scripts, every value escaped.

    Args:
        receipts: as in :func:`~recbole_unlearn.deletion.receipt.files.write_receipts`.

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
        checks=[(each["name"], each["value"], each["limit"], RESULTS[each["passed"]]) for each in _checks(receipt)],
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


def _checks(receipt):
    return receipt["checks"] or []


def _line(receipt):
    counts = receipt["counts"]
    names = (receipt[name] for name in ("request_id", "received_at", "outcome"))
    return (*names, *(counts[name] for name in ("rows", "found", "interactions")))


def _found(found):
    """Whether a row named something. Receipts of earlier releases have a number for each part of the data."""
    return any(found.values()) if isinstance(found, dict) else found


def _summary(receipt):
    """What was done and which checks passed, in words."""
    day, model = _day_and_model(receipt)
    if receipt["outcome"] == "not found":
        return (
            f"On {day} what this request names was looked up in the data of {model}. "
            "Nothing of it was in the data, so that there was nothing to forget."
        )
    counts, others = receipt["counts"], (receipt["batch"] or 1) - 1
    nouns = {"interactions": "interaction", "users_erased": "user", "items_erased": "item", "rows": "row"}
    edges, users, items, rows = (_count(counts[key], noun) for key, noun in nouns.items())
    together = f", together with {_count(others, 'other request')}" if others else ""
    missing = counts["not_found"]
    absent = f" Of {rows} of the request, {missing} named nothing in the data." if missing else ""
    return (
        f"On {day} {model} was made to forget {edges} ({users} and {items} entirely) "
        f"with the method {receipt['method']}{together}.{absent} {_verdict(_checks(receipt))}"
    )


def _summary_of_all(receipts):
    """The same for a batch."""
    first, n_found = receipts[0], sum(each["outcome"] == "forgotten" for each in receipts)
    day, model = _day_and_model(first)
    if not n_found:
        looked_up = f"On {day} what these requests name was looked up in the data of {model}"
        return f"{looked_up}. Nothing of it was in the data."
    absent = f" The other {len(receipts) - n_found} named nothing in the data." if n_found < len(receipts) else ""
    return (
        f"On {day} {model} was made to forget what {_count(n_found, 'request')} name, together, with the "
        f"method {first['method']}.{absent} {_verdict(_checks(first))}"
    )


def _day_and_model(receipt):
    return receipt["finished_at"][:10], f"the model '{receipt['model']}' on '{receipt['dataset']}'"


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
    keys = {"Received": "received_at", "Submitted": "submitted_at", "Outcome": "outcome"} if single else {}
    keys |= {"Finished": "finished_at", "Requests applied together": "batch"}
    keys |= {"Dataset": "dataset", "Model": "model", "Method": "method"}
    models = {"Model file before": "parent", "Model file after": "child"}
    return [
        *((name, receipt[key]) for name, key in keys.items()),
        *((name, _model_file(receipt[key])) for name, key in models.items()),
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
