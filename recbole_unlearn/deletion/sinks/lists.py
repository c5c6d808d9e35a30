"""Lists of recommendations, and whose list changed."""

import os
from typing import Any

from recbole_unlearn.deletion.sinks.base import SINKS, Sink, none_of
from recbole_unlearn.deletion.sinks.content import Content
from recbole_unlearn.deletion.sinks.tables import read_table, write_table

LISTS, CHANGED = "lists.parquet", "changed.parquet"


@SINKS.register
class Lists(Sink):
    """Every user's top-K list as Parquet, and whose list changed, before and after.

    ``lists.parquet`` has a user and a list of items a row, highest score first, without what the user had or has made
    the store forget. ``changed.parquet`` has the users whose list differs from that of the version that this sink
    wrote before, with ``before`` and ``after``; an entry of ``before`` is null where the item is erased, or forgotten
    of this user. It is absent if the store no longer has that version.
    """

    def write(self, content: Content, folder: str) -> None:
        k, (user, item) = self.config["unlearn_sink_top"], content.names
        now = dict(content.lists(k))
        write_table(os.path.join(folder, LISTS), {user: list(now), item: list(now.values())})
        if content.before is None:
            return
        then = {token: items for token, items in content.before.lists(k) if token in now}
        changed = [token for token, items in now.items() if then.get(token) != items]
        remaining = set(content.rows["item"].tokens)

        def shown(user: str, items: list[str]) -> list[str | None]:
            return [each if each in remaining and not content.sought.is_pair(user, each) else None for each in items]

        before = [shown(token, then.get(token, [])) for token in changed]
        after = [now[token] for token in changed]
        write_table(os.path.join(folder, CHANGED), {user: changed, "before": before, "after": after})

    def verify(self, content: Content, folder: str) -> list[dict[str, Any]]:
        user, item = content.names
        table = read_table(os.path.join(folder, LISTS))
        expected = dict(content.lists(self.config["unlearn_sink_top"]))
        users = table[user] != list(expected)
        items = sum(there != wanted for there, wanted in zip(table[item], expected.values()))
        pairs = [(user, each) for user, entries in zip(table[user], table[item]) for each in entries]
        path = os.path.join(folder, CHANGED)
        if os.path.exists(path):
            changed = read_table(path)
            for side in ("before", "after"):
                pairs += [(of, each) for of, entries in zip(changed[user], changed[side]) for each in entries or ()]
        known = [set(content.rows[side].tokens) for side in ("user", "item")]
        left = sum(
            each is not None and (of not in known[0] or each not in known[1] or content.sought.is_pair(of, each))
            for of, each in pairs
        )
        return [
            none_of("tables whose users are not those of the version", int(users)),
            none_of("lists that are not the version's", items),
            none_of("erased users, erased items and forgotten interactions in lists", left),
        ]
