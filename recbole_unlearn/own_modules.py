"""A user's own backbones and methods, from their files."""

import importlib
import sys
import traceback
from pathlib import Path

from recbole_unlearn.errors import UsageError, reason


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
                f"--import={file}: it ends the program ({_place_of(error)}): put what is no definition under "
                '`if __name__ == "__main__":`.'
            ) from error
        except Exception as error:  # whatever a user's code raises
            raise UsageError(
                f"--import={file}: {type(error).__name__}: {reason(error)} ({_place_of(error)})."
            ) from error
        if Path(getattr(module, "__file__", None) or "").resolve() != path:
            raise UsageError(f"--import={file}: another module has the name '{path.stem}': rename the file.")


def _place_of(error):
    """The file and line of an error: the last that is no part of the import's own machinery."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame for frame in reversed(frames) if not frame.filename.startswith("<frozen")), frames[-1])
    return f"{line.filename}, line {line.lineno}"
