"""The content of a receipt, without anybody's identifier.

A receipt gives the power of ten of a number of interactions. Exact numbers could identify people: 113 of the 943 users
of ml-100k are the only ones with their numbers of interactions in the parts of the data. The power of ten fits hundreds
of users, and still says whether much or little was there.
"""

from collections.abc import Callable
from typing import Any

from recbole_unlearn.deletion.requests import DeletionRequest

# None if nothing was in the data.
MEASURED = ("method", "parent", "child", "measures", "scores", "artefacts", "checks", "drift", "seconds")
SEALED = ("sinks", "chain", "signature")  # None until the sinks of the version have been tried


def size_class(number: int) -> str:
    """The power of ten of a number of interactions as a range, e.g. ``"10-99"``."""
    if number == 0:
        return "0"
    least = 10 ** (len(str(number)) - 1)
    return f"{least:,}-{10 * least - 1:,}"


def counts_of(request: DeletionRequest, found: list[dict[str, int] | None]) -> dict[str, Any]:
    """Numbers of a request's rows, and its interactions' size class.

    Args:
        request: as submitted.
        found: of :class:`~recbole_unlearn.deletion.requests.resolve.Resolution`, an entry a row.
    """
    there = [(scope, each) for (scope, _, _), each in zip(request.rows, found) if each is not None]
    return {
        "rows": len(request.rows),
        "found": len(there),
        "not_found": len(request.rows) - len(there),
        "interactions": size_class(sum(sum(each.values()) for _, each in there)),
        "users_erased": sum(scope == "user" for scope, _ in there),
        "items_erased": sum(scope == "item" for scope, _ in there),
    }


def own_part(
    request: DeletionRequest, submitted_at: str, found: list[dict[str, int] | None], keyed_hash: Callable[..., str]
) -> dict[str, Any]:
    """What a request does not share with those that are applied together with it, with hashes instead of identifiers.

    Args:
        request: as submitted.
        submitted_at: the time of that.
        found: see :func:`counts_of`.
        keyed_hash: of the store.
    """
    counts = counts_of(request, found)
    return {
        "request_id": request.request_id,
        "received_at": request.received_at,
        "submitted_at": submitted_at,
        "outcome": "forgotten" if counts["found"] else "not found",
        "rows": [
            {"scope": row[0], "hash": keyed_hash(*row), "found": each is not None}
            for row, each in zip(request.rows, found)
        ],
        "counts": counts,
    }


def coarsened(drift: dict[str, Any]) -> dict[str, Any]:
    """The drift as receipts state it: exact numbers in two receipts would differ by one request's."""
    return {**drift, "interactions": size_class(drift["interactions"]), "share": round(drift["share"], 2)}
