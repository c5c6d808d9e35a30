"""Reads rows of what to forget, and guesses nothing.

A row names a user, an item, or both. Messages name lines, not users or items, because logs outlive a deletion.
"""

from collections.abc import Collection, Iterable

import pandas as pd

from recbole_unlearn.data.refusal import refuse, unnamed
from recbole_unlearn.data.request_regulations import read_regulations
from recbole_unlearn.data.request_source import ENDINGS, FORMATS, RequestSource
from recbole_unlearn.data.request_tables import read_parquet, read_query
from recbole_unlearn.data.request_text import read_delimited, read_json_lines
from recbole_unlearn.errors import UsageError

PERSONALIZE = "USER_ID"  # the only column of Amazon Personalize's data deletion jobs


def read_rows(
    source: RequestSource,
    user_field: str,
    item_field: str,
    optional: Iterable[str] = (),
    separator: str | None = None,
    encoding: str = "utf-8-sig",
) -> pd.DataFrame:
    """Read rows that name a user (its item is None), an item (its user is None) or an interaction.

    Args:
        source: a file with a header and a separator, with a JSON object a line, of Parquet or of another service, or a
            query.
        user_field, item_field: names of the id columns; the rows may lack one of them.
        optional: names of other columns that the rows may have.
        separator: between the cells of a file whose format neither ``source.format`` nor its ending says, and of an
            atomic file; default a tab.
        encoding: of a file with a separator.

    Returns:
        A table of ``user``, ``item`` and the optional columns that there are, as text; the index is the number of the
        line or row.

    Raises:
        UsageError: the source cannot be read, has no rows, or anything in it is malformed or ambiguous.
    """
    ids, optional = {user_field: "user", item_field: "item"}, [name for name in optional if name]
    if source.kind == "personalize":
        ids, optional = {PERSONALIZE: "user"}, []
    if source.kind is None and separator is None:
        raise UsageError(
            f"{source} should end in {', '.join(ENDINGS)}, which says its format, or have a --forget_format: "
            f"{', '.join(FORMATS)}."
        )
    allowed = {*ids, *optional}
    table = _read(source, ids, allowed, separator, encoding)
    columns = list(table.columns)
    if len(set(columns)) < len(columns) or set(columns) - allowed or not {*ids} & {*columns}:
        # The message does not name them: without a header, they are somebody's tokens.
        strange = len(columns) - len({*columns} & allowed)
        each = " or ".join(ids) + (" or both" if len(ids) > 1 else "")
        others = f", and optionally {', '.join(name for name in optional if name not in ids)}" if optional else ""
        where = "it" if source.path is None else "its first line"
        raise UsageError(
            f"{source} has {strange} of {len(columns)} columns that are unknown or repeated, or no ids; "
            f"{where} should name {each}{others}, each once."
        )
    if table.empty:
        raise UsageError(f"{source} has no rows.")
    columns = [name for name in columns if name not in ids]
    table = table.reindex(columns=[*ids, *columns], fill_value="").rename(columns=ids)
    table = table.reindex(columns=["user", "item", *columns], fill_value="")
    for side in ("user", "item"):
        table[side] = pd.Series([token or None for token in table[side]], index=table.index, dtype=object)
    refuse(source, unnamed(table), table["user"].isna() & table["item"].isna(), "have neither a user nor an item")
    return table


def _read(
    source: RequestSource, ids: Collection[str], allowed: Collection[str], separator: str | None, encoding: str
) -> pd.DataFrame:
    """The cells of a source as text, a column for each that it has."""
    kind, path = source.kind, source.path
    if kind == "query":
        return read_query(source, ids)
    assert path is not None
    if kind == "parquet":
        return read_parquet(source, ids)
    if kind == "jsonl":
        return read_json_lines(path)
    if kind == "segment":
        return read_regulations(source, next(iter(ids)))
    commas = kind in ("csv", "personalize")
    return read_delimited(path, "," if commas else separator or "\t", allowed, encoding)
