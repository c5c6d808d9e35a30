"""Parquet files of sinks: text and embeddings, no index, no metadata of a library."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np


def write_table(path: str, columns: Mapping[str, Any]) -> None:
    """Write a Parquet file; texts and lists of texts become strings, a table of numbers a list of its width a row.

    Args:
        path: of the file.
        columns: name to texts (None where missing), to lists of texts, or to a float32 array of shape ``(n, d)``.
    """
    import pyarrow
    import pyarrow.parquet

    arrays = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.ndim == 2:
            flat = pyarrow.array(np.ascontiguousarray(values).reshape(-1), type=pyarrow.float32())
            arrays[name] = pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        else:
            is_lists = any(isinstance(value, list) for value in values)
            kind = pyarrow.list_(pyarrow.string()) if is_lists else pyarrow.string()
            arrays[name] = pyarrow.array(list(values), type=kind)
    pyarrow.parquet.write_table(pyarrow.table(arrays), path)


def read_table(path: str | os.PathLike) -> dict[str, Any]:
    """The columns of a file of :func:`write_table`."""
    import pyarrow.parquet

    table, columns = pyarrow.parquet.read_table(path), {}
    for name, column in zip(table.column_names, table.columns):
        if str(column.type).startswith("fixed_size_list"):
            flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
            columns[name] = flat.reshape(len(column), column.type.list_size)
        else:
            columns[name] = column.to_pylist()
    return columns
