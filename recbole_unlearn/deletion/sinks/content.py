"""What sinks read of a version: tokens, embeddings, lists of the highest scores, and the same of the version before."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from recbole_unlearn.deletion.verify.sought import Sought
from recbole_unlearn.model import UnlearnableRecommender
from recbole_unlearn.top import top_columns

SIDES = ("user", "item")
USERS = 256  # whose scores are in memory at a time


class Rows(NamedTuple):
    """The users, or the items, that a version still has.

    Args:
        tokens: external ones, an object array of shape ``(n,)``.
        table: their final embeddings, float32, shape ``(n, d)``.
        ids: their internal ids, shape ``(n,)``.
    """

    tokens: np.ndarray
    table: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True)
class Content:
    """A version, for sinks.

    Args:
        number: of the version.
        model_path: of its model's file.
        model: in evaluation mode.
        tokens: external tokens of ``user`` and ``item`` in the order of internal ids, None where erased.
        names: of the user and the item column.
        sought: everything that was forgotten up to this version.
        keyed_hash: of the store.
        before: the version that the sink wrote last, or else this one's parent; None if the store no longer has it.
    """

    number: int
    model_path: str
    model: UnlearnableRecommender
    tokens: dict[str, np.ndarray]
    names: tuple[str, str]
    sought: Sought
    keyed_hash: Callable[..., str]
    before: "Content | None" = None

    @cached_property
    def rows(self) -> dict[str, Rows]:
        """``user`` and ``item`` to those that are not erased, padding left out, in the order of internal ids."""
        with torch.no_grad():
            tables = self.model.final_embeddings().split([self.model.n_users, self.model.n_items])
        found = {}
        for side, table in zip(SIDES, tables):
            names = np.asarray(self.tokens[side], dtype=object)
            ids = 1 + np.flatnonzero(names[1:] != None)  # noqa: E711  (of each)
            found[side] = Rows(names[ids], table.cpu().numpy()[ids].astype(np.float32), ids)
        return found

    def changed(self, side: str) -> tuple[list[str], list[str]] | None:
        """Tokens whose embeddings differ from those of ``before`` in any bit, and tokens of ``before`` that are gone.

        None without ``before``.
        """
        if self.before is None:
            return None
        now, then = self.rows[side], self.before.rows[side]
        place = dict(zip(then.tokens, range(len(then.tokens))))
        there = np.array([place.get(token, -1) for token in now.tokens])
        same = (there >= 0) & (now.table == then.table[there]).all(axis=1) if len(then.tokens) else there >= 0
        remaining = set(now.tokens)
        return now.tokens[~same].tolist(), [token for token in then.tokens if token not in remaining]

    def lists(self, k: int) -> Iterator[tuple[str, list[str]]]:
        """Each user's token and the tokens of the ``k`` items of the highest scores, highest first.

        The lists leave out what the user has in the training data, as usual, and every item of an interaction of that
        user that was forgotten: otherwise an item that comes into a list for the first time would tell that it was.
        Erased items are in no list. A list is shorter if there are fewer items.
        """
        users, items = self.rows["user"], self.rows["item"]
        columns = torch.full((self.model.n_items,), -1)
        columns[torch.from_numpy(items.ids)] = torch.arange(len(items.ids))
        table, graph, named = torch.from_numpy(items.table), self.model.graph.to("cpu"), self.sought.words(items.tokens)
        k = min(k, len(items.ids))
        for start in range(0, len(users.ids), USERS):
            some = slice(start, start + USERS)
            scores = torch.from_numpy(users.table[some]) @ table.t()
            places, had = graph.items_of(torch.from_numpy(users.ids[some]))
            known = columns[had] >= 0
            scores[places[known], columns[had[known]]] = -torch.inf
            tokens = users.tokens[some]
            open_rows = [row for row, token in enumerate(tokens) if self.sought.words([token])] if named else []
            while True:
                top = top_columns(scores, k)
                hidden = [
                    (row, column)
                    for row in open_rows
                    for column in top[row].tolist()
                    if scores[row, column] > -torch.inf
                    and items.tokens[column] in named
                    and self.sought.is_pair(tokens[row], items.tokens[column])
                ]
                if not hidden:
                    break
                scores[tuple(torch.tensor(hidden).t())] = -torch.inf
                open_rows = sorted({row for row, _ in hidden})
            allowed = scores.gather(1, top) > -torch.inf
            for token, row, kept in zip(tokens, top.numpy(), allowed.numpy()):
                yield token, items.tokens[row[kept]].tolist()
