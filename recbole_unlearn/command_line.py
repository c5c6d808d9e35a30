"""``run-unlearn COMMAND --key=value ...``: finds the command, parses its arguments, and makes errors one line each."""

import argparse
import importlib
import inspect
import sys
from collections.abc import Sequence
from types import ModuleType

from recbole_unlearn.arguments import OnceParser, names_of, settings_of
from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.known_settings import check_names, known_settings
from recbole_unlearn.own_modules import import_files
from recbole_unlearn.torchrun import end_torchrun, serve_torchrun, waits_for_torchrun

COMMANDS = (
    "run",
    "sweep",
    "delete",
    "serve",
    "verify",
    "receipt",
    "filter",
    "list",
)  # modules of commands/, as in the help
OLD_FORMS = {"--params_file": "sweep", "--checkpoint": "delete"}  # the option that asks for a command if none is named
INTERRUPTED = 130  # the exit code; it is the shell's after Ctrl-C
EXIT_CODES = (
    "Exit codes: 0 done; 1 verify is not clean, a receipt is not genuine, a sink failed, or a new version fails its "
    "checks and is kept aside; 2 wrong usage, or nothing was changed; 3 nothing that the requests name is found; "
    "4 earlier requests failed and wait; "
    "130 interrupted."
)
WITHOUT_A_COMMAND = "Without a command: delete if there is a --checkpoint, sweep if a --params_file, else run."


def parse(arguments: Sequence[str]) -> tuple[str, argparse.Namespace]:
    """Parse a command's arguments.

    Args:
        arguments: e.g. ``["run", "--model=SimGCL", "--dataset=ml-100k", "--epochs=5"]``; without a command as
            ``WITHOUT_A_COMMAND`` says.

    Returns:
        The name of the command, and its arguments with ``settings`` (a dict of strings), if it takes some.

    Raises:
        UsageError: an argument is unknown, empty, of another command, or comes twice with different values.
    """
    command, rest = _command_of(list(arguments))
    module, parser = _module(command), _parser(command)
    parsed, others = parser.parse_known_intermixed_args(rest)  # files may follow options
    for name, value in vars(parsed).items():
        typed = any(each.split("=")[0] in (f"--{name}", f"-{name[0]}") for each in rest)
        if value in ("", []) and typed:  # e.g. a shell's variable without a value: the option would vanish
            raise UsageError(f"--{name} is empty: give it a value, or leave it out.")
    import_files(getattr(parsed, "import", []))  # first: they have settings of their own
    _refuse_of_others(command, [other.partition("=")[0][2:] for other in others if other.startswith("--")])
    settings = settings_of(others, _switches)
    check_names(settings, dashes="--", options=(name for each in COMMANDS for name in names_of(_parser(each))))
    if settings and not _takes_settings(module):
        raise UsageError(f"{command} takes no settings: leave out --{next(iter(settings))}.")
    if _takes_settings(module):
        parsed.settings = settings
    return command, parsed


def _command_of(arguments):
    """The command's name and the arguments after it."""
    if arguments and not arguments[0].startswith("-"):
        if arguments[0] not in COMMANDS:
            raise unknown("command", arguments[0], COMMANDS)
        return arguments[0], arguments[1:]
    given = {argument.partition("=")[0] for argument in arguments}
    if "--checkpoint" in given and "--verify" in given:
        return "verify", [argument for argument in arguments if argument != "--verify"]
    return next((command for option, command in OLD_FORMS.items() if option in given), "run"), arguments


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"recbole_unlearn.commands.{command}")  # on demand: some need further libraries


def _takes_settings(module):
    return getattr(module, "TAKES_SETTINGS", False)


def _parser(command):
    module = _module(command)
    after = "Any setting of RecBole or of properties/*.yaml: --key=value. " if _takes_settings(module) else ""
    parser = OnceParser(
        prog=f"run-unlearn {command}",
        description=inspect.getdoc(module),
        epilog=f"{after}{EXIT_CODES}\n\nexamples:{module.EXAMPLES}",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def _switches():
    """The options of all commands that have no value, and the one that asks for verify where no command is named."""
    actions = [action for command in COMMANDS for action in _parser(command)._actions]
    options = {option[2:] for action in actions if action.nargs == 0 for option in action.option_strings}
    return sorted(options | {"verify"})


def _refuse_of_others(command, names):
    """Refuse an option of another command that is no setting of RecBole's or ours."""
    known = known_settings()
    for name in (each for each in names if each not in known):
        if name == "verify":
            raise UsageError("--verify needs --checkpoint, and is `run-unlearn verify` now.")
        theirs = [other for other in COMMANDS if other != command and name in names_of(_parser(other))]
        if theirs:
            raise UsageError(f"--{name} is an option of `run-unlearn {theirs[0]}`, not of `{command}`.")


def overview() -> str:
    """The help without a command."""
    width = 2 + max(map(len, COMMANDS))
    lines = [f"  {name:{width}}{(inspect.getdoc(_module(name)) or '').splitlines()[0]}" for name in COMMANDS]
    return "\n".join(
        [
            "usage: run-unlearn COMMAND [--key=value ...]",
            "",
            "Make a trained RecBole recommender forget interactions, users or items, and see how well it did.",
            "",
            *lines,
            "",
            f"{WITHOUT_A_COMMAND} `run-unlearn COMMAND --help` says more; --version names versions.",
            EXIT_CODES,
        ]
    )


def versions() -> str:
    """The versions that a report of a fault needs."""
    import recbole
    import torch

    import recbole_unlearn

    return f"recbole-unlearn {recbole_unlearn.__version__} (RecBole {recbole.__version__}, torch {torch.__version__})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit codes as in ``EXIT_CODES``, with one line on standard error unless 0, 3 or 4."""
    if waits_for_torchrun():
        serve_torchrun()
        return
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = None
    try:
        if given[:1] in (["--help"], ["-h"]):
            print(overview())
        elif given[:1] == ["--version"]:
            print(versions())
        else:
            command, parsed = parse(given)
            code = _module(command).run(parsed)
            if code:
                sys.exit(code)
    except UsageError as error:
        print(f"run_unlearn: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        what = getattr(_module(command), "AFTER_INTERRUPTION", None) if command else None
        print(f"run_unlearn: interrupted; {what or 'run the same command again'}.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        end_torchrun()
