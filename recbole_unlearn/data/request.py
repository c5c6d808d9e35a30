"""What to forget: edges of the training graph, named, sampled or read from a file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset

from recbole_unlearn.data.atomic import with_mark
from recbole_unlearn.data.features import items_with
from recbole_unlearn.data.pick import Pick, picked_edges, picked_nodes
from recbole_unlearn.data.refusal import EXAMPLES
from recbole_unlearn.data.request_file import read_rows
from recbole_unlearn.data.request_source import SETTINGS, ForgetFormat, RequestSource
from recbole_unlearn.data.tokens import ids_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.settings import CountOrZero, Settings, Share, setting
from recbole_unlearn.streams import torch_stream
from recbole_unlearn.text_settings import identifiers

ForgetType = Literal["adversarial", "random", "user", "item", "spam", "file"]


class RequestSettings(Settings):
    """What to forget"""

    forget_type: ForgetType = setting("adversarial", "adversarial, random, user, item, spam or file.")
    forget_ratio: Share = setting(0.01, "Share of training edges (users, items) to inject or sample.")
    forget_pick: Pick = setting(
        "random",
        "Which users, items or edges to sample: random, those with most (active) or fewest (inactive) interactions, or "
        "those with many of popular partners (core) or few of rare ones (edge).",
    )
    forget_seed: CountOrZero | None = setting(None, "Seed of the request's own random stream; empty takes `seed`.")
    forget_users: list[str] | None = setting(
        None, "User tokens for forget_type user; empty samples forget_ratio of them."
    )
    forget_items: list[str] | None = setting(
        None, "Item tokens for forget_type item; empty samples forget_ratio of them."
    )
    forget_item_feature: str | None = setting(
        None, "Column of the dataset's .item file for forget_type item, e.g. class; needs forget_item_value."
    )
    forget_item_value: list[str] | None = setting(
        None, "Values of forget_item_feature, e.g. Horror: the request is all interactions with items that have one."
    )
    forget_file: str | None = setting(
        None,
        "File for forget_type file (.inter, .csv, .jsonl, .parquet); with --checkpoint a file of deletion requests.",
    )
    forget_format: ForgetFormat | None = setting(
        None, "Format of forget_file, e.g. segment or personalize; empty takes what its ending says."
    )
    forget_url: str | None = setting(
        None,
        "Database for forget_query, as SQLAlchemy's URL without a password, or env:NAME for the URL in an environment "
        "variable; instead of forget_file.",
    )
    forget_query: str | None = setting(
        None, "SQL query whose rows are those of a forget_file, e.g. SELECT user_id FROM erasures."
    )
    forget_strict: bool = setting(
        True, "Whether to refuse a request that names unknown interactions, or to skip those."
    )


@dataclass(frozen=True)
class Request:
    """Distinct edges to forget, ascending by (user, item).

    Args:
        users, items: internal ids, int64, shape ``(F,)`` each.
        skipped: rows of a request file that name nothing in the training data.
        how: what else a report says of it, e.g. how its users are picked.
    """

    users: torch.Tensor
    items: torch.Tensor
    skipped: int = 0
    how: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self):
        return len(self.users)

    def summary(self) -> dict[str, Any]:
        """How the request came about, and counts, for the report."""
        return {
            **self.how,
            "n_interactions": len(self),
            "n_users": len(torch.unique(self.users)),
            "n_items": len(torch.unique(self.items)),
            "n_skipped": self.skipped,
        }


def described(forget: Mapping[str, Any]) -> str:
    """A request in a few words, e.g. ``item, class Horror``, from the ``forget`` of a report's header."""
    said = [forget["type"]]
    if forget.get("pick", "random") != "random":
        said.append(forget["pick"])
    if "feature" in forget:
        said.append(f"{forget['feature']} {' or '.join(forget['values'])}")
    if "targets" in forget:
        said.append(f"{forget['n_accounts']} accounts for {' and '.join(forget['targets'][:EXAMPLES])}")
        said[-1] += " ..." if len(forget["targets"]) > EXAMPLES else ""
    return ", ".join(said)


def request_seed(config: Config) -> int:
    """The seed of a request's draw: ``forget_seed``, or the run's own."""
    return config["seed"] if config["forget_seed"] is None else config["forget_seed"]


def generator_for(config: Config) -> torch.Generator:
    """The requests' own random stream: a draw from torch's global one would change RecBole's split."""
    return torch_stream(request_seed(config), "request")


def check_request_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that say in two ways what to forget, or half of it.

    Raises:
        UsageError: names both.
    """
    RequestSource.of(settings)
    feature, value = "forget_item_feature", "forget_item_value"
    for name, needed in ((feature, value), (value, feature)):
        if settings.get(name) and not settings.get(needed):
            raise UsageError(f"Setting '{name}' needs '{needed}', e.g. --{feature}=class --{value}=Horror.")
    given = [name for name in ("forget_users", "forget_items", feature) if settings.get(name)]
    if settings.get("forget_pick", "random") != "random":
        given.append("forget_pick")
    if len(given) > 1 and settings.get("forget_type") in ("user", "item"):
        raise UsageError(f"Settings '{given[0]}' and '{given[1]}' each say what to forget: leave one out.")


def edges_where(graph: Graph, mask: torch.Tensor, skipped: int = 0, **how: Any) -> Request:
    """The request for the edges where a boolean mask of shape ``(E,)`` is true; ``how`` is what a report says of it."""
    return Request(graph.users[mask], graph.items[mask], skipped, how)


def random_edges(graph: Graph, n_edges: int, generator: torch.Generator) -> Request:
    """The request for ``n_edges`` edges drawn without replacement."""
    return edges_where(graph, picked_edges(graph, "random", n_edges, generator))


def random_request(config: Config, dataset: Dataset, graph: Graph) -> Request:
    """The request for a random ``forget_ratio`` of the edges, by ``forget_pick``."""
    pick, count = config["forget_pick"], max(1, round(config["forget_ratio"] * len(graph)))
    return edges_where(graph, picked_edges(graph, pick, count, generator_for(config)), pick=pick)


def user_request(config: Config, dataset: Dataset, graph: Graph) -> Request:
    """The request for all edges of ``forget_users`` (tokens), or of a ``forget_ratio`` of users by ``forget_pick``."""
    return _named_or_sampled(config, dataset, graph, "user")


def item_request(config: Config, dataset: Dataset, graph: Graph) -> Request:
    """The request for all edges of some items.

    They are ``forget_items`` (tokens), those with a ``forget_item_value`` of the ``forget_item_feature``, or a
    ``forget_ratio`` of the items by ``forget_pick``.
    """
    if config["forget_item_feature"]:
        return _feature_request(config, dataset, graph)
    return _named_or_sampled(config, dataset, graph, "item")


def file_request(config: Config, dataset: Dataset, graph: Graph) -> Request:
    """The request for the rows of a file or query: pairs, whole users (no item) and whole items (no user)."""
    source = RequestSource.of({name: config[name] for name in SETTINGS})
    if source is None:
        raise UsageError("forget_type 'file' needs --forget_file=FILE (external tokens), or a query.")
    fields, encoding = (dataset.uid_field, dataset.iid_field), with_mark(config["encoding"])
    others = [field for field in dataset.inter_feat.columns if field not in fields]
    rows = read_rows(source, *fields, others, config["field_separator"], encoding)
    mask, skipped = _edges_of_rows(rows, source.path or "forget_query", config, dataset, graph)
    return edges_where(graph, mask, skipped)


def named_edges(
    graph: Graph, users: torch.Tensor, items: torch.Tensor, n_rows: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The edges that the rows of a request name.

    Args:
        graph: on the CPU.
        users, items: ids, int64, shape ``(n,)`` each; -1 where a row names all users of its item, or all items.
        n_rows: number of the data's rows of each edge, int64, shape ``(E,)``; default one each.

    Returns:
        Whether a row names each edge, boolean, shape ``(E,)``; and how many of the data's rows each row names, int64,
        shape ``(n,)``.
    """
    n_rows = torch.ones(len(graph), dtype=torch.long) if n_rows is None else n_rows
    mask, numbers = torch.zeros(len(graph), dtype=torch.bool), torch.zeros(len(users), dtype=torch.long)
    pairs = (users >= 0) & (items >= 0)
    position, found = graph.find(users[pairs], items[pairs])
    mask[position[found]] = True
    numbers[torch.nonzero(pairs).flatten()[found]] = n_rows[position[found]]
    sides = ((users, items < 0, graph.users, graph.n_users), (items, users < 0, graph.items, graph.n_items))
    for ids, is_whole, ends, n_nodes in sides:
        chosen = ids[is_whole]
        mask |= torch.zeros(n_nodes, dtype=torch.bool).index_fill_(0, chosen, True)[ends]
        numbers[is_whole] = torch.zeros(n_nodes, dtype=torch.long).index_add_(0, ends, n_rows)[chosen]
    return mask, numbers


def _named_or_sampled(config, dataset, graph, kind):
    """The edges of the users or items that the settings name, or of a sample of them."""
    nodes = graph.users if kind == "user" else graph.items
    tokens = identifiers(f"forget_{kind}s", config[f"forget_{kind}s"])
    if tokens is None:
        pick, count = config["forget_pick"], max(1, round(config["forget_ratio"] * len(torch.unique(nodes))))
        chosen = picked_nodes(graph, kind, pick, count, generator_for(config))
        return edges_where(graph, torch.isin(nodes, chosen), pick=pick)
    rows = pd.DataFrame({"user": None, "item": None, kind: tokens}, dtype=object)
    mask, _ = _edges_of_rows(rows, f"forget_{kind}s", config, dataset, graph)
    return edges_where(graph, mask)


def _feature_request(config, dataset, graph):
    """The edges of the items that have a value of a feature; those that no run has are left out."""
    feature, values = config["forget_item_feature"], config["forget_item_value"]
    path = os.path.join(dataset.dataset_path, f"{dataset.dataset_name}.item")
    reading = (config["field_separator"], config["seq_separator"], config["encoding"])
    tokens = items_with(path, dataset.iid_field, feature, values, *reading)
    ids = torch.from_numpy(ids_of(dataset.field2id_token[dataset.iid_field], tokens))
    mask = torch.isin(graph.items, ids)
    if not mask.any():
        raise UsageError(
            f"Nothing to forget: none of the {len(tokens)} items whose '{feature}' is {' or '.join(values)} is in the "
            "training data."
        )
    return edges_where(graph, mask, feature=feature, values=values)


def _edges_of_rows(rows, origin, config, dataset, graph):
    """Whether rows of tokens name each edge, shape ``(E,)``, and the number of rows that name none."""
    strict, fields = config["forget_strict"], (dataset.uid_field, dataset.iid_field)
    ids = [ids_of(dataset.field2id_token[field], rows[side]) for field, side in zip(fields, ("user", "item"))]
    unknown = np.any([(of_side < 0) & rows[side].notna() for of_side, side in zip(ids, ("user", "item"))], axis=0)
    _refuse_or_warn(unknown, rows, f"name tokens that the dataset does not have ({origin})", strict)
    mask, numbers = named_edges(graph, *(torch.from_numpy(of_side[~unknown]) for of_side in ids))
    _refuse_or_warn((numbers == 0).numpy(), rows[~unknown], f"are not in the training data ({origin})", strict)
    if not mask.any():
        raise UsageError(f"Nothing to forget: none of the {len(rows)} rows of {origin} is in the training data.")
    return mask, len(rows) - int((numbers > 0).sum())


def _refuse_or_warn(bad, rows, problem, strict):
    """Raise (strict) or log that ``bad`` rows have a problem, with their number and the first few of them."""
    if not bad.any():
        return
    first = rows.loc[bad, ["user", "item"]][:EXAMPLES].itertuples(index=False)
    examples = "; ".join(f"({', '.join(filter(None, row))})" for row in first)
    message = f"{int(bad.sum())} of {len(bad)} rows {problem}, e.g. {examples}."
    if strict:
        raise UsageError(f"{message} Use --forget_strict=False to skip them.")
    getLogger().warning(f"Skipped: {message}")
