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
    checks = receipt["checks"] or []
    names = {
        result: [check["name"] for check in checks if check["passed"] is passed] for passed, result in RESULTS.items()
    }
    values = dict(
        receipt=receipt,
        single=single,
        n_requests=len(receipts),
        n_found=sum(each["outcome"] == "forgotten" for each in receipts),
        model=f"the model '{receipt['model']}' on '{receipt['dataset']}'",
        results=[(result, which) for result, which in names.items() if which],
        counts=_entries(receipt["counts"]) if single else [],
        checks=[(each["name"], each["value"], each["limit"], RESULTS[each["passed"]]) for each in checks],
        measures=[(name, before.get(name), after.get(name)) for name in {**before, **after}],
        figure=drawn_as_png(json.dumps(receipt["scores"])) if receipt["scores"] else None,
        artefacts=[(file["file"], file["scanned"], file["leftovers"]) for file in receipt["artefacts"] or []],
        quarantined=[(entry["version"], entry["until"]) for entry in receipt["quarantined"] or []],
        sinks=[_sink(entry) for entry in receipt.get("sinks") or []],  # earlier releases have none, and no signature
        drift=_entries(receipt["drift"]),
        signature=_entries(_signed(receipt)),
        seconds=_entries(receipt["seconds"]),
        versions=_entries(receipt["versions"]),
        rows=rows[:LISTED],
        more_rows=max(0, len(rows) - LISTED),
        requests=[] if single else list(map(_line, receipts)),
    )
    try:
        return _template().render(values)
    except jinja2.UndefinedError as error:  # of an entry that only the template reads
        raise KeyError(str(error)) from None


@functools.cache
def _template():
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"said": _said, "model_file": _model_file}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _sink(entry):
    checks = entry["checks"]
    passed = f"{sum(check['passed'] is True for check in checks)} of {len(checks)} passed"
    return entry["sink"], entry["version"], entry["result"], passed if checks else None, entry["reason"] or "-"


def _signed(receipt):
    """Who signed a receipt, and its place in the chain."""
    signature, chain = receipt.get("signature"), receipt.get("chain")
    if not signature:
        return {"signature": "not signed"}
    place = {"number in the chain": chain["number"], "SHA-256 of the receipt before": chain["previous"] or "the first"}
    return {**place, "algorithm": signature["algorithm"], "public key": signature["public_key"]}


def _line(receipt):
    counts = receipt["counts"]
    names = (receipt[name] for name in ("request_id", "received_at", "outcome"))
    return (*names, *(counts[name] for name in ("rows", "found", "interactions")))


def _found(found):
    """Whether a row named something. Receipts of earlier releases have a number for each part of the data."""
    return any(found.values()) if isinstance(found, dict) else found


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
