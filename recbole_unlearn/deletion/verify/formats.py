"""The formats of files: how the content of each shows what it is, and what reads it."""

import io
import pickletools
import re
import zipfile
from collections.abc import Callable
from pathlib import PurePath

from recbole_unlearn.deletion.verify import archives, tables, tensors, text
from recbole_unlearn.deletion.verify.parts import CHUNK, PICKLED, File, Hit, Parts, Text, Unsearched

HEAD = 512  # bytes that show the format of a file, except for text
RUN = 4  # the fewest letters in a row that count as text in a binary file
RUNS = (
    (re.compile(rb"[\t\x20-\x7e\x80-\xf4]{%d,}" % RUN), "utf-8"),
    (re.compile(rb"(?:[\t\x20-\x7e]\0){%d,}" % RUN), "utf-16-le"),
    (re.compile(rb"(?:\0[\t\x20-\x7e]){%d,}" % RUN), "utf-16-be"),
)
END_OF_PNG = b"IEND\xaeB`\x82"


def reader_of(file: File) -> tuple[str, Callable[[File], Parts]]:
    """The format of a file and its reader, which finds the stream at its beginning."""
    file.stream.seek(0)
    head = file.stream.read(HEAD)
    what, reader = next((what, reader) for what, is_format, reader in FORMATS if is_format(file, head))
    file.stream.seek(0)
    return what, reader


def _starts(*magic: bytes) -> Callable[[File, bytes], bool]:
    return lambda file, head: head.startswith(magic)


def _is_torch(file, head):
    """Whether to let torch read a file, which it does without running anything, if it is not too large."""
    if not head.startswith(b"PK"):
        return False
    try:
        with zipfile.ZipFile(file.stream) as archive:
            entries = archive.infolist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
    is_pickled = any(PurePath(entry.filename).name == "data.pkl" for entry in entries)
    return is_pickled and sum(entry.file_size for entry in entries) <= file.budget.limit


def _is_pickle(file, head):
    """By its mark, by its name, or as a whole: the old protocols are text and begin without a mark."""
    if head[:1] == b"\x80" and head[1:2] <= b"\x05" or file.name.lower().endswith((".pkl", ".pickle", ".joblib")):
        return True
    file.stream.seek(-1, io.SEEK_END)
    if not head[:1] or head[:1] not in b"(cd}]IVSFLKNU" or file.stream.read(1) != b".":
        return False
    file.stream.seek(0)
    try:
        has_values = any([value is not None for _, value, _ in pickletools.genops(file.stream)])
    except Exception:  # no pickle
        return False
    return has_values and not file.stream.read(1)


def _read_nothing(file):
    return iter(())


def _read_pickle(file):
    yield Hit(PICKLED, 1, sure=False)


def _read_png(file):
    """The texts of an image, and whether something follows its end. The pixels are not searched."""
    from PIL import Image

    with Image.open(io.BytesIO(content := file.stream.read())) as image:
        texts = [*image.text.items(), ("Exif", image.info.get("exif", b"").decode("utf-8", "surrogateescape"))]
    yield Text("text of an image", "\n".join(text for entry in texts for text in entry).replace("\0", "\n"))
    if content.partition(END_OF_PNG)[2]:
        yield Unsearched("something after the end of an image")


def _read_text(file):
    """Text in each encoding that it may have; the runs of letters of other files."""
    encodings = text.encodings_of(file.stream)
    for encoding in encodings:
        yield from text.read(file, encoding)
    if not encodings or encodings[0] in ("utf-16-le", "utf-16-be"):  # without a mark, other bytes could pass for it
        yield from _runs(file.stream)
    if not encodings:
        yield Unsearched("of no known format")


def _runs(stream):
    """The runs of letters in a file of unknown format, which could be text."""
    stream.seek(0)
    kept = b""
    while chunk := stream.read(CHUNK):
        content = kept + chunk
        for pattern, encoding in RUNS:
            runs = "\n".join(run.decode(encoding, "ignore") for run in pattern.findall(content))
            yield Text("text in it", runs, numbers=False)
        kept = content[-RUN * 256 :]


FORMATS: list[tuple[str, Callable[[File, bytes], bool], Callable[[File], Parts]]] = [  # the first that fits
    ("nothing, as it is empty", lambda file, head: not head, _read_nothing),
    ("tensors", lambda file, head: head[5:9] == b"\0\0\0{", tensors.read_safetensors),
    ("gzip", _starts(b"\x1f\x8b"), archives.read_gzip),
    ("bzip2", _starts(b"BZh"), archives.read_bzip2),
    ("xz", _starts(b"\xfd7zXZ\0"), archives.read_xz),
    ("zstd", _starts(b"\x28\xb5\x2f\xfd"), archives.read_zstd),
    ("lz4", _starts(b"\x04\x22\x4d\x18"), archives.read_lz4),
    ("a file of torch", _is_torch, tensors.read_torch),
    ("a zip archive", _starts(b"PK\x03\x04", b"PK\x05\x06"), archives.read_zip),
    ("an array of numpy", _starts(b"\x93NUMPY"), tables.read_npy),
    ("a database of SQLite", _starts(b"SQLite format 3\0"), tables.read_sqlite),
    ("a table of Parquet", _starts(b"PAR1"), tables.read_parquet),
    ("a table of Arrow", _starts(b"ARROW1\0", b"FEA1"), tables.read_feather),
    ("an image's texts", _starts(b"\x89PNG\r\n\x1a\n"), _read_png),
    ("a tar archive", lambda file, head: head[257:262] == b"ustar", archives.read_tar),
    ("pickled objects", _is_pickle, _read_pickle),
    ("zlib", _starts(b"x\x01", b"x\x9c", b"x\xda"), archives.read_zlib),
    ("text", lambda file, head: True, _read_text),
]
