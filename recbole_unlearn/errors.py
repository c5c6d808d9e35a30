"""Errors that a user can mend: one line that says what is wrong, where, and what to do."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """Wrong input. The command line prints its message without a traceback and exits with ``exit_code``."""

    exit_code = 2


class NoResult(UsageError):
    """A method has no result on this model and these data. Its row of the report says so, and the others go on."""


class Diverged(NoResult):
    """A training or an estimate is unusable; no model is saved."""


class FailedChecks(UsageError):
    """A new version of a store fails its checks and is not published.

    Args:
        message: one line.
        checks: names of the failed checks.
        folder: where its files are kept aside.
    """

    exit_code = 1

    def __init__(self, message: str, checks: list[str], folder: str) -> None:
        super().__init__(message)
        self.checks, self.folder = checks, folder


def reason(error: Exception) -> str:
    """Why a library could not read something, in one line, from the error that it has raised."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return (str(error) or type(error).__name__).splitlines()[0]


def unknown(kind: str, name: str, choices: Iterable[str], most: int | None = None) -> UsageError:
    """The error for an unknown name. It lists the choices, the closest first; the caller raises it.

    Args:
        kind: what the name should be, e.g. ``"model"``.
        name: the name as given.
        choices: the names that exist.
        most: of them to list; default all.
    """
    choices = sorted(choices)
    close = closest(str(name), choices, number=3, cutoff=0.5)
    ordered = close + [choice for choice in choices if choice not in close]
    hint = f"Did you mean '{close[0]}'? " if close else ""
    listed = ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if most and len(ordered) > most else "")
    return UsageError(f"Unknown {kind} '{name}'. {hint}Available: {listed}.")


def closest(name: str, choices: Iterable[str], number: int, cutoff: float) -> list[str]:
    """At most ``number`` of the choices that are like a name in either case, the most alike first.

    Args:
        cutoff: the least likeness, from 0 to 1, of :func:`difflib.get_close_matches`.
    """
    by_lower = {choice.lower(): choice for choice in choices}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, number, cutoff)]
