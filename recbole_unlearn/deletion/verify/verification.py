"""Search a store, what lies beside it, and other places for what should be forgotten. Changes nothing."""

import os
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from recbole_unlearn.deletion.receipt import files as receipt
from recbole_unlearn.deletion.sinks.search import folders_of, search
from recbole_unlearn.deletion.store import Store, carried
from recbole_unlearn.deletion.store.database import NAME as DATABASE
from recbole_unlearn.deletion.store.database import iso, now
from recbole_unlearn.deletion.store.files import BUILDING
from recbole_unlearn.deletion.store.keyed_hash import KEY_BYTES
from recbole_unlearn.deletion.store.layout import OF_SINKS, Version, store_folder
from recbole_unlearn.deletion.verify.findings import Finding, Scan, joined, waived
from recbole_unlearn.deletion.verify.matcher import answer
from recbole_unlearn.deletion.verify.parts import Hit, Text
from recbole_unlearn.deletion.verify.search import scan
from recbole_unlearn.deletion.verify.sought import Sought
from recbole_unlearn.deletion.version.state import MODEL, file_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.model_file import read_content

HOLDER = re.compile(rb"\0?\d{0,20}")  # content of a lock file: the process that holds the lock
RETRY = "submit them again, or use --force or --exact"
ALTERED = "not what was written: delete it, and the next call writes it anew"
FOLDERS = (
    "versions",
    carried.FOLDER,
    receipt.FOLDER,
    os.path.join(receipt.FOLDER, receipt.BATCHES),
    OF_SINKS,
)  # searched entry by entry
NAMES = ("user_id", "item_id")  # of the columns, if the model's settings cannot be read


def verify(checkpoint: str | os.PathLike, also: Iterable[str] = (), waive: Iterable[str] = ()) -> Scan:
    """Search the store of a checkpoint for what should be forgotten.

    The search covers everything in the store's folder, whether the database knows it or not, and what interrupted
    preparations have left beside it. It leaves out versions in quarantine and lists them. The current version must have
    the files that were written, unchanged, and no others.

    Args:
        checkpoint: of the store.
        also: other files and folders to search, such as those of the first training. The store in one is left out.
        waive: names of files that need not be searched, see :func:`~recbole_unlearn.deletion.verify.findings.waived`.

    Returns:
        The scan. It is clean if everything was searched or waived, and nothing is left.

    Raises:
        UsageError: there is no store, the store is damaged, or a place in ``also`` does not exist.
    """
    folder = store_folder(checkpoint)
    if not os.path.lexists(folder):
        raise UsageError(f"'{checkpoint}' has no store yet: there is nothing at '{folder}'. Make it with --prepare.")
    store = Store(folder)
    current = store.current()
    try:
        content = read_content(file_of(current.folder, MODEL))
        names = content["config"]["USER_ID_FIELD"], content["config"]["ITEM_ID_FIELD"]
        known = {*content["user_tokens"], *content["item_tokens"]}
    except (KeyError, UsageError):  # the changed hash is a finding below
        names, known = NAMES, set()
    sought = Sought(store.forgotten(), store.keyed_hash, known)
    scans = [_requests(store, sought), _files_of(current)]
    carried_files = [Finding(path, "missing or changed since the store was made", 1) for path in carried.damaged(store)]
    scans.append(Scan(findings=carried_files))
    scans += [each if isinstance(each, Scan) else scan(each, sought, names) for each in _places(store, current)]
    of_sinks = folders_of(store)
    scans += [search(store, current, entry) for entry in of_sinks.values()]
    scans += [scan(place, sought, names, searched=[store.folder, *of_sinks]) for place in also]
    return waived(joined(scans), waive)


def _requests(store, sought):
    """Unfinished requests, whose rows the database still holds, and request ids that name somebody."""
    database, counts = os.path.join(store.folder, DATABASE), store.counts()
    unfinished = {
        "unfinished requests": counts["pending"] + counts["running"],
        f"failed requests: {RETRY}": counts["failed"],
    }
    found = [Finding(database, f"{number} {what}", number) for what, number in unfinished.items() if number]
    ids = Text("request ids", "\n".join(request["request_id"] for request in store.requests()), numbers=False)
    found += [Finding(database, hit.place, hit.count) for hit in answer(ids, sought, NAMES) if isinstance(hit, Hit)]
    return Scan(files=[(database, "unfinished requests, request ids")], findings=found)


def _files_of(version: Version) -> Scan:
    """Compare the files of a version with what was written."""
    written = {os.path.join(version.folder, name) for name in version.files}
    there = {os.path.join(folder, name) for folder, _, names in os.walk(version.folder) for name in names}
    reasons = {path: f"missing or changed since version {version.number} was made" for path in version.changed_files()}
    reasons |= {path: f"no file of version {version.number}" for path in sorted(there - written)}
    return Scan(findings=[Finding(path, reason, 1) for path, reason in reasons.items()])


def _places(store: Store, current: Version) -> Iterator[str | Scan]:
    """The places to search in a store's folder and beside it, and scans of places that need no search."""
    quarantined = {each.folder: each.quarantined_until for each in store.versions() if each.quarantined_until}
    receipts = {place: partial(_receipts, store, ids) for place, ids in receipt.places(store.batches()).items()}
    receipts |= {receipt.place_of([], number): partial(_part, store, number) for number in store.without_request()}
    of_sinks = folders_of(store)
    for name in _below(store.folder):
        place = os.path.join(store.folder, name)
        written = receipts.get(os.path.relpath(os.path.splitext(name)[0], receipt.FOLDER))
        if quarantined.get(place, "") > iso(now()):
            yield Scan(left_out=[(place, f"in quarantine until {quarantined[place]}")])
        elif name == DATABASE or (name == "current" and os.path.realpath(place) == os.path.realpath(current.folder)):
            continue
        elif name == "key" and os.path.isfile(place) and os.path.getsize(place) == KEY_BYTES:
            yield Scan(files=[(place, "nothing, as it is the store's key")])
        elif carried.is_whole(store, name):
            yield Scan(files=[(place, "nothing, as it has the hashes of an earlier store, or their key")])
        elif name == "lock" and _is_lock(place):
            yield Scan(files=[(place, "nothing, as it names a process at most")])
        elif place in of_sinks:
            continue  # searched with what the sink knows
        elif _is_link_to(place, of_sinks):
            continue
        elif written is not None and receipt.is_written(place, written()):
            yield Scan(files=[(place, "anything but what the database has")])
        elif os.path.lexists(place):  # another process may have removed it
            if written is not None:  # changed, or written by another release
                yield Scan(findings=[Finding(place, ALTERED, 1, sure=False)])
            yield place
    parent, name = os.path.split(store.folder)
    for entry in sorted(os.listdir(parent)):
        if entry.startswith(f".{name}") and BUILDING in entry:
            yield os.path.join(parent, entry)


def _below(folder: str, within: str = "") -> Iterator[str]:
    """The entries of a store's folder; its own folders give their entries one by one."""
    for entry in sorted(os.listdir(os.path.join(folder, within))):
        name = os.path.join(within, entry)
        path = os.path.join(folder, name)
        if (name in FOLDERS or os.path.dirname(name) == OF_SINKS) and os.path.isdir(path) and not os.path.islink(path):
            yield from _below(folder, name)
        else:
            yield name


def _receipts(store, ids):
    return [*store.receipts(ids).values()]


def _part(store, number):
    return [store.part(number)]


def _is_link_to(path, folders):
    return os.path.islink(path) and os.path.realpath(path) in map(os.path.realpath, folders)


def _is_lock(path):
    if not os.path.isfile(path) or os.path.getsize(path) >= 100:
        return False
    return HOLDER.fullmatch(Path(path).read_bytes()) is not None
