"""Check the signatures of receipts and the chain that they form, with a public key alone."""

import argparse

from recbole_unlearn.arguments import words
from recbole_unlearn.deletion.receipt import chain
from recbole_unlearn.deletion.receipt.signature import read_public
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.errors import UsageError

EXAMPLES = """
  run-unlearn receipt verify r1.json r2.json --key=signing_key.pub.pem
  run-unlearn receipt verify --store=saved/MODEL.store --key=signing_key.pub.pem
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to check, and whose signature it must have."""
    parser.add_argument("what", choices=["verify"], help="what to do")
    parser.add_argument("receipts", nargs="*", help="JSON files of receipts")
    parser.add_argument("--store", help="a store's folder: all of its receipts, none of which may be missing")
    parser.add_argument(
        "--key", type=words, required=True, help="public keys of those who may have signed, PEM, separated by spaces"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a line a receipt; returns 1 if one is not genuine.

    Raises:
        UsageError: no receipts are named, a key cannot be read, or there is no such store.
    """
    if bool(arguments.receipts) == bool(arguments.store):
        raise UsageError("Name receipts, or all of a store's with --store=FOLDER.")
    keys = [read_public(path) for path in arguments.key]
    paths = chain.files_of(Store(arguments.store)) if arguments.store else arguments.receipts
    found = chain.verify(paths, keys, whole=bool(arguments.store))
    for path, said, _ in found:
        print(f"{path}: {said}")
    return 0 if all(genuine for _, _, genuine in found) else 1
