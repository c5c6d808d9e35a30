"""Checks that the data of a new checkpoint are without what an earlier store has forgotten."""

import numpy as np

from recbole_unlearn.data.interactions import source_of
from recbole_unlearn.deletion.importing.checkpoint import Imported
from recbole_unlearn.deletion.suppression.suppression import Suppression, described
from recbole_unlearn.deletion.suppression.times import seconds_of
from recbole_unlearn.deletion.suppression.tokens import Tokens
from recbole_unlearn.errors import UsageError


def check_imported(checkpoint: str, imported: Imported, suppression: Suppression, earlier: str) -> None:
    """Refuse a checkpoint whose training, validation or test data hold what an earlier store has forgotten.

    Args:
        checkpoint: its path, for the message.
        imported: the checkpoint.
        suppression: of the earlier store.
        earlier: that store's folder, for the message.

    Raises:
        UsageError: gives the numbers of rows by kind.
    """
    counts = [_judged(imported, part, suppression).counts() for part in imported.parts]
    found = {kind: sum(of_part[kind] for of_part in counts) for kind in counts[0]}
    if any(found.values()):
        raise UsageError(
            f"The data of '{checkpoint}' hold {sum(found.values()):,} rows of what '{earlier}' forgot: "
            f"{described(found)}. Filter the data with `run-unlearn filter --store={earlier} FILE`, train on the "
            "result, and prepare that checkpoint."
        )


def _judged(imported, part, suppression):
    """The rows of a part of the data, judged."""
    data = imported.parts[part]
    ids = {"user": data.uid_field, "item": data.iid_field}
    sides = {side: Tokens(data.inter_feat[name].numpy(), list(imported.tokens[side])) for side, name in ids.items()}
    return suppression.judge(sides["user"], sides["item"], _times_of(data))


def _times_of(data):
    """Gives the times of rows, if the data have any."""
    if data.time_field not in data.inter_feat:
        return None
    values = source_of(data.inter_feat).get(data.time_field, data.inter_feat[data.time_field])
    return lambda rows: seconds_of(np.asarray(values)[rows].tolist())
