"""What to forget: edges of the training graph, named, sampled or read from a file."""

from dataclasses import dataclass
from logging import getLogger

import numpy as np
import pandas as pd
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset

from recbole_unlearn.data.atomic import with_mark
from recbole_unlearn.data.request_table import EXAMPLES, read_delimited
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.text_settings import identifiers


@dataclass(frozen=True)
class Request:
    """Distinct edges to forget, ascending by (user, item).

    Args:
        users, items: internal ids, int64, shape ``(F,)`` each.
        skipped: rows of a request file that name nothing in the training data.
    """

    users: torch.Tensor
    items: torch.Tensor
    skipped: int = 0

    def __len__(self):
        return len(self.users)

    def summary(self) -> dict[str, int]:
        """Counts for the report."""
        return {
            "n_interactions": len(self),
            "n_users": len(torch.unique(self.users)),
            "n_items": len(torch.unique(self.items)),
            "n_skipped": self.skipped,
        }


def request_seed(config: Config) -> int:
    """The seed of a request's draw: ``forget_seed``, or the run's own."""
    return config["seed"] if config["forget_seed"] is None else config["forget_seed"]


def generator_for(config: Config) -> torch.Generator:
    """The requests' own random stream: a draw from torch's global one would change RecBole's split."""
    return torch.Generator().manual_seed(request_seed(config))


def edges_of(
    graph: Graph, users: torch.Tensor | None = None, items: torch.Tensor | None = None, skipped: int = 0
) -> Request:
    """The request for all edges of these users or of these items (ids)."""
    side, n_nodes, wanted = (
        (graph.users, graph.n_users, users) if users is not None else (graph.items, graph.n_items, items)
    )
    chosen = torch.zeros(n_nodes, dtype=torch.bool)
    chosen[wanted] = True
    return edges_where(graph, chosen[side], skipped)


def edges_where(graph: Graph, mask: torch.Tensor, skipped: int = 0) -> Request:
    """The request for the edges where a boolean mask of shape ``(E,)`` is true."""
    return Request(graph.users[mask], graph.items[mask], skipped)


def random_edges(graph: Graph, n_edges: int, generator: torch.Generator) -> Request:
    """The request for ``n_edges`` edges drawn without replacement."""
    mask = torch.zeros(len(graph), dtype=torch.bool)
    mask[torch.randperm(len(graph), generator=generator)[:n_edges]] = True
    return edges_where(graph, mask)


def random_request(config: Config, dataset: Dataset, graph: Graph) -> Request:
    """The request for a random ``forget_ratio`` of the edges."""
    return random_edges(graph, max(1, round(config["forget_ratio"] * len(graph))), generator_for(config))


def user_request(config: Config, dataset: Dataset, graph: Graph) -> Request:
    """The request for all edges of ``forget_users`` (tokens), or of a sampled ``forget_ratio`` of the users."""
    return edges_of(graph, users=_named_or_sampled(config, dataset, graph, "user"))


def item_request(config: Config, dataset: Dataset, graph: Graph) -> Request:
    """The request for all edges of ``forget_items`` (tokens), or of a sampled ``forget_ratio`` of the items."""
    return edges_of(graph, items=_named_or_sampled(config, dataset, graph, "item"))


def file_request(config: Config, dataset: Dataset, graph: Graph) -> Request:
    """The request for the rows of ``forget_file``: pairs, or whole users or items if it has one id column only."""
    path = config["forget_file"]
    if not path:
        raise UsageError("forget_type 'file' needs --forget_file=FILE (an atomic .inter file with external tokens).")
    table = _read_atomic(path, dataset, config)
    rows = table.astype(str).agg(", ".join, axis=1)
    ids = {column: _token_ids(dataset, column, table[column]) for column in table}
    strict = config["forget_strict"]

    unknown = np.zeros(len(table), dtype=bool)
    for column_ids in ids.values():
        unknown |= column_ids < 0
    _refuse_or_warn(unknown, rows, f"name tokens that the dataset does not have ({path})", strict)
    ids = {column: torch.from_numpy(column_ids[~unknown]) for column, column_ids in ids.items()}

    if len(ids) == 2:
        users, items = ids[dataset.uid_field], ids[dataset.iid_field]
        absent = ~graph.contains(users, items).numpy()
    else:
        column, nodes = next(iter(ids.items()))
        side = graph.users if column == dataset.uid_field else graph.items
        absent = ~torch.isin(nodes, side).numpy()
    _refuse_or_warn(absent, rows[~unknown], f"are not in the training data ({path})", strict)
    skipped = int(unknown.sum() + absent.sum())
    if skipped == len(table):
        raise UsageError(f"Nothing to forget: none of the {len(table)} rows of {path} is in the training data.")

    if len(ids) == 2:
        pairs = torch.unique((users * graph.n_items + items)[~torch.from_numpy(absent)])
        return Request(pairs // graph.n_items, pairs % graph.n_items, skipped)
    return edges_of(graph, **{"users" if column == dataset.uid_field else "items": nodes}, skipped=skipped)


def _named_or_sampled(config, dataset, graph, kind):
    field, side = (dataset.uid_field, graph.users) if kind == "user" else (dataset.iid_field, graph.items)
    tokens = identifiers(f"forget_{kind}s", config[f"forget_{kind}s"])
    if tokens is None:
        present = torch.unique(side)
        count = max(1, round(config["forget_ratio"] * len(present)))
        return present[torch.randperm(len(present), generator=generator_for(config))[:count]]
    rows = pd.Series(tokens, dtype=object)
    ids = _token_ids(dataset, field, rows)
    strict = config["forget_strict"]
    _refuse_or_warn(ids < 0, rows, f"of forget_{kind}s are not in the dataset", strict)
    absent = ~np.isin(ids, side.numpy()) & (ids >= 0)
    _refuse_or_warn(absent, rows, f"of forget_{kind}s are not in the training data", strict)
    if (absent | (ids < 0)).all():
        raise UsageError(f"Nothing to forget: none of forget_{kind}s is in the training data.")
    return torch.from_numpy(ids[~absent & (ids >= 0)])


def _token_ids(dataset, field, tokens):
    """Internal ids of a column of tokens, shape ``(n,)``; -1 for an unknown token."""
    known = dataset.field2token_id[field]
    ids = tokens.map(lambda token: known.get(token, -1)).to_numpy(dtype=np.int64)
    return np.where(ids == 0, -1, ids)  # 0 is RecBole's padding


def _read_atomic(path, dataset, config):
    """The id columns of an atomic file as strings, their names without ``:token``."""
    wanted = [dataset.uid_field, dataset.iid_field]
    allowed = {*wanted, *dataset.inter_feat.columns}
    table = read_delimited(path, config["field_separator"], allowed, with_mark(config["encoding"]))
    columns = list(table.columns)
    if set(columns) - allowed or not set(columns) & set(wanted) or len(set(columns)) < len(columns):
        raise UsageError(
            f"Request file '{path}' has the columns {', '.join(map(repr, columns))}; expected "
            f"{wanted[0]}:token and {wanted[1]}:token, each once, or one of the two for whole users or items."
        )
    if table.empty:
        raise UsageError(f"Request file '{path}' has no rows.")
    return table[[column for column in wanted if column in columns]].reset_index(drop=True)


def _refuse_or_warn(bad, rows, problem, strict):
    """Raise (strict) or log that ``bad`` rows have a problem, with their number and the first few of them."""
    if not bad.any():
        return
    examples = "; ".join(f"({row})" for row in rows[bad][:EXAMPLES])
    message = f"{int(bad.sum())} of {len(bad)} rows {problem}, e.g. {examples}."
    if strict:
        raise UsageError(f"{message} Use --forget_strict=False to skip them.")
    getLogger().warning(f"Skipped: {message}")
