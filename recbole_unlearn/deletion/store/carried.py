"""What a store has forgotten, and what earlier stores had: keyed hashes that go on counting when a model is replaced.

A store that replaces another one has a folder ``earlier`` with two files for each store before it: ``NAME.key``, the
key of the hashes, and ``NAME.hashes``, a line a hash with the latest time at which somebody asked for it. ``NAME`` is
the key's fingerprint. The versions of the new store name these files and their SHA-256.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_unlearn.deletion.store.database import RESTORE, explained, plain
from recbole_unlearn.deletion.store.files import digest_of
from recbole_unlearn.deletion.store.keyed_hash import KeyedHash, fingerprint
from recbole_unlearn.deletion.store.store import Store
from recbole_unlearn.deletion.verify.sought import WORDS_ARE_HASHED, hashes_of
from recbole_unlearn.errors import UsageError

FOLDER, KEY, HASHES = "earlier", ".key", ".hashes"
DETAIL = "earlier"  # of a version: name of a file to its SHA-256


@dataclass(frozen=True)
class Forgotten:
    """What one key hides.

    Args:
        key: of the hashes.
        times: keyed hash to the latest time at which a request named it, ISO 8601 in UTC; empty for hashes of words.
    """

    key: bytes = field(repr=False)
    times: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        """The key's fingerprint."""
        return fingerprint(self.key)

    def joined(self, other: "Forgotten") -> "Forgotten":
        """The union of two with the same key."""
        latest = {each: max(time, self.times.get(each, "")) for each, time in other.times.items()}
        return Forgotten(self.key, {**self.times, **latest})

    def files(self) -> dict[str, bytes]:
        """Name of a file to its content."""
        lines = "".join(f"{each} {time}\n" for each, time in sorted(self.times.items()))
        return {f"{self.name}{KEY}": self.key, f"{self.name}{HASHES}": lines.encode()}


def forgotten_by(store: Store) -> list[Forgotten]:
    """What people have asked a store to forget, done or not, and what the stores before it had forgotten.

    Raises:
        UsageError: a file of an earlier store is missing or damaged.
    """
    times = dict.fromkeys(store.forgotten(), "")
    named = [(each, row["received_at"] or row["submitted_at"]) for row, hashes in _done(store) for each in hashes]
    open_requests = store.unfinished()
    keyed_hash = KeyedHash(store.key)
    if open_requests and not times:
        times[keyed_hash(*WORDS_ARE_HASHED)] = ""
    for request in open_requests:
        times |= dict.fromkeys((each for each in hashes_of(request.rows, keyed_hash) if each not in times), "")
        named += [(keyed_hash(*row), request.received_at or "") for row in request.rows]
    for each, time in named:
        times[each] = max(time, times.get(each, ""))
    return _by_key([Forgotten(store.key, times), *_read(store)])


def details_of(forgotten: Iterable[Forgotten]) -> dict[str, Any]:
    """The details of a version whose store carries these hashes."""
    files = {name: content for each in forgotten for name, content in each.files().items()}
    return {DETAIL: {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}}


def write(folder: str, forgotten: Iterable[Forgotten]) -> None:
    """Write what a new store carries into its folder."""
    place = Path(folder, FOLDER)
    place.mkdir()
    for each in forgotten:
        for name, content in each.files().items():
            Path(place, name).write_bytes(content)


def is_carried(store: Store, forgotten: Iterable[Forgotten]) -> bool:
    """Whether a store carries all of these hashes, or has them itself."""
    there = {each.name: each.times for each in forgotten_by(store)}
    return all(each.times.keys() <= there.get(each.name, {}).keys() for each in forgotten)


def is_whole(store: Store, name: str) -> bool:
    """Whether a file, by its name relative to the store's folder, is as the store's current version says.

    Files that no version names are not.
    """
    folder, _, file = name.partition(os.sep)
    path = os.path.join(store.folder, name)
    written = store.current().details.get(DETAIL, {}).get(file)
    return folder == FOLDER and written is not None and os.path.isfile(path) and digest_of(path) == written


def damaged(store: Store) -> list[str]:
    """Paths of the files of earlier stores that are missing or were changed."""
    names = [os.path.join(FOLDER, name) for name in store.current().details.get(DETAIL, {})]
    return [os.path.join(store.folder, name) for name in names if not is_whole(store, name)]


def _done(store):
    """Each done request, as a row of the database, with the hashes that its receipt gives."""
    for row in store.done_rows():
        with explained(store.folder):
            yield row, [each["hash"] for each in plain(row["receipt"]).get("rows", ())]


def _read(store):
    """What a store carries."""
    for path in damaged(store):
        raise UsageError(f"Store '{store.folder}' is damaged: '{path}' is missing or was changed. {RESTORE}")
    for name in sorted(store.current().details.get(DETAIL, {})):
        if name.endswith(KEY):
            with explained(store.folder):
                key = Path(store.folder, FOLDER, name).read_bytes()
                text = Path(store.folder, FOLDER, name.removesuffix(KEY) + HASHES).read_text()
            lines = (line.partition(" ") for line in text.splitlines())
            yield Forgotten(key, {each: time for each, _, time in lines})


def _by_key(forgotten):
    """The same with each key once, in the order of first appearance."""
    by_name: dict[str, Forgotten] = {}
    for each in forgotten:
        by_name[each.name] = by_name[each.name].joined(each) if each.name in by_name else each
    return list(by_name.values())
