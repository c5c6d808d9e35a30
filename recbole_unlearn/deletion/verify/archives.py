"""Read the files within archives and compressed files."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from recbole_unlearn.deletion.verify.parts import File, Parts, Text, TooLarge, Unsearched

MOST_OF_ZLIB = 2**28  # bytes to unpack in memory


def compressed(opened: Callable[[Any], Any]) -> Callable[[File], Parts]:
    """A reader of compressed files: ``opened`` makes a stream of the content from the stream of a file."""

    def read(file: File) -> Parts:
        with opened(file.stream) as source:
            yield file.within(source)

    return read


def _of_pyarrow(codec):
    def opened(stream):
        import pyarrow

        return pyarrow.CompressedInputStream(pyarrow.py_buffer(stream.read()), codec)

    return opened


def _of_zlib(stream):
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(stream.read(), MOST_OF_ZLIB)
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise TooLarge(f"more than {MOST_OF_ZLIB:,} bytes of zlib, or not whole")
    return io.BytesIO(content)


read_gzip = compressed(lambda stream: gzip.GzipFile(fileobj=stream))
read_bzip2 = compressed(bz2.BZ2File)
read_xz = compressed(lzma.LZMAFile)
read_zstd = compressed(_of_pyarrow("zstd"))
read_lz4 = compressed(_of_pyarrow("lz4"))
read_zlib = compressed(_of_zlib)


def read_zip(file: File) -> Parts:
    """Comments and files of a zip archive."""
    with zipfile.ZipFile(file.stream) as archive:
        entries = archive.infolist()
        comments = [archive.comment, *(entry.comment for entry in entries)]
        yield Text("comment", "\n".join(comment.decode("utf-8", "replace") for comment in comments))
        if any(entry.filename in ("[Content_Types].xml", "mimetype") for entry in entries):
            yield Unsearched("the tables of an office document: export them as csv")
        for entry in entries:
            if entry.flag_bits & 1:
                yield Unsearched(f"{entry.filename}: encrypted")
            elif not entry.is_dir():
                with archive.open(entry) as source:
                    yield file.within(source, entry.filename)


def read_tar(file: File) -> Parts:
    """Files and links of a tar archive."""
    with tarfile.open(fileobj=file.stream) as archive:
        for entry in archive:
            if entry.isfile():
                yield file.within(archive.extractfile(entry), entry.name)
            elif not entry.isdir():
                yield Text("name of a link", f"{entry.name}\n{entry.linkname}")
