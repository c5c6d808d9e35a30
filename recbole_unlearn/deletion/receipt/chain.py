"""The chain of receipts: each is sealed once, with its place, the hash of the file before it, and a signature.

The order is that in which requests were done. A sealed receipt never changes. What a sink did later has a receipt of
its own, further on in the chain.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from recbole_unlearn.deletion.receipt.files import FOLDER, content, place_of, places, write_json, write_missing
from recbole_unlearn.deletion.receipt.signature import UNSIGNED, NotGenuine, check_signature, parse, sign
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.store.database import iso, now

LARGEST = 2**28  # bytes of a receipt: a batch of half a million requests


def open_parts(store: Store) -> list[int]:
    """Numbers of the parts that wait to be sealed, in order: those of requests that were done since the last seal."""
    waiting = []
    for number, part in store.parts():
        if "chain" not in part or part["chain"]:
            break
        waiting.append(number)
    return waiting[::-1]


def seal(store: Store, sinks: list[dict[str, Any]], key_of: Callable[[], Ed25519PrivateKey]) -> None:
    """Seal the parts that wait for it; sinks that were tried without any make a part of their own.

    Args:
        store: locked.
        sinks: what they did, of :func:`~recbole_unlearn.deletion.sinks.deliver.deliver`.
        key_of: gives the key that signs; called only if there is something to sign.
    """
    waiting = open_parts(store)
    newest = next(store.parts(), (0, {}))[0]
    if sinks and not waiting:
        store.seal({newest + 1: {"finished_at": iso(now()), "sinks": None, "chain": None}})
        waiting = [newest + 1]
    if not waiting:
        return
    batches, parts, key = store.batches(), {}, key_of()
    place, previous = _last(store, batches)
    for number in waiting:
        place += 1
        part = {**store.part(number), "sinks": sinks, "chain": {"number": place, "previous": previous}}
        part["signature"] = sign(json.loads(_text(store, batches, number, part)), key)
        parts[number] = part
        previous = _digest(_text(store, batches, number, part))
    store.seal(parts)


def _last(store, batches):
    """The place in the chain of the newest sealed part, and the hash of its file; 0 and None if there is none."""
    for number, part in store.parts():
        if part.get("chain"):
            return part["chain"]["number"], _digest(_text(store, batches, number, part))
    return 0, None


def _text(store, batches, number, part):
    """The file of a part: of its requests together, or of itself."""
    receipts = store.receipts(batches.get(number, []))
    # The entries in the order in which the database gives them.
    return content([{**part, **receipt, **part} for receipt in receipts.values()] or [part])


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def files_of(store: Store) -> list[str]:
    """The paths of all receipts that a store should have, those of earlier releases first, then in order."""
    batches = store.batches()
    early, folder = batches.pop(None, []), os.path.join(store.folder, FOLDER)
    ids = {number or 0: of_batch for number, of_batch in batches.items()} | dict.fromkeys(store.without_request(), [])
    paths = [*places({None: early}), *(place_of(ids[number], number) for number in sorted(ids))]
    return [os.path.join(folder, f"{path}.json") for path in paths]


def write_sealed(store: Store) -> None:
    """Write the receipts that are sealed, or of an earlier release, and have no files yet."""
    folder, waiting = os.path.join(store.folder, FOLDER), set(open_parts(store))
    batches = {number: ids for number, ids in store.batches().items() if number not in waiting}
    write_missing(folder, batches, store.receipts)
    for number in store.without_request():
        path = os.path.join(folder, place_of([], number))
        if not os.path.exists(f"{path}.json"):
            write_json([store.part(number)], path)


def verify(paths: Iterable[str], keys: list[Ed25519PublicKey], whole: bool = False) -> list[tuple[str, str, bool]]:
    """Check signatures and chain of receipts, with their files and public keys alone.

    Args:
        paths: of JSON files; if ``whole``, all of a store in order.
        keys: any of which may have signed.
        whole: whether the first must be the first of the chain, and each other one follow the one before it.

    Returns:
        For each file its path, a line that says what was found, and whether it is genuine.
    """
    read = [(path, *_read(path, keys)) for path in paths]
    known = {chain["number"]: digest for _, chain, digest, _ in read if chain}
    lines, expected = [], 1
    for path, chain, _, problem in read:
        problem = problem or _misplaced(chain, known, expected if whole else None)
        lines.append((path, problem or f"genuine: {_place_in_words(chain['number'], known)}", not problem))
        expected += problem != UNSIGNED  # those of earlier releases have no place
    return lines


def _misplaced(chain, known, expected):
    """What is wrong with the place of a receipt that is signed; None if nothing is.

    Args:
        known: number of each receipt that is there to the hash of its file.
        expected: its number; None for any.
    """
    number, previous = chain["number"], chain["previous"]
    if expected not in (None, number):
        return f"number {number} of the chain where number {expected} should be"
    if (number == 1) != (previous is None):
        return "its place in the chain is malformed"
    if known.get(number - 1, previous) != previous:
        return f"does not follow the receipt number {number - 1} that is here"
    return None


def _place_in_words(number, known):
    if number == 1:
        return "number 1 of the chain, the first"
    given = "" if number - 1 in known else ", which is not given"
    return f"number {number} of the chain, after number {number - 1}{given}"


def _read(path, keys):
    """The chain entry, the hash of the file, and the problem of a receipt; None where there is none."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # reading a pipe would wait
            raise NotGenuine("no file")
        if os.path.getsize(path) > LARGEST:
            raise NotGenuine("too large for a receipt")
        with open(path, "rb") as file:
            raw = file.read()
        digest = hashlib.sha256(raw).hexdigest()
        receipt = parse(raw.decode("utf-8"))
        check_signature(receipt, keys)
        chain = receipt.get("chain")
        if not isinstance(chain, dict) or not isinstance(chain.get("number"), int) or "previous" not in chain:
            raise NotGenuine("its place in the chain is malformed")
        return chain, digest, None
    except FileNotFoundError:
        return None, None, "missing"
    except OSError as error:
        return None, None, f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return None, None, "no JSON of a receipt"
    except NotGenuine as error:
        return None, None, str(error)
