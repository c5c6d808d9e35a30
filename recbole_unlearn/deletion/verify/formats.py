"""Recognise and read files that are no text."""

import bz2
import gzip
import io
import lzma
import pickletools
import re
import sqlite3
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import numpy as np

from recbole_unlearn.deletion.verify import png
from recbole_unlearn.deletion.verify.parts import Hit, Inner, Records, Text, Unsearched

ROWS = 10_000  # of a database or a Parquet file in memory at a time
SMALL = 2**26  # the most bytes to unpack in memory; more go to a file without a name
RUN = 4  # the fewest letters in a row that count as text in a binary file
RUNS = (
    (re.compile(rb"[\t\x20-\x7e\x80-\xf4]{%d,}" % RUN), "utf-8"),
    (re.compile(rb"(?:[\t\x20-\x7e]\0){%d,}" % RUN), "utf-16-le"),
    (re.compile(rb"(?:\0[\t\x20-\x7e]){%d,}" % RUN), "utf-16-be"),
)
CHUNK = 2**22
PICKLED = "pickled: delete it, or waive it by name"
Reader = Callable[[BinaryIO, "Budget"], Iterator]


class TooLarge(Exception):
    """The unpacked content of a file exceeds the limit."""


class Budget:
    """The number of bytes that may still be unpacked from one file."""

    def __init__(self, limit: int):
        self.limit = self.left = limit

    def copy(self, source: BinaryIO) -> BinaryIO:
        """A stream's content as a seekable stream, on the disk only if it is large.

        Raises:
            TooLarge: the content exceeds the rest of the budget.
        """
        copy = io.BytesIO()
        while chunk := source.read(CHUNK):
            self.left -= len(chunk)
            if self.left < 0:
                raise TooLarge(f"larger than {self.limit:,} bytes when it is unpacked")
            if isinstance(copy, io.BytesIO) and copy.tell() + len(chunk) > SMALL:
                on_disk = tempfile.TemporaryFile()
                on_disk.write(copy.getbuffer())
                copy = on_disk
            copy.write(chunk)
        copy.seek(0)
        return copy


def kind_of(name: str, stream: BinaryIO) -> tuple[str, Reader] | None:
    """The kind of a file, by its first bytes, and its reader; None for text and unknown kinds."""
    stream.seek(0)
    head = stream.read(512)
    for magic, what, reader in KINDS:
        if head.startswith(magic):
            return what, reader
    if head[257:262] == b"ustar":
        return "a tar archive", _tar
    is_marked = head[:1] == b"\x80" and head[1:2] <= b"\x05"
    if is_marked or name.lower().endswith((".pkl", ".pickle", ".joblib")) or _is_pickle(stream, head):
        return "pickled objects", _pickle
    if head[:2] in (b"x\x01", b"x\x9c", b"x\xda"):
        return "zlib", _compressed(lambda source: io.BytesIO(_inflated(source)))
    return None


def _is_pickle(stream, head):
    """Whether a stream is a pickle of the old protocols, which are text and begin without a mark."""
    if not head[:1] or head[:1] not in b"(cd}]IVSFLKNU" or not _ends_with(stream, b"."):
        return False
    stream.seek(0)
    try:
        has_values = False
        for _, value, _ in pickletools.genops(stream):
            has_values |= value is not None
    except Exception:  # no pickle
        return False
    return has_values and not stream.read(1)


def _ends_with(stream, byte):
    stream.seek(-1, io.SEEK_END)
    return stream.read(1) == byte


def _pickle(stream, budget):
    yield Hit(PICKLED, 1, sure=False)


def _compressed(opened):
    def read(stream, budget):
        with opened(stream) as source:
            yield Inner("", budget.copy(source))

    return read


def _inflated(source):
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(source.read(), 2**28)
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise TooLarge("more than 268,435,456 bytes of zlib, or not whole")
    return content


def _arrow_codec(codec):
    def opened(stream):
        import pyarrow

        return pyarrow.CompressedInputStream(pyarrow.PythonFile(_Reopened(stream), mode="r"), codec)

    return opened


class _Reopened(io.RawIOBase):
    """A stream that pyarrow may close."""

    def __init__(self, stream):
        self._stream = stream

    def readable(self):
        return True

    def seekable(self):
        return True

    def read(self, size=-1):
        return self._stream.read(size)

    def seek(self, *where):
        return self._stream.seek(*where)

    def tell(self):
        return self._stream.tell()


def _zip(stream, budget):
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        comments = [archive.comment, *(entry.comment for entry in entries)]
        yield Text("comment", "\n".join(comment.decode("utf-8", "replace") for comment in comments))
        if any(entry.filename in ("[Content_Types].xml", "mimetype") for entry in entries):
            yield Unsearched("the tables of an office document: export them as csv")
        for entry in entries:
            if entry.is_dir():
                continue
            if entry.flag_bits & 1:
                yield Unsearched(f"{entry.filename}: encrypted")
                continue
            with archive.open(entry) as source:
                yield Inner(entry.filename, budget.copy(source))


def _tar(stream, budget):
    with tarfile.open(fileobj=stream) as archive:
        for entry in archive:
            if entry.isfile():
                yield Inner(entry.name, budget.copy(archive.extractfile(entry)))
            elif not entry.isdir():
                yield Text("name of a link", f"{entry.name}\n{entry.linkname}")


def _npy(stream, budget):
    try:
        array = np.load(stream, allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        yield Hit(PICKLED, 1, sure=False)
        return
    if array.dtype.names:
        yield from records([dict(zip(array.dtype.names, row)) for row in array.reshape(-1).tolist()])
    elif array.dtype.kind == "f" and array.ndim >= 2:
        yield Hit("weights without tokens", 1)
    else:
        values = array.tolist()
        yield from records(values if array.ndim else [values])


def _sqlite(stream, budget):
    """Read all tables from a copy, so that neither the file nor anything beside it changes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "copy.db")
        with open(path, "wb") as copy:
            stream.seek(0)
            while chunk := stream.read(CHUNK):
                copy.write(chunk)
        log = Path(f"{getattr(stream, 'name', '')}-wal")
        if isinstance(getattr(stream, "name", None), str) and log.is_file():
            Path(f"{path}-wal").write_bytes(log.read_bytes())
        with closing(sqlite3.connect(path)) as db:
            db.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            schema = db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
            yield Text("schema", "\n".join(sql for (sql,) in schema), numbers=False)
            for name in names:
                quoted = name.replace('"', '""')
                cursor = db.execute(f'SELECT * FROM "{quoted}"')
                columns = [column for column, *_ in cursor.description]
                while rows := cursor.fetchmany(ROWS):
                    for column, cell in (pair for row in rows for pair in zip(columns, row)):
                        if isinstance(cell, bytes) and cell:
                            yield Inner(f"{name}.{column}", io.BytesIO(cell))
                    yield from records([dict(zip(columns, row)) for row in rows], f"row of {name}")
            if db.execute("PRAGMA freelist_count").fetchone()[0]:
                yield Unsearched("pages of deleted rows: VACUUM the database")


def _parquet(stream, budget):
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(stream)
    for batch in file.iter_batches(ROWS):
        yield from records(batch.to_pylist())
    yield from _metadata(file.schema_arrow)


def _arrow(stream, budget):
    import pyarrow.feather

    table = pyarrow.feather.read_table(stream)
    for batch in table.to_batches(ROWS):
        yield from records(batch.to_pylist())
    yield from _metadata(table.schema)


def _metadata(schema):
    """Names of columns and their metadata, where pandas writes the index."""
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key != b"ARROW:schema"}
    texts = [text.decode("utf-8", "replace") for entry in metadata.items() for text in entry]
    yield Text("names and metadata", "\n".join([*schema.names, *texts]), numbers=False)


def runs(stream: BinaryIO) -> Iterator[Text]:
    """The runs of letters in a file of unknown kind, which could be text."""
    stream.seek(0)
    kept = b""
    while chunk := stream.read(CHUNK):
        content = kept + chunk
        for pattern, encoding in RUNS:
            text = "\n".join(run.decode(encoding, "ignore") for run in pattern.findall(content))
            yield Text("text in it", text, numbers=False)
        kept = content[-RUN * 256 :]


def records(rows: list, place: str = "record") -> Iterator[Records]:
    """Rows that a library returned, as plain data."""
    yield Records(place, [_plain(row) for row in rows])


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bytes) and not value:
        return None
    if isinstance(value, bytes):
        return value.rstrip(b"\0").decode("utf-8", "surrogateescape")
    return str(value)


KINDS = [
    (b"\x1f\x8b", "gzip", _compressed(lambda stream: gzip.GzipFile(fileobj=stream))),
    (b"BZh", "bzip2", _compressed(bz2.BZ2File)),
    (b"\xfd7zXZ\0", "xz", _compressed(lzma.LZMAFile)),
    (b"\x28\xb5\x2f\xfd", "zstd", _compressed(_arrow_codec("zstd"))),
    (b"\x04\x22\x4d\x18", "lz4", _compressed(_arrow_codec("lz4"))),
    (b"PK\x03\x04", "a zip archive", _zip),
    (b"PK\x05\x06", "a zip archive", _zip),
    (b"\x93NUMPY", "an array of numpy", _npy),
    (b"SQLite format 3\0", "a database of SQLite", _sqlite),
    (b"PAR1", "a table of Parquet", _parquet),
    (b"ARROW1\0", "a table of Arrow", _arrow),
    (b"FEA1", "a table of Arrow", _arrow),
    (b"\x89PNG\r\n\x1a\n", "an image's texts", png.texts),
]
