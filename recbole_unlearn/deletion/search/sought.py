"""What is to be gone: users, items and interactions, of which only keyed hashes are known."""

from collections.abc import Callable, Container, Iterable, Iterator

import numpy as np
import pandas as pd

WORDS_ARE_HASHED = (
    "the words of every row",
)  # hashed with a store's first request, unless an earlier release did that
REMEMBERED = 5_000_000  # answers in memory at a time


def hashes_of(rows: Iterable[tuple], keyed_hash: Callable[..., str]) -> Iterator[str]:
    """The hashes to keep of a request's rows.

    Each token has a hash of its own too, whatever it stands for: a text has far more words than anybody would ask about
    as a user and as an item, and far more pairs of them than anybody could.

    Args:
        rows: scope, user and item each, as of a DeletionRequest.
        keyed_hash: :meth:`~recbole_unlearn.deletion.store.Store.keyed_hash`.
    """
    for row in rows:
        yield keyed_hash(*row)
        yield from (keyed_hash("word", token) for token in row[1:] if token is not None)


class Sought:
    """Answers whether tokens, or pairs of them, are to be gone.

    Args:
        hashes: of everything forgotten.
        keyed_hash: made them.
        known: tokens that alone are taken for ends of interactions in text, where an earlier release has hashed no
        words.
            Tables with known columns are asked about without this restriction.
    """

    def __init__(self, hashes: Container[str], keyed_hash: Callable[..., str], known: Container[str] = ()):
        self._hashes, self._hash, self._known = hashes, keyed_hash, known
        self._words_are_hashed = keyed_hash(*WORDS_ARE_HASHED) in hashes
        self._answers = {}

    def words(self, tokens: Iterable[str]) -> set[str]:
        """Those that are a user or an item of anything to be gone, or may be."""
        if not self._words_are_hashed:
            return self.users(tokens) | self.items(tokens) | {token for token in tokens if token in self._known}
        return {token for token in tokens if self._is_gone("word", token)}

    def users(self, tokens: Iterable[str]) -> set[str]:
        """Those that are users to be gone as a whole."""
        return {token for token in tokens if self._is_gone("user", token, None)}

    def items(self, tokens: Iterable[str]) -> set[str]:
        """Those that are items to be gone as a whole."""
        return {token for token in tokens if self._is_gone("item", None, token)}

    def is_pair(self, user: str, item: str) -> bool:
        """Whether an interaction is to be gone."""
        return self._is_gone("interaction", user, item)

    def rows(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Whether each row of a table is to be gone, shape ``(n,)``: its user, its item, or both together.

        Args:
            users, items: object arrays of tokens, or of None where only the other is asked about, shape ``(n,)`` each.
        """
        (of_user, users), (of_item, items) = (pd.factorize(side, use_na_sentinel=True) for side in (users, items))
        users, items = users.tolist(), items.tolist()
        there = [self.words(side) if self._words_are_hashed else set(side) for side in (users, items)]
        gone = _mask(users, self.users(there[0]))[of_user] | _mask(items, self.items(there[1]))[of_item]
        asked = np.flatnonzero(_mask(users, there[0])[of_user] & _mask(items, there[1])[of_item] & ~gone)
        gone[asked] = [self.is_pair(users[of_user[row]], items[of_item[row]]) for row in asked]
        return gone

    def _is_gone(self, *row):
        answer = self._answers.get(row)
        if answer is None:
            if len(self._answers) >= REMEMBERED:
                self._answers.clear()
            answer = self._answers[row] = self._hash(*row) in self._hashes
        return answer


def _mask(tokens, chosen):
    """Whether each token is chosen, and False at the end, for the place -1 of what is missing."""
    return np.array([*(token in chosen for token in tokens), False])
