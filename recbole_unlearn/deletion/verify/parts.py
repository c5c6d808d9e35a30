"""What the readers of files yield: things to ask about, things found, things that nobody can search, inner files."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

PICKLED = "pickled: delete it, or waive it by name"
SMALL = 2**26  # the most bytes to unpack in memory; more go to a file without a name
CHUNK = 2**22


class TooLarge(Exception):
    """The unpacked content of a file exceeds the limit."""


class Budget:
    """The number of bytes that may still be unpacked from one file."""

    def __init__(self, limit: int):
        self.limit = self.left = limit

    def copy(self, source: Any) -> BinaryIO:
        """A stream's content as a seekable stream, on the disk only if it is large.

        Raises:
            TooLarge: the content exceeds the rest of the budget.
        """
        copy: Any = io.BytesIO()
        while chunk := source.read(CHUNK):
            self.left -= len(chunk)
            if self.left < 0:
                raise TooLarge(f"larger than {self.limit:,} bytes when it is unpacked")
            if isinstance(copy, io.BytesIO) and copy.tell() + len(chunk) > SMALL:
                on_disk = tempfile.TemporaryFile()
                on_disk.write(copy.getbuffer())
                copy = on_disk
            copy.write(chunk)
        return copy


@dataclass(frozen=True)
class File:
    """A file, or a file within a file.

    Args:
        name: its last ending marks YAML and pickles.
        stream: of its bytes, seekable.
        id_names: of the user and the item column.
        budget: bytes that may be unpacked from it.
        member: its name within the outer file; "" if it has none, as the content of a compressed file.
    """

    name: str
    stream: BinaryIO
    id_names: tuple[str, str]
    budget: Budget
    member: str = ""

    def within(self, source: Any, member: str = "") -> File:
        """The content of a stream as a file within this one."""
        name = member or os.path.splitext(self.name)[0]  # rows.yaml of rows.yaml.gz
        return replace(self, name=name, stream=self.budget.copy(source), member=member)


@dataclass(frozen=True)
class Rows:
    """Users and items of one place in a file: object arrays of tokens or None, shape ``(n,)`` each.

    ``first`` is the number of the first row in a text file. ``bare`` has the same users and items in another reading.
    """

    place: str
    users: np.ndarray
    items: np.ndarray
    first: int | None = None
    bare: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Text:
    """Text whose lines are numbered from ``first``; plain numbers in it are tokens only if ``numbers`` is True.

    ``beside`` has the user and the item, or None, that belong to each line: pairs with them are asked about too.
    """

    place: str
    text: str
    first: int | None = None
    numbers: bool = True
    beside: list[tuple[str | None, str | None]] | None = None


@dataclass(frozen=True)
class Records:
    """Plain data, such as JSON: numbered from ``first``, scalars as text; ``numbers`` as in :class:`Text`."""

    place: str
    records: list[Any]
    first: int | None = None
    numbers: bool = True


@dataclass(frozen=True)
class Hit:
    """Something found that should be gone: the place, and the number of rows, edges, tokens or tensors there.

    ``sure`` is False if only a person can decide, as for a plain number in a text without columns: its file may be
    waived by name.
    """

    place: str
    count: int
    sure: bool = True
    first: int | None = None


@dataclass(frozen=True)
class Unsearched:
    """Something that was not searched, or not in full, and why."""

    place: str


Part = File | Rows | Text | Records | Hit | Unsearched
Parts = Iterator[Part]
