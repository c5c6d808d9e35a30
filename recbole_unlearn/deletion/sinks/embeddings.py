"""Final embeddings with their tokens, and which of them changed."""

import os
from typing import Any

import numpy as np

from recbole_unlearn.deletion.sinks.base import SINKS, TOLERANCE, Sink, none_of
from recbole_unlearn.deletion.sinks.content import SIDES, Content, Rows
from recbole_unlearn.deletion.sinks.tables import read_table, write_table

CHANGED = "changed.parquet"


@SINKS.register
class Embeddings(Sink):
    """Final embeddings of users and items as Parquet and npy, and which of them changed.

    ``users.parquet`` and ``items.parquet`` have a token and its ``embedding`` a row; ``users.npy`` and ``items.npy``
    the embeddings alone, in the same order, float32. ``changed.parquet`` names the rows that differ from those of the
    version that this sink wrote before: ``side``, and ``token``, or ``erased``, the keyed hash of one that is gone. It
    is absent if there is no such version in the store: then take everything.
    """

    def write(self, content: Content, folder: str) -> None:
        changed: dict[str, list[str | None]] = {"side": [], "token": [], "erased": []}
        for side, name in zip(SIDES, content.names):
            rows = content.rows[side]
            write_table(os.path.join(folder, f"{side}s.parquet"), {name: rows.tokens, "embedding": rows.table})
            np.save(os.path.join(folder, f"{side}s.npy"), rows.table, allow_pickle=False)
            of_side = content.changed(side)
            if of_side is not None:
                there, gone = of_side
                hashes = sorted(_hash(content, side, token) for token in gone)  # in no order that tells who it was
                changed["side"] += [side] * (len(there) + len(gone))
                changed["token"] += [*there, *[None] * len(gone)]
                changed["erased"] += [*[None] * len(there), *hashes]
        if content.before is not None:
            write_table(os.path.join(folder, CHANGED), changed)

    def verify(self, content: Content, folder: str) -> list[dict[str, Any]]:
        labels = differences = foreign = 0
        for side, name in zip(SIDES, content.names):
            rows = content.rows[side]
            table = read_table(os.path.join(folder, f"{side}s.parquet"))
            labels += table.keys() != {name, "embedding"} or table[name] != rows.tokens.tolist()
            array = np.load(os.path.join(folder, f"{side}s.npy"), allow_pickle=False)
            differences += sum(_n_different(each, rows) for each in (table["embedding"], array))
        path = os.path.join(folder, CHANGED)
        if os.path.exists(path):
            table = read_table(path)
            known = {(side, token) for side in SIDES for token in content.rows[side].tokens}
            named = [entry for entry in zip(table["side"], table["token"]) if entry[1] is not None]
            foreign = sum(entry not in known for entry in named) + (table.keys() != {"side", "token", "erased"})
        return [
            none_of("tables whose tokens are not those of the version", labels),
            none_of("embeddings that are not the version's", differences),
            none_of("changed rows of anybody else", foreign),
        ]


def _hash(content, side, token):
    return content.keyed_hash(side, *((token, None) if side == "user" else (None, token)))


def _n_different(table: np.ndarray, rows: Rows) -> int:
    """The number of rows that are not the version's, up to rounding."""
    if table.shape != rows.table.shape or table.dtype != np.float32:
        return max(1, len(rows.table))
    return int((np.abs(table - rows.table) > TOLERANCE * np.abs(rows.table).max(initial=1e-30)).any(axis=1).sum())
