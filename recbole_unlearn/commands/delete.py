"""Apply deletion requests to a saved model, through the store beside it."""

import argparse
import logging
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from recbole_unlearn.arguments import add_import, seconds
from recbole_unlearn.deletion import service
from recbole_unlearn.errors import UsageError
from recbole_unlearn.known_settings import check_deletion_settings

TAKES_SETTINGS = True
OLD_FORM = "--checkpoint"
EXAMPLES = """
  run-unlearn delete --checkpoint=saved/MODEL.safetensors --forget_file=requests.csv --dry_run
  run-unlearn delete --checkpoint=saved/MODEL.safetensors --forget_file=requests.csv
  run-unlearn delete --checkpoint=saved/MODEL.safetensors --exact
"""
AFTER_INTERRUPTION = "the same command continues from the files under checkpoint_dir"
NOT_FOUND, WAITING = 3, 4  # exit codes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of :func:`recbole_unlearn.deletion.service.unlearn`, and of what it may do instead."""
    parser.add_argument("--checkpoint", required=True, help="trained model, of ours or of RecBole's Trainer")
    parser.add_argument("--forget_file", help="the requests; leave it out to go on with those that wait")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--prepare", action="store_true", help="make the checkpoint's store, and nothing else")
    instead.add_argument("--dry_run", action="store_true", help="look the requests up and change nothing")
    instead.add_argument("--exact", action="store_true", help="train anew on what remains instead of revising")
    parser.add_argument("--force", action="store_true", help="publish a version that fails its checks")
    parser.add_argument(
        "--wait_seconds", type=seconds, default=600.0, help="how long to wait for another process (default 600)"
    )
    add_import(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make a store, look requests up, or apply them; returns the exit code.

    Raises:
        UsageError: arguments contradict each other.
    """
    requests, settings = arguments.forget_file, arguments.settings
    mode = next((name for name in ("prepare", "dry_run") if getattr(arguments, name)), None)
    if arguments.force and mode == "dry_run":
        raise UsageError("--dry_run publishes nothing: leave out --force.")
    if requests is not None and mode == "prepare":
        raise UsageError("--prepare applies no requests: leave out --forget_file, or --prepare to apply them.")
    if requests is None and mode == "dry_run":
        raise UsageError("--forget_file=FILE is missing, with the requests.")
    check_deletion_settings(settings)
    checkpoint = arguments.checkpoint
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)  # only errors go to standard error
    if mode == "prepare":
        logging.info(f"Store: {service.prepare(checkpoint, settings, arguments.force).folder}")
        return 0
    if mode == "dry_run":
        return code_of(service.dry_run(checkpoint, requests, settings).values(), waiting=0)
    result = service.unlearn(
        checkpoint, requests or (), settings, arguments.exact, arguments.wait_seconds, arguments.force
    )
    receipts = (result["receipts"][request_id] for request_id in result["status"])
    return code_of((receipt["counts"] for receipt in receipts), result["waiting"])


def code_of(counts: Iterable[Mapping[str, Any]], waiting: int) -> int:
    """The exit code of a finished call.

    Args:
        counts: of the receipts of its requests.
        waiting: number of earlier requests that failed.
    """
    counts = list(counts)
    if counts and not any(each["found"] for each in counts):
        return NOT_FOUND
    return WAITING if waiting else 0
