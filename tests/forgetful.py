"""Stores without a model, and files of rows with an independent answer to what is forgotten."""

from recbole_unlearn.deletion.receipt.contents import own_part
from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.revision.revise import hashes_of
from recbole_unlearn.deletion.store import Store

SCOPES = {(True, False): "user", (False, True): "item", (True, True): "interaction"}


def request(name, *rows, at=None):
    """A request for (user, item) rows; None leaves one of them out."""
    named = [(SCOPES[user is not None, item is not None], user, item) for user, item in rows]
    return DeletionRequest(name, named, at)


def store_of(folder, *requests, unfinished=()):
    """A store whose version is empty, with requests that are done, and others that are not."""
    store = Store.create(str(folder), lambda place: None)
    apply(store, *requests)
    with store.locked(0):
        store.submit(unfinished)
    return store


def apply(store, *requests):
    for each in requests:
        with store.locked(0):
            store.submit([each])
            (submitted,) = [
                known["submitted_at"] for known in store.requests() if known["request_id"] == each.request_id
            ]
            part = own_part(each, submitted, [None] * len(each.rows), store.keyed_hash)
            store.finish({each.request_id: part}, hashes_of(store, [each]))


def kind_of(user, item, *requests):
    """Why a row goes, by plain sets of Python; None if it stays."""
    rows = {row for each in requests for row in each.rows}
    asked = {"user": ("user", user, None), "item": ("item", None, item), "interaction": ("interaction", user, item)}
    return next((kind for kind, row in asked.items() if row in rows), None)


def counts(kinds):
    return {kind: list(kinds).count(kind) for kind in ("user", "item", "interaction")}
