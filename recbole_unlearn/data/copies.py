"""Copies of a built dataset on other edges, or on other nodes."""

from collections.abc import Sequence

import numpy as np
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_unlearn.data.interactions import Interactions, source_of, where
from recbole_unlearn.graph import Graph


def with_edges(dataset: Dataset, keep: torch.Tensor) -> Dataset:
    """A copy of a built dataset with the interactions where ``keep`` (boolean, one per row) is true; ids stay."""
    return dataset.copy(where(dataset.inter_feat, keep))


def with_edges_of(dataset: Dataset, graph: Graph) -> Dataset:
    """A copy of a built dataset with the interactions that are edges of a graph; ids stay."""
    feat = dataset.inter_feat
    return with_edges(dataset, graph.contains(feat[dataset.uid_field], feat[dataset.iid_field]))


def with_nodes(dataset: Dataset, users: torch.Tensor, items: torch.Tensor) -> Dataset:
    """A copy of a built dataset that has only these users and items, and the interactions between them.

    Args:
        users, items: int64 ids without the padding; they become 1, 2, ... in this order.
    """
    feat, keep = dataset.inter_feat, torch.ones(len(dataset.inter_feat), dtype=torch.bool)
    columns = {field: feat[field] for field in feat}
    copied = dataset.copy(feat)
    copied.field2id_token, copied.field2token_id = dict(dataset.field2id_token), dict(dataset.field2token_id)
    for field, source, nodes in ((dataset.uid_field, "user_feat", users), (dataset.iid_field, "item_feat", items)):
        nodes = torch.cat([nodes.new_zeros(1), nodes])
        new_id = torch.full((dataset.num(field),), -1)
        new_id[nodes] = torch.arange(len(nodes))
        columns[field] = new_id[columns[field]]
        keep &= columns[field] >= 0
        tokens = dataset.field2id_token[field][nodes.numpy()]
        copied.field2id_token[field] = tokens
        copied.field2token_id[field] = {token: id_ for id_, token in enumerate(tokens)}
        features = getattr(dataset, source)  # one row per id
        if features is not None:
            rows = {name: features[name][nodes] for name in features}
            setattr(copied, source, Interaction({**rows, field: torch.arange(len(nodes))}))
    copied.inter_feat = where(Interactions(columns, source_of(feat)), keep)
    return copied


def with_extra_edges(dataset: Dataset, users: torch.Tensor, items: torch.Tensor) -> Dataset:
    """A copy of a built dataset with these interactions added, at its latest time; their other fields are 0."""
    extra, feat = {dataset.uid_field: users, dataset.iid_field: items}, dataset.inter_feat

    def longer(field, column):
        if field == dataset.time_field and len(column):
            known = column.nan_to_num(-torch.inf) if column.is_floating_point() else column
            return torch.cat([column, known.max().expand(len(users))])
        return torch.cat([column, extra.get(field, column.new_zeros((len(users), *column.shape[1:])))])

    columns = {field: longer(field, feat[field]) for field in feat}
    source = {field: longer(field, values) for field, values in source_of(feat).items()}
    return dataset.copy(Interactions(columns, source))


def with_more_users(dataset: Dataset, tokens: Sequence[str]) -> Dataset:
    """A copy of a built dataset with more users, who have no interactions yet.

    Args:
        tokens: of the new users, whose ids follow the others'; fields of their features are 0.
    """
    copied, field, first = dataset.copy(dataset.inter_feat), dataset.uid_field, dataset.user_num
    ids = range(first, first + len(tokens))
    names = np.append(dataset.field2id_token[field], np.asarray(tokens, dtype=dataset.field2id_token[field].dtype.kind))
    copied.field2id_token = {**dataset.field2id_token, field: names}
    copied.field2token_id = {
        **dataset.field2token_id,
        field: {**dataset.field2token_id[field], **dict(zip(tokens, ids))},
    }
    features = dataset.user_feat
    if features is not None:
        longer = {
            name: torch.cat([features[name], features[name].new_zeros((len(tokens), *features[name].shape[1:]))])
            for name in features
        }
        copied.user_feat = Interaction({**longer, field: torch.arange(first + len(tokens))})
    return copied
