"""The content of a receipt: counts, measures and drift, without anybody's identifier."""

from collections.abc import Callable
from typing import Any

import torch

from recbole_unlearn.config import Config
from recbole_unlearn.deletion.receipt.histograms import score_histograms
from recbole_unlearn.deletion.receipt.measures import K, Measures
from recbole_unlearn.deletion.receipt.page import size_class
from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.requests.resolve import Resolution
from recbole_unlearn.deletion.version.state import State


def counts_of(request: DeletionRequest, found: list[dict[str, int] | None]) -> dict[str, Any]:
    """Numbers of a request's rows, and its interactions' size class: see :mod:`~recbole_unlearn.deletion.receipt.page`.

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


def rows_of(
    request: DeletionRequest, found: list[dict[str, int] | None], keyed_hash: Callable[..., str]
) -> list[dict[str, Any]]:
    """A request's rows with keyed hashes instead of identifiers, and whether each names something in the data."""
    return [
        {"scope": row[0], "hash": keyed_hash(*row), "found": each is not None} for row, each in zip(request.rows, found)
    ]


def measured(
    before: State, after: State, resolution: Resolution
) -> tuple[dict[str, dict[str, float]], dict[str, Any] | None]:
    """Measures and scores of the pairs forgotten between two states.

    Args:
        before, after: with the same ids.
        resolution: of the requests, on ``before``.

    Returns:
        ``measures`` and ``scores`` of a receipt.
    """
    device, graph = before.model.device, before.model.graph
    gone = ~resolution.keep["train"].to(device)
    valid, test = (after.held_out[part].to(device) for part in ("valid", "test"))
    pairs = graph.users[gone], graph.items[gone]
    generator = torch.Generator().manual_seed(before.config["seed"])
    measure = Measures(graph, after.model.graph, valid, test, pairs, generator)
    (first, first_scores), (second, second_scores) = (
        measure(state.model.final_embeddings()) for state in (before, after)
    )
    return {"before": first, "after": second}, score_histograms(first_scores, second_scores)


def drift_of(
    details: dict[str, Any], counts: dict[str, int], measures: dict[str, dict[str, float]], config: Config
) -> dict[str, Any]:
    """The distance of a model from its last training, and whether to train it again.

    Args:
        details: of the parent version.
        counts: ``requests`` and ``interactions`` of the new requests together.
        measures: before and after.
        config: sets the limits.
    """
    last = details["drift"]
    requests = last["requests"] + counts["requests"]
    interactions = last["interactions"] + counts["interactions"]
    share = interactions / details["trained_on"]
    before, after = (measures[stage][f"ndcg@{K}"] for stage in ("before", "after"))
    ratio = last["utility"] * (
        after / before if before > 0 and after == after else 1
    )  # unchanged if it cannot be measured
    limits = {
        f"{requests} requests": requests >= config["unlearn_retrain_requests"],
        f"at least {100 * config['unlearn_retrain_share']:g} % of the interactions": share
        >= config["unlearn_retrain_share"],
        f"NDCG@{K} {ratio:.3f} of the last training's": ratio < config["unlearn_least_utility"],
    }
    reasons = [reason for reason, reached in limits.items() if reached]
    return {
        "requests": requests,
        "interactions": interactions,
        "share": share,
        "utility": ratio,
        "recommend_retraining": bool(reasons),
        "reason": "; ".join(reasons) or None,
    }


def coarsened(drift: dict[str, Any]) -> dict[str, Any]:
    """The drift as receipts state it: exact numbers in two receipts would differ by one request's."""
    return {**drift, "interactions": size_class(drift["interactions"]), "share": round(drift["share"], 2)}
