"""Search a model's store, and other files, for what was forgotten."""

import argparse
import logging
import sys

from recbole_unlearn.arguments import words
from recbole_unlearn.deletion.verify.findings import lines_of
from recbole_unlearn.deletion.verify.verification import verify

EXAMPLES = """
  run-unlearn verify --checkpoint=saved/MODEL.safetensors
  run-unlearn verify --checkpoint=saved/MODEL.safetensors --also="saved logs" --waive="logs/*.gz"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of :func:`recbole_unlearn.deletion.verify.verification.verify`."""
    parser.add_argument("--checkpoint", required=True, help="the model whose store is searched")
    parser.add_argument("--also", type=words, default=[], help="other files and folders to search, separated by spaces")
    parser.add_argument(
        "--waive", type=words, default=[], help="names of files that need not be searched, e.g. 'a.bin logs/*.gz'"
    )


def run(arguments: argparse.Namespace) -> int:
    """Search and print the findings; returns 1 if there are some."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    found = verify(arguments.checkpoint, arguments.also, arguments.waive)
    logging.info("\n".join(lines_of(found)))
    return 0 if found.is_clean() else 1
