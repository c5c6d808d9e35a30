"""Apply deletion requests to a saved model, through the store beside it."""

import argparse
import logging
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from recbole_unlearn.arguments import add_import, seconds
from recbole_unlearn.data.request_source import FORMATS, RequestSource
from recbole_unlearn.data.request_source import SETTINGS as SOURCE
from recbole_unlearn.deletion import service
from recbole_unlearn.errors import UsageError
from recbole_unlearn.known_settings import check_deletion_settings

TAKES_SETTINGS = True
EXAMPLES = """
  run-unlearn delete --checkpoint=saved/MODEL.safetensors --forget_file=requests.csv --dry_run
  run-unlearn delete --checkpoint=saved/MODEL.safetensors --forget_file=requests.csv
  run-unlearn delete --checkpoint=saved/MODEL.safetensors --forget_url=sqlite:///r.db --forget_query="SELECT ..."
  run-unlearn delete --checkpoint=saved/MODEL.safetensors --exact
"""
AFTER_INTERRUPTION = "the same command continues from the files under checkpoint_dir"
SINK_FAILED, NOT_FOUND, WAITING = 1, 3, 4  # exit codes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of :func:`recbole_unlearn.deletion.service.unlearn`, and of what it may do instead."""
    parser.add_argument("--checkpoint", required=True, help="trained model, of ours or of RecBole's Trainer")
    parser.add_argument("--forget_file", help="the requests; leave it out to go on with those that wait")
    parser.add_argument("--forget_format", help=f"{', '.join(FORMATS)} (default what the file's ending says)")
    parser.add_argument("--forget_url", help="database to ask instead, e.g. sqlite:///requests.db or env:NAME")
    parser.add_argument("--forget_query", help="what to ask it, e.g. SELECT user_id FROM erasures")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--prepare", action="store_true", help="make the checkpoint's store, and nothing else")
    instead.add_argument("--dry_run", action="store_true", help="look the requests up and change nothing")
    instead.add_argument("--exact", action="store_true", help="train anew on what remains instead of revising")
    parser.add_argument("--force", action="store_true", help="publish a version that fails its checks")
    parser.add_argument(
        "--wait_seconds", type=seconds, default=600.0, help="how long to wait for another process (default 600)"
    )
    parser.add_argument(
        "--against", help="with --prepare: the store of the model before; refuse data that hold what it forgot"
    )
    parser.add_argument("--readmit", help="with --against: a file of those who gave consent anew, and since when")
    add_import(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make a store, look requests up, or apply them; returns the exit code.

    Raises:
        UsageError: arguments contradict each other.
    """
    settings, given = arguments.settings, {name: getattr(arguments, name) for name in SOURCE}
    requests = RequestSource.of(given)
    mode = next((name for name in ("prepare", "dry_run") if getattr(arguments, name)), None)
    if arguments.force and mode == "dry_run":
        raise UsageError("--dry_run publishes nothing: leave out --force.")
    if requests is not None and mode == "prepare":
        named = next(name for name in SOURCE if given[name])
        raise UsageError(f"--prepare applies no requests: leave out --{named}, or --prepare to apply them.")
    if arguments.against and mode != "prepare":
        raise UsageError("--against needs --prepare, which checks the new data.")
    if arguments.readmit and not arguments.against:
        raise UsageError("--readmit needs --against, whose store forgot them.")
    check_deletion_settings(settings)
    checkpoint = arguments.checkpoint
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)  # only errors go to standard error
    if mode == "prepare":
        store = service.prepare(
            checkpoint, settings, arguments.force, against=arguments.against, readmit=arguments.readmit
        )
        logging.info(f"Store: {store.folder}")
        return 0
    if mode == "dry_run":
        if requests is None:
            raise UsageError("--forget_file=FILE is missing, with the requests.")
        return code_of(service.dry_run(checkpoint, requests, settings).values(), waiting=0)
    result = service.unlearn(
        checkpoint, requests or (), settings, arguments.exact, arguments.wait_seconds, arguments.force
    )
    if any(entry["reason"] is not None for entry in result["sinks"]):
        return SINK_FAILED
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
