"""Save and load models: those of a run, and the current one of a store."""

from typing import Any, NamedTuple

import pandas as pd

from recbole_unlearn.config import Config
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.version.state import MODEL, file_of, read_data
from recbole_unlearn.errors import UsageError
from recbole_unlearn.model import Recommender
from recbole_unlearn.model_file import load_model, save_model

__all__ = ["Current", "load_current", "load_model", "save_model"]


class Current(NamedTuple):
    """The current version of a store; all fields are of the same version.

    Args:
        config: of its training.
        model: in evaluation mode.
        tokens: ``user`` and ``item`` to the list of external tokens, in the order of internal ids, None where erased.
        version: number of the version.
        data: ``train``, ``valid`` and ``test`` to a table of rows, texts and numbers; None unless asked for.
    """

    config: Config
    model: Recommender
    tokens: dict[str, list]
    version: int
    data: dict[str, pd.DataFrame] | None


def load_current(store: str, data: bool = False, config_dict: dict[str, Any] | None = None) -> Current:
    """Load the version that a store serves; another process may publish the next one meanwhile.

    A version stays for ``unlearn_grace_seconds`` after the next one is published. If loading takes longer, this loads
    the next one instead.

    Args:
        store: folder of a store.
        data: whether to read the remaining rows, too.
        config_dict: settings to change.

    Raises:
        UsageError: the store does not exist or is damaged.
    """
    while True:
        version = Store(store).current()
        try:
            version.check_files()
            config, model, tokens = load_model(file_of(version.folder, MODEL), config_dict)
            tables = read_data(version.folder, config["dataset"]) if data else None
            return Current(config, model, tokens, version.number, tables)
        except (OSError, UsageError):
            if Store(store).current().number == version.number:  # else the version may have been removed meanwhile
                raise
