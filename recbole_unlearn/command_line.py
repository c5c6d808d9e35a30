"""The arguments of ``run_unlearn.py``: RecBole's, as ``--key=value``."""

import difflib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from recbole_unlearn.arguments import OnceParser, different_seeds, of_a_sweep, seconds, words
from recbole_unlearn.data.request_source import SETTINGS as SOURCE
from recbole_unlearn.data.request_source import RequestSource
from recbole_unlearn.deletion import service
from recbole_unlearn.deletion.verify.findings import lines_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.known_settings import check_deletion_settings, check_names
from recbole_unlearn.own_modules import import_files
from recbole_unlearn.quick_start import run_seeds, run_sweep, run_unlearn
from recbole_unlearn.torchrun import end_torchrun, serve_torchrun, waits_for_torchrun

OF_A_CHECKPOINT = (
    *("prepare", "dry_run", "exact", "force", "verify", "also", "waive", "wait_seconds", "against", "readmit"),
)
NOT_FOUND, WAITING, INTERRUPTED = 3, 4, 130  # exit codes; 130 is the shell's after Ctrl-C
EXIT_CODES = (
    "Exit codes: 0 done; 1 --verify is not clean, or a new version fails its checks and is kept aside; 2 wrong usage, "
    "or nothing was changed; 3 nothing that the requests name is found; 4 earlier requests failed and wait; "
    "130 interrupted."
)


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Parse arguments into those of :func:`run_unlearn`, or of :func:`run_sweep` if there is a ``params_file``.

    Args:
        arguments: e.g. ``["--model=SimGCL", "--dataset=ml-100k", "--epochs=5"]``.

    Returns:
        ``model``, ``dataset``, ``config_file_list`` and ``config_dict`` (of strings); ``seeds`` if given; for a sweep
        also its other given arguments. With ``--checkpoint``, the arguments of :func:`_serve`.

    Raises:
        UsageError: an argument is not ``--key=value``, is unknown or empty, or comes twice with different values.
    """
    sweep_parser = of_a_sweep()
    parser = OnceParser(
        prog="run_unlearn.py",
        description="Train a RecBole recommender, make it forget a request, and report how well it forgot.",
        epilog=f"Any setting of RecBole or of properties/*.yaml: --key=value. {EXIT_CODES}",
        allow_abbrev=False,
        parents=[sweep_parser],
    )
    parser.add_argument("--model", "-m", help="backbone: BPR, LightGCN, SGL or SimGCL")
    parser.add_argument("--dataset", "-d", help="dataset, e.g. ml-100k (comes with RecBole)")
    parser.add_argument("--config_files", help="yaml files, separated by spaces")
    parser.add_argument("--import", type=words, help="Python files with models and methods of your own, e.g. mine.py")
    parser.add_argument(
        "--seeds", type=different_seeds, help="e.g. 1,2,3: repeat everything, report means and intervals"
    )
    parser.add_argument(
        "--audit", help="reference models of a membership audit, e.g. 16 (the setting unlearn_audit_models)"
    )
    parser.add_argument("--sequence", help="requests of single users one after the other, e.g. 100 (unlearn_sequence)")
    deletion = parser.add_argument_group("deletion requests against a saved model")
    deletion.add_argument("--checkpoint", help="trained model: forget the requests of --forget_file in its store")
    deletion.add_argument("--prepare", action="store_true", help="make the checkpoint's store, and nothing else")
    deletion.add_argument("--dry_run", action="store_true", help="look the requests up and change nothing")
    deletion.add_argument("--exact", action="store_true", help="train anew on what remains instead of revising")
    deletion.add_argument("--force", action="store_true", help="publish a version that fails its checks")
    deletion.add_argument("--verify", action="store_true", help="search the store for what is forgotten")
    deletion.add_argument(
        "--also", type=words, help="with --verify: other files and folders to search, separated by spaces"
    )
    deletion.add_argument(
        "--waive", type=words, help="with --verify: names of files that need not be searched, e.g. 'a.bin logs/*.gz'"
    )
    deletion.add_argument(
        "--against",
        help="with --prepare: the store of the model before; refuse data that hold what it forgot",
    )
    deletion.add_argument("--readmit", help="with --against: a file of those who gave consent anew, and since when")
    deletion.add_argument("--wait_seconds", type=seconds, help="how long to wait for another process (default 600)")
    known, others = parser.parse_known_args(arguments)
    for name, value in vars(known).items():
        if value in ("", []):  # e.g. a shell's variable without a value: the option would vanish
            raise UsageError(f"--{name} is empty: give it a value, or leave it out.")
    settings: dict[str, str] = {}
    for argument in others:
        key, equals, value = argument.partition("=")
        if not key.startswith("--") or not equals:
            raise UsageError(f"Argument '{argument}' is not of the form --key=value.{_closest_switch(argument)}")
        if settings.setdefault(key[2:], value) != value:
            raise UsageError(f"Argument '{key}' is given twice, as '{settings[key[2:]]}' and '{value}'.")
    import_files(vars(known)["import"] or [])  # first: they have settings of their own
    check_names(settings, dashes="--", options=vars(known))
    sweep, _ = sweep_parser.parse_known_args(arguments)
    swept = {key: value for key, value in vars(sweep).items() if value is not None}
    settings |= {"unlearn_audit_models": known.audit} if known.audit else {}
    settings |= {"unlearn_sequence": known.sequence} if known.sequence else {}
    if known.ray_address and not known.params_file:
        settings["ray_address"] = swept.pop("ray_address")
    if swept and not known.params_file:
        raise UsageError(f"--{next(iter(swept))} needs --params_file.")
    if known.search == "grid" and known.num_samples:
        raise UsageError("--search=grid tries every combination: leave out --num_samples, or use --search=random.")
    if known.seeds and swept:
        raise UsageError("--seeds and --params_file cannot be combined: a sweep is made with one `seed`.")
    if known.seeds and "seed" in settings:
        raise UsageError("--seeds takes the place of --seed: leave one of them out.")
    if known.checkpoint:
        return _deletion(known, settings)
    if any(getattr(known, name) != parser.get_default(name) for name in OF_A_CHECKPOINT):
        raise UsageError(f"--{', --'.join(OF_A_CHECKPOINT)} need --checkpoint.")
    return {
        "model": known.model,
        "dataset": known.dataset,
        "config_file_list": known.config_files.split() if known.config_files else None,
        "config_dict": settings,
        **({"seeds": known.seeds} if known.seeds else {}),
        **swept,
    }


def _deletion(known, settings):
    """The arguments of :func:`_serve`."""
    chosen = [mode for mode in ("prepare", "dry_run", "verify") if getattr(known, mode)]
    if len(chosen) > 1 or (chosen and known.exact):
        raise UsageError(f"--{chosen[0]} cannot be combined with --{(chosen[1:] or ['exact'])[0]}.")
    if known.force and chosen and chosen != ["prepare"]:
        raise UsageError(f"--{chosen[0]} publishes nothing: leave out --force.")
    if known.config_files or known.seeds or known.params_file:
        raise UsageError("--checkpoint brings its own settings: leave out --config_files, --seeds and --params_file.")
    for name in ("also", "waive"):
        if getattr(known, name) is not None and not known.verify:
            raise UsageError(f"--{name} needs --verify, which does the searching.")
    if known.against and chosen != ["prepare"]:
        raise UsageError("--against needs --prepare, which checks the new data.")
    if known.readmit and not known.against:
        raise UsageError("--readmit needs --against, whose store forgot them.")
    source = {name: settings.pop(name) for name in SOURCE if name in settings}
    if "" in source.values():
        raise UsageError(f"--{next(name for name in source if source[name] == '')} is empty: give it a value.")
    requests = RequestSource.of(source)
    check_deletion_settings(settings)
    settings |= {name: getattr(known, name) for name in ("model", "dataset") if getattr(known, name)}
    if settings and known.verify:
        raise UsageError(f"--verify takes no settings: leave out --{next(iter(settings))}.")
    if requests is not None and (known.prepare or known.verify):
        raise UsageError(
            f"--{chosen[0]} applies no requests: leave out --{next(iter(source))}, or --{chosen[0]} to apply them."
        )
    if requests is None and known.dry_run:
        raise UsageError("--forget_file=FILE is missing, with the requests.")
    return {
        "mode": chosen[0] if chosen else "unlearn",
        "checkpoint": known.checkpoint,
        "requests": requests or (),
        "config_dict": settings,
        "exact": known.exact,
        "force": known.force,
        "also": known.also or (),
        "waive": known.waive or (),
        "against": known.against,
        "readmit": known.readmit,
        "wait_seconds": 600 if known.wait_seconds is None else known.wait_seconds,
    }


def _serve(mode, checkpoint, requests, config_dict, exact, force, also, waive, against, readmit, wait_seconds):
    """Run one command on the store of a checkpoint; exit codes as in ``EXIT_CODES``."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)  # only errors go to standard error
    if mode == "prepare":
        logging.info(
            f"Store: {service.prepare(checkpoint, config_dict, force, against=against, readmit=readmit).folder}"
        )
    elif mode == "dry_run":
        sys.exit(_code_of(service.dry_run(checkpoint, requests, config_dict).values(), waiting=0))
    elif mode == "verify":
        found = service.verify(checkpoint, also, waive)
        logging.info("\n".join(lines_of(found)))
        sys.exit(0 if found.is_clean() else 1)
    else:
        result = service.unlearn(checkpoint, requests, config_dict, exact, wait_seconds, force)
        sys.exit(
            _code_of([result["receipts"][request_id]["counts"] for request_id in result["status"]], result["waiting"])
        )


def _code_of(counts, waiting):
    """The exit code of a finished call.

    Args:
        counts: of the receipts of its requests, dicts.
        waiting: number of earlier requests that failed.
    """
    counts = list(counts)
    if counts and not any(each["found"] for each in counts):
        return NOT_FOUND
    return WAITING if waiting else 0


def _closest_switch(argument):
    """A hint at the option without a value that looks like the argument."""
    switches = ("--prepare", "--dry_run", "--exact", "--verify", "--resume")
    close = difflib.get_close_matches(argument, switches, n=1, cutoff=0.75)
    return f" Did you mean '{close[0]}'?" if close else ""


RUNS: dict[str, Callable] = {
    "checkpoint": _serve,
    "params_file": run_sweep,
    "seeds": run_seeds,
}  # by the argument that asks for it


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit codes as in ``EXIT_CODES``, with one line on standard error unless 0, 3 or 4."""
    if waits_for_torchrun():
        serve_torchrun()
        return
    try:
        parsed = parse(sys.argv[1:] if arguments is None else arguments)
        run: Callable = next((run for key, run in RUNS.items() if key in parsed), run_unlearn)
        run(**parsed)
    except UsageError as error:
        print(f"run_unlearn: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        again = "the same command with --resume" if "params_file" in parsed else "the same command"
        print(f"run_unlearn: interrupted; {again} continues from the files under checkpoint_dir.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        end_torchrun()
