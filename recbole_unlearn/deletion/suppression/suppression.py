"""Which rows of new data belong to what stores have forgotten."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.store.carried import Forgotten, forgotten_by
from recbole_unlearn.deletion.store.keyed_hash import KeyedHash
from recbole_unlearn.deletion.suppression.readmission import Readmission
from recbole_unlearn.deletion.suppression.times import seconds, seconds_of
from recbole_unlearn.deletion.suppression.tokens import Tokens, tokens_of
from recbole_unlearn.deletion.verify.sought import Sought
from recbole_unlearn.errors import UsageError

KINDS = ("user", "item", "interaction")  # in this order: a row counts once, for the first that applies
REMEMBERED = 2_000_000  # answers about words in memory at a time, of each key
NAMES = ("user_id", "item_id")  # of the columns, where a store does not say
TimesOf = Callable[[np.ndarray], np.ndarray]  # numbers of rows to their seconds since 1970


@dataclass(frozen=True)
class Judged:
    """Rows of new data, judged.

    Args:
        kinds: int8, shape ``(n,)``: 0 for a row that stays, or 1 + the place in ``KINDS`` of why it goes.
        readmitted: boolean, shape ``(n,)``: whether a row stays because of a consent given anew.
        untimed: number of rows that a consent would admit if they had a time.
    """

    kinds: np.ndarray
    readmitted: np.ndarray
    untimed: int

    def counts(self) -> dict[str, int]:
        """The number of rows that go, by kind."""
        numbers = np.bincount(self.kinds, minlength=len(KINDS) + 1)[1:]
        return dict(zip(KINDS, numbers.tolist()))


class Suppression:
    """Tells which rows of new data belong to users, items and interactions that somebody asked to forget.

    A row goes if a request names its user, its item, or both together; requests that are not done yet count as well.
    A user who was erased and is back with something new is still dropped: a store knows no consent. ``readmit`` names
    those who gave it anew.

    Args:
        stores: folders of stores, or stores. What the stores before them had forgotten counts too, as far as they were
            made with ``against``.
        readmit: a file of consents, see :class:`~recbole_unlearn.deletion.suppression.readmission.Readmission`.
        since: a time before which no row of new data without times was made; consents until then admit such rows.

    Raises:
        UsageError: a store or the file cannot be read.
    """

    def __init__(
        self,
        *stores: str | Path | Store,
        readmit: str | None = None,
        since: str | None = None,
    ):
        if not stores:
            raise UsageError("Name at least one store.")
        opened = [store if isinstance(store, Store) else Store(str(store)) for store in stores]
        self.names = _names_of(opened[0])
        self.forgotten: list[Forgotten] = [each for store in opened for each in forgotten_by(store)]
        self._readmission, self.unknown = Readmission(), 0
        if readmit is not None:
            self._readmission, self.unknown = Readmission.read(readmit, self.names, self.forgotten)
        if since is not None and readmit is None:
            raise UsageError("`since` is the time of new data, which only `readmit` asks about: leave it out.")
        self.since = None if since is None else _seconds(since)
        self._sought = [Sought(each.times, KeyedHash(each.key), remembered=REMEMBERED) for each in self.forgotten]

    @property
    def asks_for_times(self) -> bool:
        """Whether it matters when a row was made."""
        return any(self._readmission.since.values()) and self.since is None

    def keep(
        self, frame: pd.DataFrame, user: str | None = None, item: str | None = None, time: str | None = None
    ) -> np.ndarray:
        """Which rows of a table may stay.

        Args:
            frame: of interactions, or of users or items alone; identifiers are texts or whole numbers.
            user, item: names of the columns; by default the store's, as far as the table has them.
            time: name of the column of times, for ``readmit``: texts of ISO 8601, seconds since 1970, or dates.

        Returns:
            Boolean, shape ``(len(frame),)``: ``frame[mask]`` is the table without the forgotten.

        Raises:
            UsageError: a column is missing, or its values are no identifiers.
        """
        columns = [self._column(frame, given, name) for given, name in zip((user, item), self.names)]
        if columns == [None, None]:
            raise UsageError(f"The table has neither a column '{self.names[0]}' nor '{self.names[1]}': name one.")
        if time is not None and time not in frame:
            raise UsageError(f"The table has no column '{time}'.")
        if time is not None and self.since is not None:
            raise UsageError("`since` is for data without times: leave it out, or `time`.")
        users, items = (name if name is None else tokens_of(frame[name], name) for name in columns)
        times = None if time is None else lambda rows: seconds_of(frame[time].iloc[rows].tolist())
        return self.judge(users, items, times).kinds == 0

    def judge(self, users: Tokens | None, items: Tokens | None, times: TimesOf | None = None) -> Judged:
        """Judge the rows of new data.

        Args:
            users, items: of each row; None if the data have no such column.
            times: gives the times of rows; asked only about those that a consent may admit.

        Raises:
            UsageError: there are consents, and no times.
        """
        if times is None and self.asks_for_times:
            raise UsageError("Consents count from a time on: name the column of times, or say since when the data are.")
        n_rows = len((users or items or Tokens(np.zeros(0, int), [])).codes)
        kinds, readmitted = np.zeros(n_rows, dtype=np.int8), np.zeros(n_rows, dtype=bool)
        admit = _Admission(self._readmission, times, self.since)
        for sought in self._sought:
            named: list[set[str]] = []
            for place, (side, column) in enumerate((("user", users), ("item", items))):
                named.append(sought.ends(column.named()) if column else set())
                if column and named[-1]:
                    erased = sought.users(named[-1]) if side == "user" else sought.items(named[-1])
                    gone = admit(side, column.where(erased), users, items, readmitted)
                    kinds[gone & (kinds == 0)] = 1 + place
            if users and items and all(named):
                asked = np.flatnonzero(users.where(named[0]) & items.where(named[1]) & (kinds == 0))
                gone = np.zeros(n_rows, dtype=bool)
                gone[asked] = _pairs(sought, users, items, asked)
                kinds[admit("interaction", gone, users, items, readmitted)] = 1 + KINDS.index("interaction")
        return Judged(kinds, readmitted & (kinds == 0), len(admit.untimed))

    def _column(self, frame, given, name):
        if given is not None and given not in frame:
            raise UsageError(f"The table has no column '{given}'.")
        return given or (name if name in frame else None)


class _Admission:
    """Takes rows that consents admit out of those that go."""

    def __init__(self, readmission: Readmission, times: TimesOf | None, since: float | None):
        self._since = readmission.since
        self._times: TimesOf = times or (lambda rows: np.full(len(rows), np.nan if since is None else since))
        self.untimed: set[int] = set()

    def __call__(self, scope, gone, users, items, readmitted):
        """The rows of ``gone`` that go all the same; notes the others in ``readmitted``."""
        consents = self._since.get(scope)
        if not consents or not gone.any():
            return gone
        rows = np.flatnonzero(gone)
        nobody = [None] * len(rows)
        names = zip(
            nobody if scope == "item" else users.at(rows),
            nobody if scope == "user" else items.at(rows),
        )
        least = np.array([consents.get(name, np.inf) for name in names])
        rows, least = rows[least < np.inf], least[least < np.inf]
        times = self._times(rows)
        self.untimed.update(rows[np.isnan(times)].tolist())
        admitted = rows[times >= least]
        gone[admitted], readmitted[admitted] = False, True
        return gone


def _pairs(sought, users, items, rows):
    """Whether the interaction of each of some rows is forgotten; each distinct pair is hashed once."""
    keys = users.codes[rows].astype(np.int64) * len(items.texts) + items.codes[rows]
    distinct, place = np.unique(keys, return_inverse=True)
    pairs = ((users.texts[key // len(items.texts)], items.texts[key % len(items.texts)]) for key in distinct.tolist())
    return np.array(sought.pairs(pairs), dtype=bool)[place]


def _names_of(store: Store) -> tuple[str, str]:
    """The names of a store's id columns, which come first in its data's files."""
    for path in sorted(Path(store.current().folder, "data").glob("*/*.train.inter")):
        with open(path, encoding="utf-8") as file:
            names = [cell.partition(":")[0] for cell in file.readline().rstrip("\n").split("\t")]
        if len(names) >= len(NAMES):
            return names[0], names[1]
    return NAMES


def _seconds(text: Any) -> float:
    try:
        return seconds(text)
    except ValueError:
        raise UsageError(f"'{text}' is no time: give ISO 8601, or seconds since 1970 until tomorrow.") from None


def described(counts: dict[str, int]) -> str:
    """Numbers of rows by kind, in words."""
    return (
        f"{counts['user']:,} of erased users, {counts['item']:,} of erased items, "
        f"{counts['interaction']:,} forgotten interactions"
    )
