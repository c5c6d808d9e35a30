"""Cuts the bytes of a delimited file into rows, exactly where RecBole's parser does."""

import re

import numpy as np

NEW_LINE, RETURN, QUOTE = ord("\n"), ord("\r"), ord('"')


def row_ends(content: np.ndarray, separator: int) -> tuple[np.ndarray, bool]:
    """Where rows end.

    Args:
        content: bytes, uint8, that begin with a row.
        separator: the byte between cells.

    Returns:
        The place of the last byte of each whole row, ascending; and whether the bytes are plain: every quote opens or
        closes a cell, and no row ends with a carriage return alone. Only RecBole's own parser can read other bytes.
    """
    returns = np.flatnonzero(content == RETURN)
    quotes = np.flatnonzero(content == QUOTE)
    if not _is_plain(content, separator, quotes, returns):
        return _ends_one_by_one(content.tobytes(), bytes([separator])), False
    ends = np.flatnonzero(content == NEW_LINE)
    if len(quotes):  # a line end within quotes is part of a cell
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    return ends, True


def cells_of(content: np.ndarray, separator: int, ends: np.ndarray) -> np.ndarray:
    """The number of cells of each row of plain bytes, int, shape ``(n,)``; 0 for a blank line.

    Args:
        content, separator: see :func:`row_ends`.
        ends: of its rows.
    """
    places = np.flatnonzero(content == separator)
    quotes = np.flatnonzero(content == QUOTE)
    if len(quotes):
        places = places[np.searchsorted(quotes, places) % 2 == 0]
    cells = np.diff(np.searchsorted(places, ends), prepend=0) + 1
    lengths = np.diff(ends, prepend=-1)
    blank = (lengths == 1) | ((lengths == 2) & (content[np.maximum(ends - 1, 0)] == RETURN))
    cells[blank] = 0
    return cells


def _is_plain(content, separator, quotes, returns):
    if len(returns):
        after = content[np.minimum(returns + 1, len(content) - 1)]
        if not (after == NEW_LINE).all():
            return False
    if not len(quotes):
        return True
    around = np.concatenate([[NEW_LINE], content, [NEW_LINE]])
    borders = (separator, NEW_LINE)
    opening, closing = quotes[::2], quotes[1::2]
    # Two quotes within a cell are one closing and one opening quote side by side.
    opens = np.isin(around[opening], borders) | (around[opening] == QUOTE)
    closes = np.isin(around[closing + 2], (*borders, RETURN, QUOTE))
    return bool(opens.all() and closes.all())


def _ends_one_by_one(content, separator):
    """The same for bytes with quotes within cells, or with carriage returns alone."""
    stop = re.escape(separator) + rb"\r\n"
    cell = rb'(?:"[^"]*(?:""[^"]*)*"(?!")[^%b]*|(?!")[^%b]*)' % (stop, stop)
    row = re.compile(cell + rb"(?:" + re.escape(separator) + cell + rb")*(?:\r\n|\n|\r)")
    ends, place = [], 0
    while found := row.match(content, place):
        place = found.end()
        ends.append(place - 1)
    return np.array(ends, dtype=np.int64)
