"""The training rows of a checkpoint from a file, where its settings do not give them."""

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset

from recbole_unlearn.config import Config
from recbole_unlearn.data.copies import with_edges
from recbole_unlearn.data.interactions import Interactions, source_of
from recbole_unlearn.data.tokens import ids_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.streams import torch_stream


def split_by_file(path: str, config: Config, parts: list[Dataset], tokens: dict[str, np.ndarray]) -> list[Dataset]:
    """Split a dataset anew: a file names the training rows; validation and test are random halves of the rest.

    Args:
        path: an atomic file (``.inter``): tab separated, UTF-8, with both id columns in its header, ``user_id:token``.
        config: names the id columns and the seed.
        parts: any split of the dataset.
        tokens: of ``user`` and ``item``, object arrays in the order of internal ids.

    Raises:
        UsageError: the file cannot be read, or names rows that the dataset does not have, or all of its rows.
    """
    users, items = _ids(path, config, tokens)
    first = parts[0]
    feats = [part.inter_feat for part in parts]
    everything = {field: torch.cat([feat[field] for feat in feats]) for field in first.inter_feat}
    source = {field: torch.cat([source_of(feat)[field] for feat in feats]) for field in source_of(feats[0])}
    whole = first.copy(Interactions(everything, source))
    ends = everything[first.uid_field], everything[first.iid_field]
    size = first.user_num, first.item_num
    unknown = ~Graph.from_edges(*ends, *size).contains(users, items)
    if unknown.any():
        raise UsageError(
            f"{int(unknown.sum())} of the {len(users)} rows of '{path}' are not in dataset '{config['dataset']}'."
        )
    is_training = Graph.from_edges(users, items, *size).contains(*ends)
    rest = torch.nonzero(~is_training).flatten()
    if len(rest) < 2:
        raise UsageError(
            f"'{path}' names all of dataset '{config['dataset']}', so that nothing is left to validate and test on."
        )
    order = rest[torch.randperm(len(rest), generator=torch_stream(config["seed"], "held-out rows"))]
    masks = [is_training]
    for half in order.tensor_split(2):
        masks.append(torch.zeros(len(is_training), dtype=torch.bool).index_fill_(0, half, True))
    return [with_edges(whole, mask) for mask in masks]


def _ids(path, config, tokens):
    fields = {"user": config["USER_ID_FIELD"], "item": config["ITEM_ID_FIELD"]}
    columns = [f"{field}:token" for field in fields.values()]
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"Training rows '{path}' cannot be read: {' '.join(str(error).split())}") from None
    missing = [column for column in columns if column not in table]
    if missing:
        raise UsageError(
            f"'{path}' has no column {missing[0]}: name the training rows in tab-separated columns "
            f"{', '.join(columns)}."
        )
    ids = [torch.from_numpy(ids_of(tokens[side], table[column])) for side, column in zip(fields, columns)]
    unknown = (ids[0] < 0) | (ids[1] < 0)
    if unknown.any() or not len(table):
        raise UsageError(
            f"{int(unknown.sum())} of the {len(table)} rows of '{path}' name users or items that "
            f"'{config['dataset']}' does not have."
        )
    return ids
