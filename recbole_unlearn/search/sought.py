"""What is to be gone: users, items and interactions, of which only keyed hashes are known."""

from collections.abc import Callable, Container, Iterable, Iterator

import numpy as np
import pandas as pd

ENDS_ARE_HASHED = ("the ends of every interaction",)  # hashed with a store's first request, unless an earlier release did it
REMEMBERED = 5_000_000  # answers in memory at a time


def hashes_of(rows: Iterable[tuple], keyed_hash: Callable[..., str]) -> Iterator[str]:
    """The hashes to keep of a request's rows.

    Of an interaction, its user and its item have a hash of their own too: a text has far more pairs of words than anybody
    could hash, and few of them are of two words that each are an end of a forgotten interaction.

    Args:
        rows: scope, user and item each, as of a DeletionRequest.
        keyed_hash: :meth:`~recbole_unlearn.deletion.store.Store.keyed_hash`.
    """
    for scope, user, item in rows:
        yield keyed_hash(scope, user, item)
        if scope == "interaction":
            yield from (keyed_hash("end", user, None), keyed_hash("end", None, item))


class Sought:
    """Answers whether tokens, or pairs of them, are to be gone.

    Args:
        hashes: of everything forgotten.
        keyed_hash: made them.
        known: users' and items' tokens that alone are taken for ends of interactions in text, where an earlier release
            has not hashed them. Tables with known columns are asked about without this restriction.
    """

    def __init__(
        self,
        hashes: Container[str],
        keyed_hash: Callable[..., str],
        known: tuple[Container[str], Container[str]] = ((), ()),
    ):
        self._hashes, self._hash, self._known = hashes, keyed_hash, known
        self._ends_are_hashed = keyed_hash(*ENDS_ARE_HASHED) in hashes
        self._answers = {}

    def users(self, tokens: Iterable[str]) -> set[str]:
        """Those that are users to be gone."""
        return {token for token in tokens if self._is_gone("user", token, None)}

    def items(self, tokens: Iterable[str]) -> set[str]:
        """Those that are items to be gone."""
        return {token for token in tokens if self._is_gone("item", None, token)}

    def ends(self, tokens: Iterable[str]) -> tuple[set[str], set[str]]:
        """Those that may be users, and those that may be items, of interactions to be gone."""
        if not self._ends_are_hashed:
            return tuple({token for token in tokens if token in known} for known in self._known)
        return (
            {token for token in tokens if self._is_gone("end", token, None)},
            {token for token in tokens if self._is_gone("end", None, token)},
        )

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
        gone = _mask(users, self.users(users))[of_user] | _mask(items, self.items(items))[of_item]
        if self._ends_are_hashed:
            ends = [_mask(side, known) for side, known in zip((users, items), (self.ends(users)[0], self.ends(items)[1]))]
            asked = np.flatnonzero(ends[0][of_user] & ends[1][of_item] & ~gone)
        else:
            asked = np.flatnonzero((of_user >= 0) & (of_item >= 0) & ~gone)
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
