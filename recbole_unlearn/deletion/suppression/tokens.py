"""A column of identifiers: a number for each row, and each distinct text once."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recbole_unlearn.errors import UsageError

TEXTS = ("string", "integer", "empty")  # what pandas may find in a column of identifiers


@dataclass(frozen=True)
class Tokens:
    """A column of identifiers.

    Args:
        codes: place in ``texts`` of each row, integers, shape ``(n,)``; -1 where the row has none.
        texts: distinct; None or empty for places that stand for no identifier.
    """

    codes: np.ndarray
    texts: list[str | None]

    def named(self) -> list[str]:
        """The identifiers, each once."""
        return [text for text in self.texts if text]

    def where(self, chosen: Collection[str]) -> np.ndarray:
        """Whether each row has one of some identifiers, boolean, shape ``(n,)``."""
        if not chosen:
            return np.zeros(len(self.codes), dtype=bool)
        return np.array([*(text in chosen for text in self.texts), False])[self.codes]  # a code of -1 finds the False

    def at(self, rows: np.ndarray) -> list[str | None]:
        """The identifier of each of some rows."""
        return [self.texts[code] if code >= 0 else None for code in self.codes[rows].tolist()]


def tokens_of(column: pd.Series, name: str) -> Tokens:
    """The identifiers of a column of texts or whole numbers.

    Args:
        column: missing cells and empty texts are no identifiers.
        name: of the column, for the message.

    Raises:
        UsageError: its values are something else. A fraction could be an id that went through a float: 1.0 is not 1.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        distinct = tokens_of(pd.Series(column.cat.categories), name)
        codes = np.append(distinct.codes, -1)[column.cat.codes.to_numpy()]
        return Tokens(codes, distinct.texts)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind not in TEXTS:
        raise UsageError(f"Column '{name}' is {kind}, not identifiers: give texts, or whole numbers (1.0 is not 1).")
    codes, distinct = pd.factorize(column, use_na_sentinel=True)
    return Tokens(codes, [str(value) for value in distinct.tolist()])
