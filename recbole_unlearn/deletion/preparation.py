"""The store of a checkpoint: made once, and opened from then on."""

import os
from logging import getLogger
from typing import Any

from recbole_unlearn.deletion.handover import check_ready
from recbole_unlearn.deletion.importing.checkpoint import import_checkpoint
from recbole_unlearn.deletion.logged import report_unread
from recbole_unlearn.deletion.revision.checks import check_first
from recbole_unlearn.deletion.revision.revise import trained
from recbole_unlearn.deletion.store import Store, carried
from recbole_unlearn.deletion.store.files import digest_of
from recbole_unlearn.deletion.store.layout import store_folder
from recbole_unlearn.deletion.suppression import Suppression
from recbole_unlearn.deletion.suppression.imported import check_imported
from recbole_unlearn.errors import UsageError
from recbole_unlearn.known_settings import check_deletion_settings


def prepare(
    checkpoint: str,
    config_dict: dict[str, Any] | None = None,
    force: bool = False,
    exact: bool = False,
    against: str | None = None,
    readmit: str | None = None,
) -> Store:
    """Make the store of a trained checkpoint, with the encoder that serves its requests. A store is made once.

    Args:
        checkpoint: written by this package, or by RecBole's own Trainer.
        config_dict: settings to change, e.g. ``data_path``.
        force: whether to accept a model whose table looks damaged.
        exact: whether the call that follows trains anew, and so reads the settings of a training.
        against: folder of the store of the model that this one replaces. The new data must be without what it forgot,
            and the new store goes on suppressing that.
        readmit: a file of those who have given consent anew, and since when; see
            :class:`~recbole_unlearn.deletion.suppression.readmission.Readmission`.

    Returns:
        The store: the existing one, if there is one.

    Raises:
        UsageError: the checkpoint does not exist or does not fit its data, or these hold what ``against`` forgot.
    """
    folder = store_folder(checkpoint)
    check_deletion_settings(config_dict)
    if "negative" == (config_dict or {}).get("ie_target"):
        raise UsageError(
            "A store revises with `ie_target: unseen`; the paper's encoder is for run_unlearn's comparisons."
        )
    if os.path.isdir(folder):
        report_unread(folder, config_dict, exact)
        return opened(folder, checkpoint, against)
    suppression = None if against is None else Suppression(against, readmit=readmit)
    getLogger().info(f"Preparing {folder}, once: {checkpoint} with its data, and the encoder")
    imported = import_checkpoint(checkpoint, config_dict)
    check_ready(imported.config)
    if suppression:
        check_imported(checkpoint, imported, suppression, str(against))
    state = imported.state()
    if not force:
        check_first(checkpoint, state)
    try:
        details = {**trained(state), "checkpoint": digest_of(checkpoint)}
        earlier = suppression.forgotten if suppression else []
        return Store.create(
            folder,
            lambda place: state.write(place, imported.write_rows),
            details={**details, **carried.details_of(earlier)},
            write_beside=lambda place: carried.write(place, earlier),
        )
    except UsageError:
        if os.path.isdir(folder):  # another process was faster
            return opened(folder, checkpoint, against)
        raise


def opened(folder: str, checkpoint: str, against: str | None = None) -> Store:
    """The store of a checkpoint; works without the checkpoint, which still knows the forgotten and may be deleted.

    Args:
        folder: of the store.
        checkpoint: that it was made from.
        against: folder of a store whose hashes it should carry.

    Raises:
        UsageError: the store is of another checkpoint, or does not carry the hashes.
    """
    store = Store(folder)
    if os.path.isfile(checkpoint) and digest_of(checkpoint) != store.current().details["checkpoint"]:
        raise UsageError(
            f"'{checkpoint}' is not what '{folder}' was made from: it was trained again. Move the store away, e.g. to "
            "OLD.store, and make the new one with --prepare --against=OLD.store, which checks that nothing forgotten "
            "is back."
        )
    if against is not None and not carried.is_carried(store, carried.forgotten_by(Store(against))):
        raise UsageError(
            f"'{folder}' was made without '{against}', or before its last requests. --against counts when a store is "
            "made: move this one away and prepare again, or name both stores when you filter data."
        )
    return store
