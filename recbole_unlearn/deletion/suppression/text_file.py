"""Reads a delimited file in chunks of whole rows, and copies the rows that stay byte for byte."""

import codecs
import csv
import functools
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recbole_unlearn.data.atomic import check_cells
from recbole_unlearn.deletion.suppression.rows import NEW_LINE, cells_of, row_ends
from recbole_unlearn.deletion.suppression.times import seconds_of
from recbole_unlearn.deletion.suppression.tokens import Tokens, tokens_of
from recbole_unlearn.errors import UsageError

CHUNK = 2**24  # bytes in memory at a time
LONGEST = 2**26  # bytes of a row
ASCII = bytes(range(128))


@dataclass(frozen=True)
class Chunk:
    """Whole rows.

    Args:
        columns: name to identifiers, of the columns asked for.
        times: gives the seconds since 1970 of some rows; None if no column of times is asked for.
        selected: gives what a boolean mask, one a row, selects: what the file's writer takes.
    """

    columns: dict[str, Tokens]
    times: Callable[[np.ndarray], np.ndarray] | None
    selected: Callable[[np.ndarray], Any]


class TextFile:
    """A delimited file with a header.

    Args:
        path: of the file.
        separator: one character between cells.
        encoding: in which the first 128 bytes are ASCII.

    Raises:
        UsageError: the file or its header cannot be read.
    """

    def __init__(self, path: str, separator: str, encoding: str = "utf-8"):
        self.path, self.separator, self.encoding = path, separator, encoding
        self._is_checked = False
        if len(separator) != 1 or not separator.isascii() or separator in '"\r\n':
            raise UsageError("A separator is one ASCII character, no quote and no line end.")
        try:
            if ASCII.decode(encoding) != ASCII.decode("ascii"):
                raise UsageError(f"The encoding {encoding} does not write ASCII as it is: convert '{path}' to UTF-8.")
            with open(path, "rb") as file:
                self._header = file.readline(LONGEST)
            text = self._header.decode("utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding)
        except (LookupError, UnicodeError) as error:
            raise self._unreadable(error) from None
        except OSError as error:
            raise UsageError(f"'{path}' cannot be read: {error.strerror or error}.") from None
        text = text.rstrip("\r\n")
        if not text.strip() or "\r" in text:
            raise UsageError(f"'{path}' has no first line that names its columns.")
        self.names = [cell.partition(":")[0] for cell in next(csv.reader([text], delimiter=separator))]

    @contextmanager
    def writer(self, path: str) -> Iterator[Callable[[Any], object]]:
        """Yield what writes selected rows into a new file, which has the header already."""
        with open(path, "wb") as file:
            file.write(self._header)
            yield file.write

    def chunks(self, wanted: list[str], time: str | None = None, size: int = CHUNK) -> Iterator[Chunk]:
        """Read the rows, in the order of the file.

        Args:
            wanted: names of columns of identifiers.
            time: name of a column of times.
            size: bytes in memory at a time.

        Raises:
            UsageError: a row has another number of cells than the header, or the bytes are no text.
        """
        lines = 1
        for content, ends, plain, lacks_end in self._whole_rows(size):
            columns = self._columns(content, ends, plain, [*wanted, *([time] if time else [])], lines)
            times = (lambda rows, column=columns[time]: seconds_of(column.at(rows))) if time else None
            selected = functools.partial(_selected, content, ends, lacks_end)
            yield Chunk(columns, times, selected)
            lines += int(np.count_nonzero(content == NEW_LINE))

    def _whole_rows(self, size):
        """Bytes of whole rows, where these end, whether they are plain, and whether the file lacks the last byte."""
        rest, is_last = b"", False
        with open(self.path, "rb") as file:
            file.seek(len(self._header))
            while not is_last:
                read = file.read(size)
                if read.endswith(b"\r"):  # half a line end, maybe
                    read += file.read(1)
                is_last = len(read) < size
                content = rest + read
                lacks_end = is_last and not content.endswith((b"\n", b"\r")) and content != b""
                array = np.frombuffer(content + b"\n" * lacks_end, dtype=np.uint8)
                ends, plain = row_ends(array, ord(self.separator)) if len(array) else (np.zeros(0, int), True)
                whole = int(ends[-1]) + 1 if len(ends) else 0
                if len(array) - whole > (0 if is_last else LONGEST):
                    raise UsageError(f"'{self.path}' ends within a row: a quote is not closed, or it was cut off.")
                if len(ends):
                    yield array[:whole], ends, plain, lacks_end
                rest = content[whole:]

    def _columns(self, content, ends, plain, wanted, lines):
        if plain:
            cells = cells_of(content, ord(self.separator), ends)
            bad = (cells != len(self.names)) & (cells > 0)
            if bad.any():
                row = int(bad.argmax())
                before = int(np.count_nonzero(content[: int(ends[row - 1]) + 1] == NEW_LINE)) if row else 0
                where = f"in line {lines + before + 1}, not {len(self.names)} as its first line has"
                raise UsageError(f"'{self.path}' has {cells[row]} cell(s) {where}.")
            columns = self._read_plain(content, wanted, cells > 0)
        else:
            columns = self._read_as_recbole(content, wanted)
        if any(len(column.codes) != len(ends) for column in columns.values()):
            raise UsageError(f"'{self.path}' cannot be cut into rows: check its quotes.")
        return columns

    def _read_plain(self, content, wanted, filled):
        """The cells of plain bytes; a blank line, which is not ``filled``, has none."""
        import pyarrow as pa  # here, because the package does without it
        from pyarrow import csv as reader

        kinds = dict.fromkeys(wanted, pa.dictionary(pa.int32(), pa.string()))
        names = [name if name in kinds else f"{place} {name}" for place, name in enumerate(self.names)]
        try:
            table = reader.read_csv(
                pa.BufferReader(content),
                reader.ReadOptions(column_names=names, block_size=len(content) + 1, encoding=self.encoding),
                reader.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                reader.ConvertOptions(include_columns=wanted, column_types=kinds, strings_can_be_null=False),
            )
        except (pa.ArrowInvalid, UnicodeError) as error:
            raise self._unreadable(error) from None
        columns = {}
        for name in wanted:
            column = table[name].unify_dictionaries().combine_chunks()
            column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
            codes = np.full(len(filled), -1, dtype=np.int32)
            codes[filled] = column.indices.to_numpy()
            columns[name] = Tokens(codes, column.dictionary.to_pylist())
        return columns

    def _read_as_recbole(self, content, wanted):
        places = [self.names.index(name) for name in wanted]
        try:
            table = pd.read_csv(
                io.BytesIO(content.tobytes()),
                sep=self.separator,
                header=None,
                names=range(len(self.names)),
                index_col=False,
                dtype=str,
                keep_default_na=False,
                skip_blank_lines=False,
                encoding=self.encoding,
            )
        except (UnicodeError, pd.errors.ParserError) as error:
            self._check_all_cells()
            raise self._unreadable(error) from None
        if (table.iloc[:, -1].fillna("") == "").any():  # as pandas fills a short row
            self._check_all_cells()
        return {name: tokens_of(table[place], name) for name, place in zip(wanted, places)}

    def _check_all_cells(self):
        if not self._is_checked:  # once, because it reads the whole file
            check_cells(self.path, self.separator, self.encoding, len(self.names))
            self._is_checked = True

    def _unreadable(self, error):
        why = " ".join(str(error).split("'")[0].split())  # what follows may quote a cell
        return UsageError(f"'{self.path}' is not rows of text in the encoding {self.encoding}: {why}.")


def _selected(content, ends, lacks_end, keep):
    """The bytes of the rows that a mask selects."""
    if keep.all():
        selected = content
    else:
        selected = content[np.repeat(keep, np.diff(ends, prepend=-1))]
    return selected[:-1] if lacks_end and keep[-1] else selected
