"""What requests that were applied together have in common, sealed one after the other."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from recbole_unlearn.deletion.store.database import explained, plain
from recbole_unlearn.deletion.store.ledger import Ledger

AT_A_TIME = 20


class Batches(Ledger):
    """The shared parts of receipts, in the order in which their requests were done.

    Some parts belong to no request: what was done later, such as a sink that was tried again.
    """

    def parts(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and content of each shared part, the newest first."""
        last = 2**62
        while self._has_batches():
            rows = self._query(
                "SELECT number, shared FROM batches WHERE number < ? ORDER BY number DESC LIMIT ?", last, AT_A_TIME
            )
            for row in rows:
                last = row["number"]
                with explained(self.folder):
                    content = plain(row["shared"])
                yield last, content
            if not rows:
                return

    def part(self, number: int) -> dict[str, Any]:
        """The content of a shared part."""
        with explained(self.folder):
            return plain(self._query("SELECT shared FROM batches WHERE number = ?", number)[0]["shared"])

    def without_request(self) -> list[int]:
        """Numbers of the parts that belong to no request, in order."""
        if not self._has_batches():
            return []
        rows = self._query(
            "SELECT number FROM batches WHERE number NOT IN (SELECT batch FROM requests WHERE batch IS NOT NULL) "
            "ORDER BY number"
        )
        return [row["number"] for row in rows]

    def seal(self, parts: Mapping[int, Mapping[str, Any]]) -> None:
        """Replace the content of parts, or add parts without a request; all of them or, on an error, none.

        Args:
            parts: number of a part, known or new, to its content.
        """
        with self._transaction() as db:
            for number, content in parts.items():
                db.execute(
                    "INSERT INTO batches VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET shared = excluded.shared",
                    (number, json.dumps(content)),
                )

    def _has_batches(self):
        """Whether the database has the table, which earlier releases did not make."""
        return bool(self._query("PRAGMA table_info(batches)"))
