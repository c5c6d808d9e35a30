"""The ``.inter`` files of a version: one row an edge, in the order of the graph's edges, so that a mask removes rows."""

import numpy as np
import pandas as pd
import torch
from recbole.utils import FeatureType

from recbole_unlearn.data.interactions import source_of
from recbole_unlearn.errors import UsageError


def write_dataset(path, dataset):
    """Write a RecBole dataset's interactions, the first of each pair, with all fields that are single tokens or numbers.

    Args:
        path (str): file to write.
        dataset (Dataset): built.
    """
    feat = dataset.inter_feat
    pairs = feat[dataset.uid_field].numpy() * dataset.item_num + feat[dataset.iid_field].numpy()
    _, first = np.unique(pairs, return_index=True)
    columns = {}
    for field in [dataset.uid_field, dataset.iid_field, *(f for f in feat if f not in (dataset.uid_field, dataset.iid_field))]:
        kind = dataset.field2type[field]
        if kind == FeatureType.TOKEN:
            tokens = np.append("", dataset.field2id_token[field][1:])  # RecBole's [PAD] stands for a blank cell
            columns[f"{field}:token"] = tokens[feat[field].numpy()[first]]
        elif kind == FeatureType.FLOAT:
            columns[f"{field}:float"] = source_of(feat).get(field, feat[field]).numpy()[first]
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False)


def copy_rows(source, path, keep):
    """Write the rows of a file where a mask holds.

    Args:
        source, path (str): files of this module.
        keep (numpy.ndarray): boolean, one a row.

    Raises:
        UsageError: the file has another number of rows, or ends within one.
    """
    with open(source, "rb") as file:
        content = np.frombuffer(file.read(), dtype=np.uint8)
    ends = np.flatnonzero(content == ord("\n"))
    if len(ends) != len(keep) + 1 or ends[-1] + 1 != len(content):
        raise UsageError(f"'{source}' is not a header and {len(keep)} whole rows: it was changed. Restore it.")
    lengths = np.diff(ends, prepend=-1)
    with open(path, "wb") as file:  # numpy's own writer does not say why it fails, as of a full disk
        file.write(content[np.repeat(np.concatenate([[True], keep]), lengths)])


def read_ids(path, config, tokens):
    """The internal ids of a file's rows.

    Args:
        path (str): file of this module.
        config (Config): names the id fields.
        tokens (dict): of ``user`` and ``item``, object arrays in the order of internal ids.

    Returns:
        tuple of torch.LongTensor: users and items.

    Raises:
        UsageError: the file is missing or damaged, or names something without an id.
    """
    fields = {"user": config["USER_ID_FIELD"], "item": config["ITEM_ID_FIELD"]}
    columns = [f"{field}:token" for field in fields.values()]
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, usecols=columns)
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from None
    ids = [id_of(tokens[side], table[column]) for side, column in zip(fields, columns)]
    if any((side < 0).any() for side in ids):
        raise UsageError(f"'{path}' names users or items that the model does not know: it was changed. Restore it.")
    return tuple(map(torch.from_numpy, ids))


def id_of(tokens, wanted):
    """Internal ids of external tokens, -1 where unknown, as a numpy array.

    Args:
        tokens (numpy.ndarray): objects, in the order of internal ids; the first is padding.
        wanted (sequence of str): any number.
    """
    known = np.flatnonzero([token is not None for token in tokens[1:]]) + 1
    place = pd.Index(tokens[known], dtype=object).get_indexer(pd.Index(wanted, dtype=object))
    return np.append(known, -1)[place]  # where unknown, the place is -1: the last
