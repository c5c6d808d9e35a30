"""Recommendation unlearning for RecBole."""

from recbole_unlearn import compat  # noqa: F401  (first: RecBole's own import needs it)
from recbole_unlearn.deletion.request_file import DeletionRequest
from recbole_unlearn.deletion.service import unlearn
from recbole_unlearn.quick_start import load_data_and_model, run_seeds, run_sweep, run_unlearn

__version__ = "0.1.0"
__all__ = ["DeletionRequest", "load_data_and_model", "run_seeds", "run_sweep", "run_unlearn", "unlearn"]
