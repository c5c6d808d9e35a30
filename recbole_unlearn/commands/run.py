"""Train a recommender, make it forget a request with several methods, and report how well each of them forgot."""

import argparse
from typing import Any

from recbole_unlearn.arguments import add_model, different_seeds
from recbole_unlearn.errors import UsageError
from recbole_unlearn.quick_start import run_seeds, run_unlearn
from recbole_unlearn.report.summary import summary_table

TAKES_SETTINGS = True
EXAMPLES = """
  run-unlearn run --model=LightGCN --dataset=ml-100k
  run-unlearn run --model=SGL --dataset=ml-100k --forget_type=user --unlearn_methods=all --seeds=1,2,3
  run-unlearn run --model=BPR --dataset=ml-100k --config_files=mine.yaml --audit=16 --quiet
"""
QUIET = {"state": "warning", "show_progress": "False"}
AFTER_INTERRUPTION = "the same command continues from the files under checkpoint_dir"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of :func:`~recbole_unlearn.quick_start.run_unlearn` that are no settings."""
    add_model(parser)
    parser.add_argument(
        "--seeds", type=different_seeds, help="e.g. 1,2,3: repeat everything, report means and intervals"
    )
    parser.add_argument(
        "--audit", help="reference models of a membership audit, e.g. 16 (the setting unlearn_audit_models)"
    )
    parser.add_argument("--sequence", help="requests of single users one after the other, e.g. 100 (unlearn_sequence)")
    parser.add_argument("--quiet", action="store_true", help="print the tables, and before them warnings only")


def keywords(arguments: argparse.Namespace) -> dict[str, Any]:
    """What :func:`~recbole_unlearn.quick_start.run_unlearn` or, with ``seeds``, ``run_seeds`` is called with.

    Raises:
        UsageError: ``--seeds`` and ``--seed`` are both given.
    """
    settings = dict(arguments.settings)
    if arguments.seeds and "seed" in settings:
        raise UsageError("--seeds takes the place of --seed: leave one of them out.")
    settings |= {"unlearn_audit_models": arguments.audit} if arguments.audit else {}
    settings |= {"unlearn_sequence": arguments.sequence} if arguments.sequence else {}
    settings = QUIET | settings if arguments.quiet else settings
    return {
        "model": arguments.model,
        "dataset": arguments.dataset,
        "config_file_list": arguments.config_files,
        "config_dict": settings,
        **({"seeds": arguments.seeds} if arguments.seeds else {}),
    }


def run(arguments: argparse.Namespace) -> int:
    """Compare methods, for one seed or several."""
    result = (run_seeds if arguments.seeds else run_unlearn)(**keywords(arguments))
    if arguments.quiet:
        print(summary_table(result) if arguments.seeds else result)
    return 0
