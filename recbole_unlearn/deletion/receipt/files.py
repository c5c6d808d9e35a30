"""The files of receipts: JSON for machines, and a page for people.

A receipt outlives the data that it is about. So it holds keyed hashes instead of users and items, and smoothed
histograms instead of scores. Requests that were applied together share one page and one JSON file, with a line a
request.
"""

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from recbole_unlearn.deletion.receipt.page import page
from recbole_unlearn.files.checkpoint import write_aside
from recbole_unlearn.report.files import finite

OWN = ("request_id", "received_at", "submitted_at", "outcome", "rows", "counts")  # entries that differ within a batch
FOLDER, BATCHES = "receipts", "batches"  # of a store; of its receipts
IMAGE = re.compile(r'src="data:image/png;base64,[A-Za-z0-9+/=]*"')


def place_of(ids: list[str], number: int | None) -> str:
    """The path of a batch's receipts, relative to the folder of receipts and without an ending.

    The place of a request that was applied alone is its id, which may contain dots but no folder.
    """
    return ids[0] if len(ids) == 1 else os.path.join(BATCHES, f"{number:04d}")


def places(batches: dict[int | None, list[str]]) -> dict[str, list[str]]:
    """Place of receipts, see :func:`place_of`, to the ids of the requests there. Earlier releases had no batches."""
    alone = {request_id: [request_id] for request_id in batches.get(None, [])}
    return alone | {place_of(ids, number): ids for number, ids in batches.items() if number is not None}


def write_missing(
    folder: str,
    batches: dict[int | None, list[str]],
    receipts_of: Callable[[Iterable[str]], dict[str, dict[str, Any]]],
) -> None:
    """Write the receipts that have no files yet, and remove what a killed process has left half written.

    Args:
        folder: of receipts, which only this process writes to; made if need be.
        batches: of done requests, see :meth:`~recbole_unlearn.deletion.store.Store.batches`.
        receipts_of: takes request ids; returns their receipts.
    """
    os.makedirs(folder, exist_ok=True)  # somebody may have removed it
    there = set()
    for place, _, names in os.walk(folder):
        for name in names:
            if name.startswith("."):
                os.remove(os.path.join(place, name))
            there.add(os.path.relpath(os.path.join(place, name), folder))
    for path, ids in places(batches).items():
        if not {f"{path}.html", f"{path}.json"} <= there:
            write_receipts([*receipts_of(ids).values()], os.path.join(folder, path))


def write_receipts(receipts: list[dict[str, Any]], path: str) -> tuple[str, str]:
    """Write ``PATH.html`` and then ``PATH.json``, each whole or absent: where the JSON is, the page is too.

    Args:
        receipts: of all requests that were applied together. Each is plain data, with ``rows`` of ``scope``, ``hash``
            and ``found`` only, ``scores`` of :func:`~recbole_unlearn.deletion.receipt.histograms.score_histograms`, and
            None for what was not measured.
        path: without an ending; folders are made if need be.

    Returns:
        Paths of the JSON and of the page.

    Raises:
        ValueError: a row holds anything else, such as an identifier. Nothing is written.
        KeyError: an entry of a receipt is missing. Nothing is written.
    """
    html, text = page(receipts), content(receipts)
    write_aside(f"{path}.html", lambda temporary: Path(temporary).write_text(html, encoding="utf-8"))
    write_aside(f"{path}.json", lambda temporary: Path(temporary).write_text(text, encoding="utf-8", newline="\n"))
    return f"{path}.json", f"{path}.html"


def write_json(receipts: list[dict[str, Any]], path: str) -> None:
    """Write ``PATH.json`` alone; see :func:`write_receipts`."""
    text = content(receipts)
    write_aside(f"{path}.json", lambda temporary: Path(temporary).write_text(text, encoding="utf-8", newline="\n"))


def is_written(path: str, receipts: list[dict[str, Any]]) -> bool:
    """Whether a file has what :func:`write_receipts` would write there, apart from the pixels of the figure."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    if path.endswith(".json"):
        return text == content(receipts)
    return path.endswith(".html") and "rows" in receipts[0] and IMAGE.sub("", text) == IMAGE.sub("", page(receipts))


def content(receipts: list[dict[str, Any]]) -> str:
    """The JSON of a request or a batch. A batch's has the shared entries, and under ``requests`` a line a request."""
    if len(receipts) == 1:
        return json.dumps(finite(receipts[0]), indent=2, allow_nan=False)
    shared = {key: value for key, value in receipts[0].items() if key not in OWN}
    head = json.dumps(finite(shared), indent=2, allow_nan=False).removesuffix("\n}")
    lines = ",\n".join(json.dumps(finite({key: receipt[key] for key in OWN}), allow_nan=False) for receipt in receipts)
    return f'{head},\n  "requests": [\n{lines}\n  ]\n}}'
