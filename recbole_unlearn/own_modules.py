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
        sys.path.insert(0, str(path.parent))
        importlib.invalidate_caches()
        try:
            module = importlib.import_module(path.stem)
        except Exception as error:  # whatever a user's code raises
            line = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{line.filename}, line {line.lineno}"
            raise UsageError(f"--import={file}: {type(error).__name__}: {reason(error)} ({where}).") from error
        if Path(getattr(module, "__file__", None) or "").resolve() != path:
            raise UsageError(f"--import={file}: another module has the name '{path.stem}': rename the file.")
