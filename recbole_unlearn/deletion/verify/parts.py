"""The parts that a reader of a file yields: things to ask about, things found, things that it cannot search."""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np


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
    """Something found that should be gone.

    ``sure`` is False if only a person can decide, as for a plain number in a text without columns: its file may be
    waived by name.
    """

    place: str
    count: int
    sure: bool = True
    first: int | None = None


@dataclass(frozen=True)
class Unsearched:
    """The reason why something was not searched, or not in full."""

    reason: str


@dataclass(frozen=True)
class Inner:
    """A file within the file, to search in turn."""

    name: str
    stream: BinaryIO


def tokens(place: str, users: np.ndarray, items: np.ndarray) -> tuple[Rows, Rows]:
    """Users and items to ask about one by one, not in pairs."""
    return Rows(place, users, nobody(len(users))), Rows(place, nobody(len(items)), items)


def as_objects(values: list) -> np.ndarray:
    """Tokens or None as an object array, shape ``(n,)``.

    Raises:
        ValueError: a value is something else.
    """
    if not all(value is None or isinstance(value, str) for value in values):
        raise ValueError("a token that is no text")
    return np.fromiter(values, dtype=object, count=len(values))


def nobody(count: int) -> np.ndarray:
    """No token, ``count`` times."""
    return np.full(count, None, dtype=object)
