"""Times as seconds since 1970, from what columns hold."""

import math
from collections.abc import Iterable
from datetime import date, datetime
from numbers import Real
from typing import Any

import numpy as np

from recbole_unlearn.deletion.requests.request import utc


def seconds(text: str) -> float:
    """Seconds since 1970 of ISO 8601 (in UTC unless it names a zone), or of such seconds as text.

    Raises:
        ValueError: the text is neither; the message says what it is.
    """
    return datetime.fromisoformat(utc(text)).timestamp()


def seconds_of(cells: Iterable[Any]) -> np.ndarray:
    """Seconds since 1970 of each cell, float64; NaN where it has no time or is no time.

    Args:
        cells: texts as :func:`seconds` reads them, numbers (seconds since 1970), dates and times.
    """
    known: dict[str, float] = {}
    return np.array([_of(cell, known) for cell in cells], dtype=float)


def _of(cell, known):
    if isinstance(cell, Real):
        number = float(cell)
        text = str(int(number)) if number.is_integer() else repr(number)
    else:
        text = cell.isoformat() if isinstance(cell, date) else str(cell)
    if text not in known:
        try:
            known[text] = seconds(text)
        except ValueError:
            known[text] = math.nan
    return known[text]
