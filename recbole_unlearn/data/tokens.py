"""Internal ids of external tokens."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from recbole_unlearn.errors import UsageError


def ids_of(tokens: np.ndarray, wanted: Sequence[str | None] | pd.Series) -> np.ndarray:
    """Internal ids of external tokens, -1 where unknown. To index with ids, use :func:`known_ids`.

    Args:
        tokens: array in the order of internal ids, None where erased; the first is padding, which nobody may name.
        wanted: external tokens, any number.
    """
    tokens = np.asarray(tokens, dtype=object)
    known = nameable(tokens)
    place = pd.Index(tokens[known], dtype=object).get_indexer(pd.Index(wanted, dtype=object))
    return np.append(known, -1)[place]  # where unknown, the place is -1: the last entry


def nameable(tokens: np.ndarray) -> np.ndarray:
    """The internal ids that have a token, ascending: all but the padding and the erased."""
    return np.flatnonzero(tokens[1:] != None) + 1  # noqa: E711  (of each)


def known_ids(tokens: np.ndarray, wanted: Sequence[str] | pd.Series) -> np.ndarray:
    """Internal ids of external tokens, all of them known; see :func:`ids_of`.

    Raises:
        UsageError: some are unknown; the message says how many.
    """
    ids = ids_of(tokens, wanted)
    n_unknown = int((ids < 0).sum())
    if n_unknown:
        raise UsageError(f"{n_unknown} users or items that the model does not know")
    return ids
