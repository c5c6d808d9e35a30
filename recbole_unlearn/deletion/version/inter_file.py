"""The ``.inter`` files of a version.

Rows are in the order of the graph's edges, and a repeated interaction keeps all of its rows, so a mask removes rows.
The format is fixed, whatever the source's settings were: tabs, UTF-8, ``name:type`` in the first line, quotes as pandas
writes them.
"""

import csv
import warnings

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType
from recbole.utils.argument_list import dataset_arguments

from recbole_unlearn.config import Config
from recbole_unlearn.data.interactions import source_of
from recbole_unlearn.data.tokens import nameable
from recbole_unlearn.errors import UsageError

SEPARATOR, ENCODING = "\t", "utf-8"
NEW_LINE, QUOTE = ord("\n"), ord('"')
_FIELD_NAMES = {name for name in dataset_arguments if name.endswith("_FIELD")} | {"NEG_PREFIX"}
READ_WITH = {  # settings with which RecBole reads the files: all dataset settings except names of fields
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
        path: of the file.
        dataset: built.
    """
    feat, ids = dataset.inter_feat, (dataset.uid_field, dataset.iid_field)
    order = np.lexsort((feat[ids[1]].numpy(), feat[ids[0]].numpy()))  # stable: keeps the order of a pair's rows
    columns = {}
    for field in [*ids, *(field for field in feat if field not in ids)]:
        kind = dataset.field2type[field]
        if kind in (FeatureType.TOKEN, FeatureType.FLOAT):
            columns[f"{field}:{kind.value}"] = _values(dataset, field)[order]
    texts = (token for name in columns if name.endswith(":token") for token in np.unique(columns[name].astype(str)))
    quoting = csv.QUOTE_NONNUMERIC if any("\r" in text for text in texts) else csv.QUOTE_MINIMAL  # \r would end a line
    with open(path, "w", encoding=ENCODING, newline="") as file:
        file.write(SEPARATOR.join(columns) + "\n")  # RecBole reads no quotes in the first line
        pd.DataFrame(columns).to_csv(
            file, sep=SEPARATOR, index=False, header=False, lineterminator="\n", quoting=quoting
        )


def _values(dataset, field):
    """The source's values in a field of tokens or numbers, an array with one value a row."""
    feat = dataset.inter_feat
    if dataset.field2type[field] == FeatureType.TOKEN:
        # RecBole's [PAD] stands for a blank cell.
        tokens = np.array(["", *dataset.field2id_token[field][1:]], dtype=object)
        return tokens[feat[field].numpy()]
    values = source_of(feat).get(field, feat[field]).numpy()
    return values[:, 0] if values.ndim > 1 else values  # a field of `numerical_features` has a bucket, too


def copy_rows(source: str, path: str, keep: np.ndarray) -> None:
    """Copy a file, keeping the rows that a mask selects.

    Args:
        source, path: the file to read, which this module wrote, and the file to write.
        keep: boolean, one a row.

    Raises:
        UsageError: the source has another number of rows, or ends within a row.
    """
    with open(source, "rb") as file:
        content = np.frombuffer(file.read(), dtype=np.uint8)
    ends = np.flatnonzero(content == NEW_LINE)
    quotes = np.flatnonzero(content == QUOTE)
    if len(quotes):  # a line end within quotes is part of a token
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    if len(ends) != len(keep) + 1 or ends[-1] + 1 != len(content):
        raise UsageError(f"'{source}' is not a header and {len(keep)} whole rows: it was changed. Restore it.")
    lengths = np.diff(ends, prepend=-1)
    with open(path, "wb") as file:  # numpy's own writer hides why it fails, such as a full disk
        file.write(content[np.repeat(np.concatenate([[True], keep]), lengths)])


def read_ids(path: str, config: Config, tokens: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """The internal ids of a file's rows.

    Args:
        path: of a file that this module wrote.
        config: names the id fields.
        tokens: of ``user`` and ``item``, object arrays in the order of internal ids.

    Returns:
        Users and items.

    Raises:
        UsageError: the file is missing or damaged, or names a user or item without an id.
    """
    columns = {f"{config['USER_ID_FIELD']}:token": "user", f"{config['ITEM_ID_FIELD']}:token": "item"}
    known = {column: nameable(tokens[side]) for column, side in columns.items()}
    # Categories, because an array of texts takes several times as long to read and to look up.
    kinds = {column: pd.CategoricalDtype(tokens[side][known[column]]) for column, side in columns.items()}
    table = _read(path, dtype=kinds, usecols=list(columns))
    codes = [table[column].cat.codes.to_numpy() for column in columns]
    n_unknown = max(int((each < 0).sum()) for each in codes)
    if n_unknown:
        raise UsageError(
            f"'{path}' has {n_unknown} rows of users or items that the model does not know: it was changed. Restore it."
        )
    users, items = (torch.from_numpy(known[column][each]) for column, each in zip(columns, codes))
    return users, items


def read_table(path: str) -> pd.DataFrame:
    """Read a whole file: texts and numbers, a column a field.

    Raises:
        UsageError: the file is missing or damaged.
    """
    header = list(_read(path, dtype=str, nrows=0).columns)
    texts = [name for name in header if name.endswith(":token")]
    numbers = {name: [""] for name in set(header) - {*texts}}
    table = _read(path, dtype=dict.fromkeys(texts, str), na_values=numbers)
    return table.rename(columns=lambda name: name.rpartition(":")[0])


def _read(path, **options):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of values outside the categories, which are told
            return pd.read_csv(path, sep=SEPARATOR, encoding=ENCODING, keep_default_na=False, **options)
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from None
