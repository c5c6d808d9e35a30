"""Search a method's settings with Ray Tune, on simulated requests and validation data."""

import argparse
from typing import Any

from recbole_unlearn.arguments import add_model, count, count_or_zero, resources_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.quick_start import run_sweep
from recbole_unlearn.sweep.space import SCHEDULERS, SEARCHES

TAKES_SETTINGS = True
EXAMPLES = """
  run-unlearn sweep --model=SimGCL --dataset=ml-100k --params_file=hyper.test --num_samples=20
  run-unlearn sweep --model=SGL --dataset=ml-100k --unlearn_methods=GIF --params_file=gif.test --resume
"""
AFTER_INTERRUPTION = "the same command with --resume continues from the files under checkpoint_dir"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of :func:`~recbole_unlearn.quick_start.run_sweep` that are no settings."""
    add_model(parser)
    parser.add_argument(
        "--params_file",
        default="hyper.test",
        help="search space (default hyper.test); settings on the command line are fixed",
    )
    parser.add_argument("--num_samples", type=count, help="trials (default 20)")
    parser.add_argument("--search", choices=SEARCHES, help="where trials come from (default random)")
    parser.add_argument("--scheduler", choices=SCHEDULERS, help="asha (default) stops the worse trials early")
    parser.add_argument("--tune_metric", help="what is searched for (default objective; less is better)")
    parser.add_argument(
        "--tune_mode", choices=["min", "max"], help="whether another metric is better if smaller or larger"
    )
    parser.add_argument(
        "--simulated", type=lambda text: text.split(","), help="kinds of simulated requests, e.g. adversarial,random"
    )
    parser.add_argument(
        "--held_back",
        type=count_or_zero,
        help="rounds of other requests to compare the best with the given settings on (default 1)",
    )
    parser.add_argument(
        "--resume", action="store_const", const=True, help="continue the same sweep, or add samples to it"
    )
    parser.add_argument("--storage_path", help="folder of all sweeps (default CHECKPOINT_DIR/sweep)")
    parser.add_argument(
        "--resources_per_trial", type=resources_of, help="e.g. cpu:2,gpu:0.5 (default cpu:1, and a GPU if there is one)"
    )


def keywords(arguments: argparse.Namespace) -> dict[str, Any]:
    """What :func:`~recbole_unlearn.quick_start.run_sweep` is called with.

    Raises:
        UsageError: a grid search with a number of samples.
    """
    if arguments.search == "grid" and arguments.num_samples:
        raise UsageError("--search=grid tries every combination: leave out --num_samples, or use --search=random.")
    named = {"model", "dataset", "config_files", "import", "settings"}
    given = {key: value for key, value in vars(arguments).items() if key not in named and value is not None}
    return {
        "model": arguments.model,
        "dataset": arguments.dataset,
        "config_file_list": arguments.config_files,
        "config_dict": arguments.settings,
        **given,
    }


def run(arguments: argparse.Namespace) -> int:
    """Search."""
    run_sweep(**keywords(arguments))
    return 0
