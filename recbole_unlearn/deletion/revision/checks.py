"""Checks of a version before it becomes current: it ranks like the previous one, and its files hold what remains.

A check is a dict of ``name``, ``passed`` (None: nothing to measure it on), ``value``, ``limit`` and ``required``
(whether a version that fails it is kept aside).
"""

import os
from typing import Any

import numpy as np
import torch

from recbole_unlearn.deletion.importing.proof import check_fit, sampled_items
from recbole_unlearn.deletion.receipt.measures import K
from recbole_unlearn.deletion.requests.resolve import Resolution
from recbole_unlearn.deletion.version import encoder_file
from recbole_unlearn.deletion.version.inter_file import read_ids
from recbole_unlearn.deletion.version.row_counts import of_rows
from recbole_unlearn.deletion.version.state import ENCODER, MODEL, State, data_file, erased_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.model import ExactRecommender
from recbole_unlearn.model_file import read_content


def failed(checks: list[dict[str, Any]]) -> list[str]:
    """Names of the required checks that failed."""
    return [check["name"] for check in checks if check["required"] and check["passed"] is False]


def check_first(path: str, state: State) -> None:
    """Refuse a trained model whose table is not fit to serve.

    Raises:
        UsageError: its rows are not finite, or some users or items with training data share a row; or it is no fit to
            its data.
    """
    if isinstance(state.model, ExactRecommender):
        check_fit(path, state.model)
        return
    ego, busy = state.model.ego_embeddings().detach(), state.model.graph.degrees() > 0
    if not ego.isfinite().all():
        raise UsageError(f"'{path}' has rows that are not finite.")
    n_busy, distinct = int(busy.sum()), n_distinct(ego[busy])
    if distinct < n_busy:
        raise UsageError(
            f"'{path}' has {distinct} different rows for {n_busy} users and items with training data: it is "
            "damaged, or is no trained table. Train it again, or give --force."
        )


def checks_of(
    measures: dict[str, dict[str, float]], artefacts: list[dict[str, Any]], before: State, after: State
) -> list[dict[str, Any]]:
    """The checks of a version.

    Args:
        measures: before and after.
        artefacts: of :func:`artefacts_of`.
        before, after: the states, with the same ids.
    """
    ranking, means = (
        [measures[stage][name] for stage in ("before", "after")] for name in (f"ndcg@{K}", "mean probability")
    )
    ratio = ranking[1] / ranking[0] if ranking[0] else float("nan")
    least = before.config["unlearn_least_utility"]
    leftovers, differences = (sum(artefact[what] for artefact in artefacts) for what in ("leftovers", "differences"))
    rises = means[1] - means[0]
    return [
        _check(f"NDCG@{K} after over before, on validation data", ratio >= least, ratio, f"at least {least}"),
        *(_of_fit(after) if isinstance(after.model, ExactRecommender) else _of_tables(before, after)),
        _check("nothing forgotten in the new version's files", leftovers == 0, leftovers, "0"),
        _check("everything else in the new version's files", differences == 0, differences, "0 differences"),
        _check("mean probability of forgotten pairs does not rise", rises <= 1e-6, rises, "at most 0", required=False),
    ]


def _of_tables(before, after):
    """Checks of a trained model's table."""
    tables = [state.model.ego_embeddings().detach() for state in (before, after)]
    infinite = int((~tables[1].isfinite()).any(dim=1).sum())
    busy = after.model.graph.degrees() > 0
    lost = n_distinct(tables[0][busy]) - n_distinct(tables[1][busy])
    return [
        _check("rows of the table that are not finite", infinite == 0, infinite, "0"),
        _check("different rows of users and items with training data that are lost", lost <= 0, lost, "at most 0"),
    ]


def _of_fit(after):
    """The check of a fitted model's state: how far it is from a refit's."""
    model, wanted = after.model, after.config["unlearn_exact_columns"]
    items = sampled_items(model, wanted)
    value = model.deviation(items)
    named = f"{model.deviation_of}, {len(items):,} of {model.n_items - 1:,} items"
    return [_check(named, value <= model.limit, value, f"at most {model.limit:g}")]


def _check(name, passed, value, limit, required=True):
    known = value == value  # nan: nothing to measure it on
    return {
        "name": name,
        "passed": bool(passed) if known else None,
        "value": value,
        "limit": limit,
        "required": required,
    }


def n_distinct(rows: torch.Tensor) -> int:
    """The number of different rows of a table, shape ``(n, d)``."""
    table = np.ascontiguousarray((rows + 0.0).cpu().numpy())  # -0 becomes 0
    return len(np.unique(table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1]))))) if table.size else 0


def artefacts_of(folder: str, before: State, after: State, resolution: Resolution) -> list[dict[str, Any]]:
    """Read a version's files back, and count leftovers of the forgotten and other differences from what was written.

    Args:
        folder: of the version.
        before: the previous state; its tokens give the ids of rows in the files.
        after: the state that was written.
        resolution: of the requests, on ``before``.

    Returns:
        A dict of ``file``, ``scanned``, ``leftovers`` and ``differences`` for each file.
    """
    forgotten = {part: graph.subgraph(~resolution.keep[part]) for part, graph in before.graphs().items()}
    content = read_content(os.path.join(folder, MODEL))
    graph, gone_of = after.model.graph, erased_of(after.tokens)
    erased = {side: torch.from_numpy(gone) for side, gone in gone_of.items()}
    edges, expected = tuple(content["edges"].long()), (graph.users.cpu(), graph.items.cpu())
    leftovers, differences = _compare(edges, expected, forgotten["train"], erased)
    for side, gone in gone_of.items():
        names = np.array(content[f"{side}_tokens"], dtype=object)
        leftovers += int((names[gone] != None).sum())  # noqa: E711  (of each)
        differences += int((names[~gone] != after.tokens[side][~gone]).sum())
    leftovers += _rows_kept(before, after)
    weights = after.model.state_dict()
    differences += sum(not torch.equal(content["state_dict"][name], weight.cpu()) for name, weight in weights.items())
    found = [_artefact(MODEL, "edges, tokens of erased users and items", leftovers, differences)]
    for part, graph in after.graphs().items():
        path, counts = data_file(folder, after.config["dataset"], part), after.counts.get(part)
        expected = (of_rows(graph.users, counts), of_rows(graph.items, counts))
        there = read_ids(path, before.config, before.tokens)
        compared = _compare(there, expected, forgotten[part], erased)
        found.append(_artefact(os.path.relpath(path, folder), "rows", *compared))
    if after.encoder is None:
        return found
    encoder = encoder_file.read_plain(os.path.join(folder, ENCODER))
    left = sum(int((encoder[name][torch.cat([*erased.values()])] != 0).sum()) for name in ("gain", "cost"))
    return [*found, _artefact(ENCODER, "numbers of erased users and items", left, 0)]


def _rows_kept(before, after):
    """The number of rows of newly erased users and items in buffers, which no revision of the table reaches."""
    if isinstance(after.model, ExactRecommender):
        return 0
    old, new = (erased_of(state.tokens) for state in (before, after))
    gone = [torch.from_numpy(new[side] & ~old[side]).to(after.model.device) for side in ("user", "item")]
    rows = {len(mask): mask for mask in (*gone, torch.cat(gone)) if mask.any()}
    kept, count = dict(before.model.named_buffers()), 0
    for name, buffer in after.model.named_buffers():
        if buffer.is_floating_point() and buffer.ndim and len(buffer) in rows and buffer.shape == kept[name].shape:
            mine, theirs = (each[rows[len(buffer)]] for each in (buffer, kept[name]))
            count += int(((mine == theirs) & (mine != 0)).view(len(mine), -1).any(dim=1).sum())
    return count


def _artefact(file, scanned, leftovers, differences):
    return {"file": file, "scanned": scanned, "leftovers": leftovers, "differences": differences}


def _compare(there, expected, forgotten, erased):
    """The number of pairs that are forgotten or name the erased, and the number of other pairs in excess or missing.

    Args:
        there, expected: tuples of users and items, int64; their order counts.
        forgotten: graph of the pairs that should not be there.
        erased: ``user`` and ``item`` to a boolean tensor.
    """
    named = erased["user"][there[0]] | erased["item"][there[1]]
    if len(there[0]) == len(expected[0]) and all(map(torch.equal, there, expected)) and not named.any():
        pairs = [users * forgotten.n_items + items for users, items in (there, (forgotten.users, forgotten.items))]
        last = max(0, len(pairs[0]) - 1)
        place = torch.searchsorted(*pairs).clamp(max=last)  # sorted as a graph is; few are forgotten
        return int((pairs[0][place] == pairs[1]).sum()) if len(pairs[0]) else 0, 0
    left = forgotten.contains(*there) | named
    rest = [ends[~left] for ends in there]
    if len(rest[0]) == len(expected[0]) and all(map(torch.equal, rest, expected)):
        return int(left.sum()), 0
    pairs = [users * forgotten.n_items + items for users, items in (rest, expected)]
    wanted, counts = torch.unique(torch.cat(pairs), return_counts=True)
    of_file = torch.bincount(torch.searchsorted(wanted, pairs[0]), minlength=len(counts))
    return int(left.sum()), max(1, int((2 * of_file - counts).abs().sum()))  # 1: all are there, but in another order
