"""Reads a Parquet file in chunks of rows, and copies the rows that stay with all of their columns."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from recbole_unlearn.deletion.suppression.text_file import Chunk
from recbole_unlearn.deletion.suppression.times import seconds_of
from recbole_unlearn.deletion.suppression.tokens import Tokens
from recbole_unlearn.errors import UsageError

CHUNK = 2**25  # bytes of decoded rows in memory at a time, as the file states them


class ParquetFile:
    """A Parquet file. Schema, metadata and compression of what is copied are its own.

    Args:
        path: of the file.

    Raises:
        UsageError: the file cannot be read.
    """

    def __init__(self, path: str):
        import pyarrow.parquet as pq

        self.path = path
        try:
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20)  # a group of rows may be large
        except OSError as error:
            raise UsageError(f"'{path}' cannot be read: {error.strerror or error}.") from None
        except ValueError as error:
            raise self._damaged(error) from None
        self.names = list(self._file.schema_arrow.names)

    @contextmanager
    def writer(self, path: str) -> Iterator[Callable[[Any], object]]:
        """Yield what writes selected rows into a new file."""
        import pyarrow.parquet as pq

        with pq.ParquetWriter(path, self._file.schema_arrow, compression=self._compression()) as writer:
            yield writer.write_batch

    def chunks(self, wanted: list[str], time: str | None = None, size: int = CHUNK) -> Iterator[Chunk]:
        """Read the rows, in the order of the file.

        Args:
            wanted: names of columns of identifiers.
            time: name of a column of times.
            size: bytes in memory at a time.

        Raises:
            UsageError: the file is damaged, or a column has no identifiers.
        """
        metadata = self._file.metadata
        n_bytes = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        batches = self._file.iter_batches(batch_size=max(1, size * metadata.num_rows // max(1, n_bytes)))
        while True:
            try:
                batch = next(batches, None)
            except (OSError, ValueError) as error:
                raise self._damaged(error) from None
            if batch is None:
                return
            columns = {name: _tokens(batch.column(self.names.index(name)), name) for name in wanted}
            times = functools.partial(_times, batch.column(self.names.index(time))) if time else None
            yield Chunk(columns, times, batch.filter)

    def _compression(self):
        """Of each column, as the file's first rows have it."""
        if not self._file.metadata.num_row_groups:
            return "snappy"
        group = self._file.metadata.row_group(0)
        kinds = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
        return {name: "none" if of.compression == "UNCOMPRESSED" else of.compression for name, of in kinds.items()}

    def _damaged(self, error):
        return UsageError(f"'{self.path}' is no whole Parquet file ({type(error).__name__}): it may have been cut off.")


def _times(column, rows):
    """Seconds since 1970 of some rows of a column of times."""
    import pyarrow as pa

    some = column.take(pa.array(rows))
    if pa.types.is_timestamp(some.type):
        some = some.cast(pa.timestamp("us", some.type.tz), safe=False)  # Python's times have no nanoseconds
    return seconds_of(some.to_pylist())


def _tokens(column, name):
    """The identifiers of a column."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    allowed = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
    if not any(is_kind(kind) for is_kind in allowed):
        raise UsageError(f"Column '{name}' is {kind}, not identifiers: give texts, or whole numbers (1.0 is not 1).")
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    texts = [None if value is None else str(value) for value in column.dictionary.to_pylist()]
    return Tokens(np.asarray(codes, dtype=np.int64), texts)
