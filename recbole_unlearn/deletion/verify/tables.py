"""Read tables that libraries write: arrays of numpy, databases of SQLite, Parquet and Arrow."""

import io
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from recbole_unlearn.deletion.verify.parts import PICKLED, File, Hit, Parts, Records, Text, Unsearched

ROWS = 10_000  # in memory at a time


def read_npy(file: File) -> Parts:
    """The rows of an array; one of floating-point numbers has a row for each user or item."""
    try:
        array = np.load(file.stream, allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        yield Hit(PICKLED, 1, sure=False)
        return
    if array.dtype.names:
        yield records(dict(zip(array.dtype.names, row)) for row in array.reshape(-1).tolist())
    elif array.dtype.kind == "f" and array.ndim >= 2:
        yield Hit("weights without tokens", 1)
    else:
        yield records(np.atleast_1d(array).tolist())


def read_sqlite(file: File) -> Parts:
    """The rows of all tables, from a copy, so that neither the file nor anything beside it changes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "copy.db")
        with open(path, "wb") as copy:
            shutil.copyfileobj(file.stream, copy)
        name = getattr(file.stream, "name", None)  # of a file on the disk; another has none, or a number
        if isinstance(name, str) and (log := Path(f"{name}-wal")).is_file():
            shutil.copyfile(log, f"{path}-wal")
        with closing(sqlite3.connect(path)) as db:
            db.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
            schema = db.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
            yield Text("schema", "\n".join(sql for _, _, sql in schema), numbers=False)
            for table in (name for kind, name, _ in schema if kind == "table"):
                cursor = db.execute('SELECT * FROM "{}"'.format(table.replace('"', '""')))
                columns = [column for column, *_ in cursor.description]
                while rows := cursor.fetchmany(ROWS):
                    for column, cell in (pair for row in rows for pair in zip(columns, row)):
                        if isinstance(cell, bytes) and cell:
                            yield file.within(io.BytesIO(cell), f"{table}.{column}")
                    yield records((dict(zip(columns, row)) for row in rows), f"row of {table}")
            if db.execute("PRAGMA freelist_count").fetchone()[0]:
                yield Unsearched("pages of deleted rows: VACUUM the database")


def read_parquet(file: File) -> Parts:
    """The rows and the metadata of a Parquet file."""
    import pyarrow.parquet

    content = pyarrow.parquet.ParquetFile(file.stream)
    yield from _arrow(content.iter_batches(ROWS), content.schema_arrow)


def read_feather(file: File) -> Parts:
    """The rows and the metadata of an Arrow or Feather file."""
    import pyarrow.feather

    content = pyarrow.feather.read_table(file.stream)
    yield from _arrow(content.to_batches(ROWS), content.schema)


def _arrow(batches, schema):
    """The rows; then the names of columns and their metadata, where pandas writes the index."""
    for batch in batches:
        yield records(batch.to_pylist())
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key != b"ARROW:schema"}
    texts = [text.decode("utf-8", "replace") for entry in metadata.items() for text in entry]
    yield Text("names and metadata", "\n".join([*schema.names, *texts]), numbers=False)


def records(rows: Iterable[Any], place: str = "record") -> Records:
    """Rows that a library returned, as plain data."""
    return Records(place, [_plain(row) for row in rows])


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return value.rstrip(b"\0").decode("utf-8", "surrogateescape") or None
    return None if value is None else str(value)
