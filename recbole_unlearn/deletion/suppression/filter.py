"""Filters a file of new data: its rows without those of people, items and interactions that stores have forgotten."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbole_unlearn.deletion.suppression.parquet_file import ParquetFile
from recbole_unlearn.deletion.suppression.suppression import KINDS, Suppression
from recbole_unlearn.deletion.suppression.text_file import Chunk, TextFile
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files.checkpoint import write_aside

SEPARATORS = {".inter": "\t", ".user": "\t", ".item": "\t", ".tsv": "\t", ".csv": ","}
PARQUET = (".parquet", ".pq")
TIME = "timestamp"  # the column of times, unless another one is named; RecBole's own default


@dataclass(frozen=True)
class Filtered:
    """What filtering a file has done.

    Args:
        rows: number of rows in the file.
        kept: number of rows that stay.
        dropped: number of rows that go, by kind: ``user``, ``item``, ``interaction``; each counts once, in this order.
        readmitted: number of rows that stay because of a consent given anew.
        untimed: number of dropped rows that a consent might admit, had they a time.
        output: path of the file that was written; None for a dry run.
    """

    rows: int
    kept: int
    dropped: dict[str, int]
    readmitted: int
    untimed: int
    output: str | None


def filter_file(
    path: str | os.PathLike,
    suppression: Suppression,
    output: str | os.PathLike | None = None,
    *,
    in_place: bool = False,
    dry_run: bool = False,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    separator: str | None = None,
    encoding: str = "utf-8",
    chunk_bytes: int | None = None,
) -> Filtered:
    """Write a file without the rows that stores have forgotten. All other rows stay as they are, in their order.

    Args:
        path: an atomic file (``.inter``, ``.user``, ``.item``, ``.tsv``: tabs), a ``.csv`` or a ``.parquet``.
        suppression: knows what is forgotten.
        output: of the same format; default ``NAME.filtered.ENDING`` beside the file. It is whole or absent.
        in_place: whether to replace the file itself.
        dry_run: whether only to count.
        user, item: names of the id columns; by default the store's. A file of users alone has no items.
        time: name of the column of times, by default ``timestamp``; read only if consents ask for it.
        separator: one character between cells; by default, what the file's ending says.
        encoding: of a delimited file.
        chunk_bytes: of rows in memory at a time. The result does not depend on it.

    Raises:
        UsageError: the file cannot be read, or nothing may be written there; then nothing was.
    """
    path = os.path.realpath(path) if in_place else os.fspath(path)
    if not os.path.isfile(path):
        raise UsageError(f"'{path}' is no file: name a file of rows.")
    source = _opened(path, separator, encoding)
    columns = [_column(source, given, name) for given, name in zip((user, item), suppression.names)]
    if columns == [None, None]:
        raise UsageError(f"'{path}' has neither a column '{suppression.names[0]}' nor '{suppression.names[1]}'.")
    count = _Count(suppression, columns, _time(source, time, suppression))
    chunks = source.chunks([name for name in columns if name], count.time, **_size(chunk_bytes))
    if dry_run:
        for chunk in chunks:
            count.judge(chunk)
        return count.filtered(None)
    target = _target(path, output, in_place)

    def write(temporary):
        with source.writer(temporary) as write_rows:
            shutil.copymode(path, temporary)  # at once: what is private stays private
            for chunk in chunks:
                write_rows(chunk.selected(count.judge(chunk)))

    write_aside(target, write)
    return count.filtered(target)


class _Count:
    """Judges rows chunk by chunk, and counts."""

    def __init__(self, suppression: Suppression, columns: list[str | None], time: str | None):
        self.suppression, self.columns, self.time = suppression, columns, time
        self.rows = self.readmitted = self.untimed = 0
        self.dropped = dict.fromkeys(KINDS, 0)

    def judge(self, chunk: Chunk) -> np.ndarray:
        """Which rows stay."""
        users, items = (None if name is None else chunk.columns[name] for name in self.columns)
        judged = self.suppression.judge(users, items, chunk.times)
        self.rows += len(judged.kinds)
        self.readmitted += int(judged.readmitted.sum())
        self.untimed += judged.untimed
        self.dropped = {kind: self.dropped[kind] + number for kind, number in judged.counts().items()}
        return judged.kinds == 0

    def filtered(self, output: str | None) -> Filtered:
        kept = self.rows - sum(self.dropped.values())
        return Filtered(self.rows, kept, self.dropped, self.readmitted, self.untimed, output)


def _size(chunk_bytes):
    return {} if chunk_bytes is None else {"size": chunk_bytes}


def _opened(path, separator, encoding):
    ending = Path(path).suffix.lower()
    if ending in PARQUET:
        return ParquetFile(path)
    if separator is None and ending not in SEPARATORS:
        endings = ", ".join((*SEPARATORS, *PARQUET))
        raise UsageError(f"'{path}' should end in {endings}, which says its format, or be given a separator.")
    return TextFile(path, separator or SEPARATORS[ending], encoding)


def _column(source, given, name):
    """The name of an id column; None if there is none. Its name must be the only one of its kind."""
    wanted = given or name
    number = source.names.count(wanted)
    if number > 1 or (given and not number):
        raise UsageError(f"'{source.path}' has {number} columns '{wanted}', and should have one.")
    return wanted if number else None


def _time(source, given, suppression):
    """The name of the column of times, if times matter."""
    name = given or TIME
    if given and given not in source.names:
        raise UsageError(f"'{source.path}' has no column '{given}'.")
    if suppression.since is not None and name in source.names:
        raise UsageError(f"`since` is for data without times, and '{source.path}' has its column '{name}'.")
    if not suppression.asks_for_times:
        return None
    if source.names.count(name) != 1:
        raise UsageError(
            f"Consents count from a time on, and '{source.path}' has no column '{name}': name its column of times "
            "(--time_field), or say since when its rows are (--since)."
        )
    return name


def _target(path, output, in_place):
    """Where the result goes."""
    if in_place and output is not None:
        raise UsageError("Give an output or filter in place, not both.")
    if in_place:
        return path
    root, ending = os.path.splitext(path)
    target = f"{root}.filtered{ending}" if output is None else os.fspath(output)
    if os.path.splitext(target)[1].lower() != ending.lower():
        raise UsageError(f"The output keeps the format of '{path}': its name should end in '{ending}'.")
    if os.path.isdir(target):
        raise UsageError(f"'{target}' is a folder: name a file.")
    if os.path.exists(target) and os.path.samefile(path, target):
        raise UsageError(f"The output is '{path}' itself: name another file, or filter in place.")
    return target
