"""Searching a store, and other places, for what was to be forgotten."""

import os

from recbole_unlearn.deletion.records import WORK, iso, now, store_folder
from recbole_unlearn.deletion.scan import Finding, Scan, scan
from recbole_unlearn.deletion.state import MODEL, file_of
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.saved_model import load_model


def verify(checkpoint, also=()):
    """Search the store of a checkpoint for what is to be forgotten; quarantined versions are left out.

    Args:
        checkpoint (str): its checkpoint.
        also (list of str): other files and folders to search, such as those of the first training.

    Returns:
        Scan: of the current version and those whose quarantine is over, the receipts, an interrupted retraining, and
        requests that are not done; no findings if nothing is left.

    Raises:
        UsageError: there is no store.
    """
    store = Store(store_folder(checkpoint))
    forgotten, hashed = store.forgotten(), store.keyed_hash
    config, _, _ = load_model(file_of(store.current().folder, MODEL))

    def is_forgotten(users, items):
        users_gone = {user for user in set(users) if user is not None and hashed("user", user, None) in forgotten}
        items_gone = {item for item in set(items) if item is not None and hashed("item", None, item) in forgotten}
        return [
            user in users_gone or item in items_gone or hashed("interaction", user, item) in forgotten
            for user, item in zip(users, items)
        ]

    fields = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
    expired = [each.folder for each in store.versions() if each.quarantined_until and each.quarantined_until <= iso(now())]
    own = [store.current().folder, *expired, *(os.path.join(store.folder, name) for name in ("receipts", WORK))]
    scans = [scan(place, is_forgotten, *fields) for place in [*filter(os.path.exists, own), *also]]
    database, counts = os.path.join(store.folder, "store.db"), store.counts()
    unfinished = sum(counts[status] for status in ("pending", "running", "failed"))
    open_requests = [Finding(database, f"{unfinished} unfinished requests", unfinished)] if unfinished else []
    files = [(database, "unfinished requests"), *(file for each in scans for file in each.files)]
    return Scan(files, open_requests + [found for each in scans for found in each.findings])
