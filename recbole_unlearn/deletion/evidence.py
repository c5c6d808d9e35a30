"""What a receipt is made of: counts, measures, checks and drift, without anybody's identifier."""

import os

import numpy as np
import torch

from recbole_unlearn.deletion import encoder_file
from recbole_unlearn.deletion.measures import K, Measures
from recbole_unlearn.deletion.receipt import score_histograms, size_class
from recbole_unlearn.deletion.rows import read_ids
from recbole_unlearn.deletion.state import ENCODER, MODEL, data_file
from recbole_unlearn.saved_model import read_content


def counts_of(request, found):
    """A request's rows in numbers, and its interactions by their class, see :mod:`~recbole_unlearn.deletion.receipt`.

    Args:
        request (DeletionRequest): as submitted.
        found (list): of :class:`~recbole_unlearn.deletion.resolve.Resolution`, an entry a row.
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


def rows_of(request, found, keyed_hash):
    """A request's rows with keyed hashes in the place of identifiers, and whether each names somebody or something there."""
    return [
        {"scope": row[0], "hash": keyed_hash(*row), "found": each is not None} for row, each in zip(request.rows, found)
    ]


def measured(before, after, resolution):
    """Measures and scores of two states, for what was forgotten between them.

    Args:
        before, after (State): the same ids in both.
        resolution (Resolution): of the requests, on ``before``.

    Returns:
        tuple: ``measures`` and ``scores`` of a receipt.
    """
    device, graph = before.model.device, before.model.graph
    gone = ~resolution.keep["train"].to(device)
    valid, test = (after.held_out[part].to(device) for part in ("valid", "test"))
    pairs = graph.users[gone], graph.items[gone]
    generator = torch.Generator().manual_seed(before.config["seed"])
    measure = Measures(graph, after.model.graph, valid, test, pairs, generator)
    (first, first_scores), (second, second_scores) = (measure(state.model.final_embeddings()) for state in (before, after))
    return {"before": first, "after": second}, score_histograms(first_scores, second_scores)


def checks_of(measures, artefacts, least_utility):
    """Whether a version is fit for use: a list of name, passed, value and limit."""
    before, after = (measures[stage][f"ndcg@{K}"] for stage in ("before", "after"))
    ratio = after / before if before else float("nan")
    rises = measures["after"]["mean probability"] - measures["before"]["mean probability"]
    leftovers = sum(artefact["leftovers"] for artefact in artefacts)
    return [
        _check(f"NDCG@{K} after over before, on validation data", ratio >= least_utility, ratio, f"at least {least_utility}"),
        _check("mean probability of forgotten pairs does not rise", rises <= 1e-6, rises, "at most 0"),
        _check("nothing forgotten in the new version's files", leftovers == 0, leftovers, "0"),
    ]


def _check(name, passed, value, limit):
    known = value == value  # not nan: nothing to measure it on
    return {"name": name, "passed": bool(passed) if known else None, "value": value, "limit": limit}


def artefacts_of(folder, state, forgotten):
    """Read a version's files back, and count what is still there of the forgotten.

    Args:
        folder (str): of the version.
        state (State): what was written.
        forgotten (dict): part of the data to the graph of its forgotten edges, on the CPU.

    Returns:
        list of dict: ``file``, ``scanned`` and ``leftovers``.

    Raises:
        UsageError: a row names somebody erased.
    """
    content = read_content(os.path.join(folder, MODEL))
    users, items = content["edges"].long()
    left = int(forgotten["train"].contains(users, items).sum())
    tokens = [content["user_tokens"], content["item_tokens"]]
    named = sum(
        token is not None for side, names in zip(state.tokens.values(), tokens) for token in np.array(names, object)[side == None]  # noqa: E711
    )
    found = [{"file": MODEL, "scanned": "edges, tokens of erased users and items", "leftovers": left + named}]
    for part, graph in forgotten.items():
        path = data_file(folder, state.config["dataset"], part)
        left = int(graph.contains(*read_ids(path, state.config, state.tokens)).sum())
        found.append({"file": os.path.relpath(path, folder), "scanned": "rows", "leftovers": left})
    encoder = encoder_file.read_plain(os.path.join(folder, ENCODER))
    erased = torch.from_numpy(np.concatenate([names == None for names in state.tokens.values()]))  # noqa: E711
    left = int((encoder["gain"][erased] != 0).sum())
    found.append({"file": ENCODER, "scanned": "numbers of erased users and items", "leftovers": left})
    return found


def drift_of(details, counts, measures, config):
    """How far a model has come from its last training, and whether to train it again.

    Args:
        details (dict): of the parent version.
        counts (dict): ``requests`` and ``interactions`` of the new ones together.
        measures (dict): before and after.
        config (Config): names the limits.
    """
    last = details["drift"]
    requests = last["requests"] + counts["requests"]
    interactions = last["interactions"] + counts["interactions"]
    share = interactions / details["trained_on"]
    before, after = (measures[stage][f"ndcg@{K}"] for stage in ("before", "after"))
    ratio = last["utility"] * (after / before if before > 0 and after == after else 1)  # as it was, if nothing tells
    limits = {
        f"{requests} requests": requests >= config["unlearn_retrain_requests"],
        f"{share:.1%} of the interactions": share >= config["unlearn_retrain_share"],
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
