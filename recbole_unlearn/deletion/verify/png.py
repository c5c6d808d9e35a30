"""PNG images."""

import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from recbole_unlearn.deletion.verify.parts import Text, Unsearched

WITH_TEXT = (b"tEXt", b"iTXt", b"eXIf", b"zTXt")
LARGEST = 2**26  # bytes of a text


def texts(stream: BinaryIO, budget: Any) -> Iterator[Text | Unsearched]:
    """The texts of an image, and whether something follows its end. The pixels are not searched."""
    stream.seek(8)
    while header := stream.read(8):
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        content = stream.read(length)
        if len(content) < length or len(stream.read(4)) < 4:
            yield Unsearched("an image that is not whole")
            return
        if kind in WITH_TEXT:
            if kind == b"zTXt":
                key, _, packed = content.partition(b"\0")
                content = key + b"\n" + zlib.decompressobj().decompress(packed[1:], LARGEST)
            yield Text("text of an image", content.decode("utf-8", "surrogateescape").replace("\0", "\n"))
        if kind == b"IEND":
            break
    if stream.read(1):
        yield Unsearched("something after the end of an image")
