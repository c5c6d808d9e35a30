"""The users, items and interactions that should be gone, of which only keyed hashes are known."""

from collections.abc import Callable, Container, Iterable, Iterator

import numpy as np
import pandas as pd

# Hashed with a store's first request, unless an earlier release applied that one.
WORDS_ARE_HASHED = ("the words of every row",)
REMEMBERED = 5_000_000  # answers in memory at a time


def hashes_of(rows: Iterable[tuple], keyed_hash: Callable[..., str]) -> Iterator[str]:
    """The hashes to keep of a request's rows.

    Each token also has a hash of its own, whether user or item. It rules out most words of a text at once: a text has
    too many words to ask about each as a user and as an item, and far too many pairs.

    Args:
        rows: ``(scope, user, item)`` each, as in a DeletionRequest.
        keyed_hash: :meth:`~recbole_unlearn.deletion.store.Store.keyed_hash`.
    """
    for row in rows:
        yield keyed_hash(*row)
        yield from (keyed_hash("word", token) for token in row[1:] if token is not None)


class Sought:
    """Answers whether tokens, or pairs of them, should be gone.

    Args:
        hashes: of everything forgotten.
        keyed_hash: the function that made them.
        known: the only tokens that count as ends of interactions in text, if an earlier release has hashed no words.
            Tables with known columns are free from this restriction.
        remembered: answers in memory at a time; each takes 100 bytes and its token.
    """

    def __init__(
        self,
        hashes: Container[str],
        keyed_hash: Callable[..., str],
        known: Container[str] = (),
        remembered: int = REMEMBERED,
    ):
        self._hashes, self._hash, self._known, self._remembered = hashes, keyed_hash, known, remembered
        self._words_are_hashed = keyed_hash(*WORDS_ARE_HASHED) in hashes
        self._answers: dict[tuple | str, bool] = {}  # a word by itself, which takes less memory

    def words(self, tokens: Iterable[str]) -> set[str]:
        """The tokens that are, or may be, a user or an item of something that should be gone."""
        if not self._words_are_hashed:
            return self.users(tokens) | self.items(tokens) | {token for token in tokens if token in self._known}
        known = self._answers.get  # asked here, because most words come again, and a call takes longer than the answer
        return {
            token for token in tokens if (self._is_gone("word", token) if (answer := known(token)) is None else answer)
        }

    def ends(self, tokens: Iterable[str]) -> set[str]:
        """The tokens of a table's column that may be a user or an item of something that should be gone."""
        return self.words(tokens) if self._words_are_hashed else set(tokens)

    def users(self, tokens: Iterable[str]) -> set[str]:
        """The tokens of users that should be gone as a whole."""
        return {token for token in tokens if self._is_gone("user", token, None)}

    def items(self, tokens: Iterable[str]) -> set[str]:
        """The tokens of items that should be gone as a whole."""
        return {token for token in tokens if self._is_gone("item", None, token)}

    def is_pair(self, user: str, item: str) -> bool:
        """Whether an interaction should be gone."""
        return self._is_gone("interaction", user, item)

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> list[bool]:
        """Whether each interaction should be gone. Unlike :meth:`is_pair`, this remembers no answers."""
        return [self._hash("interaction", *pair) in self._hashes for pair in pairs]

    def rows(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Whether each row of a table should be gone, shape ``(n,)``: its user, its item, or the pair.

        Args:
            users, items: object arrays of tokens, shape ``(n,)`` each; None asks about the other alone.
        """
        (of_user, users), (of_item, items) = (pd.factorize(side, use_na_sentinel=True) for side in (users, items))
        users, items = users.tolist(), items.tolist()
        there = [self.ends(side) for side in (users, items)]
        gone = _mask(users, self.users(there[0]))[of_user] | _mask(items, self.items(there[1]))[of_item]
        asked = np.flatnonzero(_mask(users, there[0])[of_user] & _mask(items, there[1])[of_item] & ~gone)
        gone[asked] = [self.is_pair(users[of_user[row]], items[of_item[row]]) for row in asked]
        return gone

    def _is_gone(self, *row):
        name = row[1] if row[0] == "word" else row
        answer = self._answers.get(name)
        if answer is None:
            if len(self._answers) >= self._remembered:
                self._answers.clear()
            answer = self._answers[name] = self._hash(*row) in self._hashes
        return answer


def _mask(tokens, chosen):
    """Whether each token is chosen, with False at the end: missing tokens have place -1."""
    return np.array([*(token in chosen for token in tokens), False])
