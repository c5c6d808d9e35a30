"""Drop the rows of erased users, erased items and forgotten interactions from new data."""

import argparse
import logging
import sys

from recbole_unlearn.arguments import words
from recbole_unlearn.deletion.suppression.filter import TIME, Filtered, filter_file
from recbole_unlearn.deletion.suppression.suppression import Suppression, described

EXAMPLES = """
  run-unlearn filter --store=saved/M.store new.inter
  run-unlearn filter --store="saved/A.store saved/B.store" new.parquet --output=load.parquet
  run-unlearn filter --store=saved/M.store new.csv --readmit=consents.csv
"""
AFTER_INTERRUPTION = "nothing was changed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", help="rows to filter: .inter, .user, .item, .tsv, .csv or .parquet")
    parser.add_argument("--store", required=True, type=words, help="stores that forgot, separated by spaces")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", help="file to write (default NAME.filtered.ENDING beside the file)")
    where.add_argument("--in_place", action="store_true", help="replace the file itself")
    where.add_argument("--dry_run", action="store_true", help="count, and write nothing")
    parser.add_argument(
        "--readmit", help="file of those who gave consent anew: user_id and/or item_id, and since (a time)"
    )
    parser.add_argument("--since", help="with --readmit: no row of a file without times is older than this time")
    parser.add_argument("--user_field", help="name of the users' column (default the store's)")
    parser.add_argument("--item_field", help="name of the items' column (default the store's)")
    parser.add_argument("--time_field", help=f"name of the column of times, for --readmit (default {TIME})")
    parser.add_argument("--separator", help=r"between cells (default what the file's ending says), e.g. ';' or '\t'")
    parser.add_argument("--encoding", default="utf-8", help="of a file of text (default utf-8)")


def run(arguments: argparse.Namespace) -> int:
    """Filter a file and log what was done; the exit code.

    Raises:
        UsageError: the file or a store cannot be read, or the result not be written.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    suppression = Suppression(*arguments.store, readmit=arguments.readmit, since=arguments.since)
    done = filter_file(
        arguments.file,
        suppression,
        arguments.output,
        in_place=arguments.in_place,
        dry_run=arguments.dry_run,
        user=arguments.user_field,
        item=arguments.item_field,
        time=arguments.time_field,
        separator="\t" if arguments.separator == r"\t" else arguments.separator,
        encoding=arguments.encoding,
    )
    _report(arguments, suppression, done)
    return 0


def _report(arguments: argparse.Namespace, suppression: Suppression, done: Filtered) -> None:
    written = "nothing is written" if done.output is None else f"written to {done.output}"
    logging.info(f"{arguments.file}: {done.kept:,} of {done.rows:,} rows stay; {written}")
    logging.info(f"Dropped: {described(done.dropped)}")
    if arguments.readmit:
        logging.info(f"Of consents given anew: {done.readmitted:,} rows stay")
    elif done.dropped["user"]:
        logging.info("An erased user who is back is dropped, too: --readmit names those who gave consent anew")
    if done.untimed:
        logging.warning(f"{done.untimed:,} rows of those who gave consent have no readable time, and were dropped")
    if suppression.unknown:
        logging.warning(f"{suppression.unknown:,} rows of {arguments.readmit} name nobody whom the stores forgot")
