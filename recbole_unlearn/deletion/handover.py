"""What follows a new version: sinks hand it on, and the receipts are sealed with what they did."""

from typing import Any

from recbole_unlearn.config import Config
from recbole_unlearn.deletion.receipt.chain import seal
from recbole_unlearn.deletion.receipt.signature import read_private, signing_key
from recbole_unlearn.deletion.sinks import deliver
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.version.state import State


def check_ready(config: Config) -> None:
    """Refuse to begin if a sink or the key that signs receipts cannot be used.

    Raises:
        UsageError: says why.
    """
    deliver.check_ready(config)
    if config["unlearn_signing_key"]:
        read_private(config["unlearn_signing_key"])


def hand_over(store: Store, state: State) -> list[dict[str, Any]]:
    """Let the sinks that are behind write the current version, and seal the receipts that wait for it.

    Args:
        store: locked.
        state: of its current version.

    Returns:
        What the sinks did, see :func:`~recbole_unlearn.deletion.sinks.deliver.deliver`.
    """
    sinks = deliver.deliver(store, state)
    seal(store, sinks, lambda: signing_key(store.folder, state.config["unlearn_signing_key"]))
    return sinks
