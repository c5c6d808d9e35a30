"""Recommendation unlearning for RecBole."""

import importlib
from typing import TYPE_CHECKING, Any

from recbole_unlearn import compat  # noqa: F401  (first: RecBole's own import needs it)

if TYPE_CHECKING:
    from recbole_unlearn.deletion.requests import DeletionRequest
    from recbole_unlearn.deletion.service import Deletion, unlearn
    from recbole_unlearn.quick_start import load_data_and_model, run_seeds, run_sweep, run_unlearn

__version__ = "1.2.0"
__all__ = ["Deletion", "DeletionRequest", "load_data_and_model", "run_seeds", "run_sweep", "run_unlearn", "unlearn"]

_HOME = {  # what is imported when it is asked for: a server that loads a model needs no trees, no figures and no sweeps
    "Deletion": "recbole_unlearn.deletion.service",
    "DeletionRequest": "recbole_unlearn.deletion.requests",
    "load_data_and_model": "recbole_unlearn.quick_start",
    "run_seeds": "recbole_unlearn.quick_start",
    "run_sweep": "recbole_unlearn.quick_start",
    "run_unlearn": "recbole_unlearn.quick_start",
    "unlearn": "recbole_unlearn.deletion.service",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
