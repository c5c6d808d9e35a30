"""Consent given anew: whose rows may come back, and from which time on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from recbole_unlearn.data.refusal import refuse, unnamed
from recbole_unlearn.data.request_file import read_rows
from recbole_unlearn.data.request_source import RequestSource
from recbole_unlearn.deletion.requests.request import SCOPES
from recbole_unlearn.deletion.store.carried import Forgotten
from recbole_unlearn.deletion.store.keyed_hash import KeyedHash
from recbole_unlearn.deletion.suppression.times import seconds, seconds_of
from recbole_unlearn.errors import UsageError

SINCE = "since"
Name = tuple[str | None, str | None]  # a user, an item, or both


@dataclass(frozen=True)
class Readmission:
    """Who has given consent anew.

    Args:
        since: scope (``user``, ``item``, ``interaction``) to names to seconds since 1970. What is older than that
            stays forgotten, and so does what another request names: a user who is back has no claim to an item that
            was withdrawn.
    """

    since: dict[str, dict[Name, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str, names: tuple[str, str], forgotten: Sequence[Forgotten]) -> tuple["Readmission", int]:
        """Read a file of consents.

        Its rows are those of a file of requests, in any of its formats, and all have a ``since``: ISO 8601, or seconds
        since 1970.

        Args:
            path: of the file.
            names: of the columns of users and items.
            forgotten: what is asked to be forgotten, and when.

        Returns:
            The readmission, and the number of rows that name nobody who is forgotten.

        Raises:
            UsageError: the file cannot be read, a row is ambiguous, or a consent is older than a request to forget.
        """
        source = RequestSource(path)
        table = read_rows(source, *names, [SINCE])
        times = _times(source, table)
        rows = list(zip(table["user"], table["item"]))
        refuse(source, unnamed(table), pd.Series(rows).duplicated(), "name somebody a second time")
        since: dict[str, dict[Name, float]] = {scope: {} for scope in SCOPES.values()}
        latest = []
        for name, time in zip(rows, times):
            scope = SCOPES[name[0] is not None, name[1] is not None]
            since[scope][name] = time
            latest.append(_latest((scope, *name), forgotten))
        too_old = [asked is not None and time < asked for asked, time in zip(latest, times)]
        problem = f"have a {SINCE} before the latest request to forget them: only a later consent counts"
        refuse(source, unnamed(table), too_old, problem)
        return cls(since), sum(asked is None for asked in latest)


def _times(source, table):
    if SINCE not in table:
        raise UsageError(f"{source} has no column '{SINCE}': say for each row from which time on consent is given.")
    times = seconds_of(text or None for text in table[SINCE])
    problem = f"have a {SINCE} that is neither ISO 8601 nor seconds since 1970, or that is after tomorrow"
    refuse(source, unnamed(table), np.isnan(times), problem)
    return times.tolist()


def _latest(row, forgotten):
    """When a row was last asked to be forgotten, in seconds; None if it never was."""
    found = [each.times.get(KeyedHash(each.key)(*row)) for each in forgotten]
    asked = [seconds(time) if time else 0.0 for time in found if time is not None]
    return max(asked, default=None)
