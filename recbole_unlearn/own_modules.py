"""A user's own backbones and methods, from their files."""

import importlib
import sys
import traceback
from pathlib import Path

from recbole_unlearn.errors import UsageError, reason
from recbole_unlearn.registry import LIBRARIES


def import_files(files: list[str]) -> None:
    """Import Python files, which register classes; workers import them by the same names.

    Raises:
        UsageError: a file is missing, raises an error, or has the name of a module that is there.
    """
    for file in files:
        path = Path(file).resolve()
        if path.suffix != ".py" or not path.is_file():
            raise UsageError(f"--import: there is no Python file '{file}'.")
        if "." in path.stem:
            raise UsageError(f"--import={file}: the name of a module has no dot: rename the file.")
        sys.path.insert(0, str(path.parent))
        importlib.invalidate_caches()
        try:
            module = importlib.import_module(path.stem)
        except SystemExit as error:
            raise UsageError(
                f"--import={file}: it ends the program{source_line(error)}: put what is no definition under "
                '`if __name__ == "__main__":`.'
            ) from error
        except Exception as error:  # whatever a user's code raises
            raise UsageError(
                f"--import={file}: {type(error).__name__}: {reason(error)}{source_line(error)}."
            ) from error
        if Path(getattr(module, "__file__", None) or "").resolve() != path:
            raise UsageError(f"--import={file}: another module has the name '{path.stem}': rename the file.")


def source_line(error: BaseException) -> str:
    """The line of the user's own code that an error comes from, e.g. `` (mine.py, line 3)``; empty if none is known."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_globals.get("__name__", "").partition(".")[0] not in {*LIBRARIES, "importlib"}:
            return f" ({frame.f_code.co_filename}, line {line})"
    return ""
