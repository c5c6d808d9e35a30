"""The ``.inter`` files of a version: rows in the order of the graph's edges, each edge as often as it was there, so that a
mask removes rows.

The format is fixed, whatever the source's settings were: tabs, UTF-8, ``name:type`` in the first line, quotes as pandas writes
them.
"""

import csv
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType
from recbole.utils.argument_list import dataset_arguments

from recbole_unlearn.config import Config
from recbole_unlearn.data.interactions import source_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph

SEPARATOR, ENCODING = "\t", "utf-8"
NEW_LINE, QUOTE = ord("\n"), ord('"')
_FIELD_NAMES = {name for name in dataset_arguments if name.endswith("_FIELD")} | {"NEG_PREFIX"}
READ_WITH = {  # the settings with which RecBole reads the files: all of a dataset's but the names of its fields
    **dict.fromkeys(set(dataset_arguments) - _FIELD_NAMES | {"numerical_features", "discretization"}),
    "field_separator": SEPARATOR,
    "encoding": ENCODING,
    "seq_separator": " ",
    "numerical_features": [],
    "benchmark_filename": ["train", "valid", "test"],
}


def write_dataset(path: str, dataset: Dataset) -> None:
    """Write a RecBole dataset's interactions, with all fields that are single tokens or numbers.

    Args:
        path: file to write.
        dataset: built.
    """
    feat, ids = dataset.inter_feat, (dataset.uid_field, dataset.iid_field)
    order = np.lexsort((feat[ids[1]].numpy(), feat[ids[0]].numpy()))  # which keeps the order of a pair's rows
    columns = {}
    for field in [*ids, *(field for field in feat if field not in ids)]:
        kind = dataset.field2type[field]
        if kind in (FeatureType.TOKEN, FeatureType.FLOAT):
            columns[f"{field}:{kind.value}"] = _values(dataset, field)[order]
    texts = (token for name in columns if name.endswith(":token") for token in np.unique(columns[name].astype(str)))
    quoting = csv.QUOTE_NONNUMERIC if any("\r" in text for text in texts) else csv.QUOTE_MINIMAL  # it would end a line
    with open(path, "w", encoding=ENCODING, newline="") as file:
        file.write(SEPARATOR.join(columns) + "\n")  # RecBole reads no quotes in the first line
        pd.DataFrame(columns).to_csv(
            file, sep=SEPARATOR, index=False, header=False, lineterminator="\n", quoting=quoting
        )


def _values(dataset, field):
    """What the source says in a field of tokens or numbers, an array of one value a row."""
    feat = dataset.inter_feat
    if dataset.field2type[field] == FeatureType.TOKEN:
        tokens = np.array(
            ["", *dataset.field2id_token[field][1:]], dtype=object
        )  # RecBole's [PAD] stands for a blank cell
        return tokens[feat[field].numpy()]
    values = source_of(feat).get(field, feat[field]).numpy()
    return values[:, 0] if values.ndim > 1 else values  # one of `numerical_features` has a bucket besides


def copy_rows(source: str, path: str, keep: np.ndarray) -> None:
    """Write the rows of a file where a mask holds.

    Args:
        source, path: files of this module.
        keep: boolean, one a row.

    Raises:
        UsageError: the file has another number of rows, or ends within one.
    """
    with open(source, "rb") as file:
        content = np.frombuffer(file.read(), dtype=np.uint8)
    ends = np.flatnonzero(content == NEW_LINE)
    quotes = np.flatnonzero(content == QUOTE)
    if len(quotes):  # a line that ends within quotes is part of a token
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    if len(ends) != len(keep) + 1 or ends[-1] + 1 != len(content):
        raise UsageError(f"'{source}' is not a header and {len(keep)} whole rows: it was changed. Restore it.")
    lengths = np.diff(ends, prepend=-1)
    with open(path, "wb") as file:  # numpy's own writer does not say why it fails, as of a full disk
        file.write(content[np.repeat(np.concatenate([[True], keep]), lengths)])


def read_ids(path: str, config: Config, tokens: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """The internal ids of a file's rows.

    Args:
        path: file of this module.
        config: names the id fields.
        tokens: of ``user`` and ``item``, object arrays in the order of internal ids.

    Returns:
        Users and items.

    Raises:
        UsageError: the file is missing or damaged, or names something without an id.
    """
    fields = {"user": config["USER_ID_FIELD"], "item": config["ITEM_ID_FIELD"]}
    columns = [f"{field}:token" for field in fields.values()]
    try:
        table = pd.read_csv(path, sep=SEPARATOR, encoding=ENCODING, dtype=str, keep_default_na=False, usecols=columns)
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from None
    try:
        return tuple(torch.from_numpy(known_ids(tokens[side], table[column])) for side, column in zip(fields, columns))
    except UsageError as error:
        raise UsageError(f"'{path}' names {error}: it was changed. Restore it.") from None


def read_table(path: str) -> pd.DataFrame:
    """All of a file: texts and numbers, a column a field.

    Raises:
        UsageError: the file is missing or damaged.
    """
    try:
        with open(path, encoding=ENCODING) as file:
            header = file.readline().rstrip("\n").split(SEPARATOR)
        texts = [name for name in header if name.endswith(":token")]
        options = {
            "dtype": dict.fromkeys(texts, str),
            "keep_default_na": False,
            "na_values": {name: [""] for name in set(header) - {*texts}},
        }
        table = pd.read_csv(path, sep=SEPARATOR, encoding=ENCODING, **options)
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from None
    return table.rename(columns=lambda name: name.rpartition(":")[0])


def id_of(tokens: np.ndarray, wanted: Sequence[str | None]) -> np.ndarray:
    """Internal ids of external tokens, -1 where unknown, as a numpy array; whoever indexes with them takes :func:`known_ids`.

    Args:
        tokens: objects, in the order of internal ids; the first is padding.
        wanted: any number.
    """
    known = np.flatnonzero([token is not None for token in tokens[1:]]) + 1
    place = pd.Index(tokens[known], dtype=object).get_indexer(pd.Index(wanted, dtype=object))
    return np.append(known, -1)[place]  # where unknown, the place is -1: the last


def known_ids(tokens: np.ndarray, wanted: Sequence[str]) -> np.ndarray:
    """Internal ids of external tokens that are all known, to index with; see :func:`id_of`.

    Raises:
        UsageError: says how many are not.
    """
    ids = id_of(tokens, wanted)
    n_unknown = int((ids < 0).sum())
    if n_unknown:
        raise UsageError(f"{n_unknown} users or items that the model does not know")
    return ids


def counts_of(graph: Graph, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor | None:
    """How many rows each edge of a graph has, shape ``(E,)``; None if each has one.

    Args:
        graph: of the rows.
        users, items: the ids of each row.
    """
    if len(users) == len(graph):
        return None
    position, _ = graph.find(users, items)
    return torch.bincount(position, minlength=len(graph))


def of_rows(values: torch.Tensor, counts: torch.Tensor | None) -> torch.Tensor:
    """What holds for edges as what holds for their rows.

    Args:
        values: one an edge.
        counts: of :func:`counts_of`.
    """
    return values if counts is None else values.repeat_interleave(counts)


def row_degrees(graph: Graph, counts: torch.Tensor | None) -> torch.Tensor:
    """Number of rows at each node, shape ``(N,)``; see :func:`counts_of`."""
    if counts is None:
        return graph.degrees()
    return torch.cat(
        [
            torch.bincount(of_rows(graph.users, counts), minlength=graph.n_users),
            torch.bincount(of_rows(graph.items, counts), minlength=graph.n_items),
        ]
    )
