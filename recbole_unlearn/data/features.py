"""Items by a feature of theirs, read from the dataset's ``.item`` file, whatever columns a run loads."""

import os

import pandas as pd
from recbole.utils import FeatureType

from recbole_unlearn.data.atomic import read_columns, read_header
from recbole_unlearn.data.refusal import EXAMPLES
from recbole_unlearn.errors import UsageError, unknown


def items_with(
    path: str,
    id_field: str,
    feature: str,
    values: list[str],
    separator: str = "\t",
    seq_separator: str = " ",
    encoding: str | None = None,
) -> pd.Series:
    """Tokens of the items that have one of some values of a feature.

    Args:
        path: an atomic ``.item`` file.
        id_field: its column of item tokens.
        feature: a column of type token, whose cell is one value, or token_seq, whose cell has several.
        values: texts, each exactly as in the file.
        separator, seq_separator, encoding: of the file; see RecBole's settings of these names.

    Raises:
        UsageError: there is no such file, column or value, or the column holds numbers.
    """
    if not os.path.isfile(path):
        raise UsageError(f"Setting 'forget_item_feature' needs the items' file '{path}', which does not exist.")
    header = read_header(path, separator, encoding)
    if id_field not in header:
        raise UsageError(f"'{path}' has no column '{id_field}'; it has {', '.join(header)}. See --ITEM_ID_FIELD=NAME.")
    kinds = {name: kind for name, kind in header.items() if name != id_field}
    if feature not in kinds:
        raise unknown(f"column in 'forget_item_feature' of '{path}'", feature, kinds)
    if kinds[feature] not in (FeatureType.TOKEN, FeatureType.TOKEN_SEQ):
        kind = kinds[feature].value
        raise UsageError(
            f"'{path}' gives column '{feature}' the type {kind}; forget_item_feature needs token or token_seq."
        )
    table = read_columns(path, separator, encoding, header, [name for name in header if name in (id_field, feature)])
    cells = table[feature]
    if kinds[feature] == FeatureType.TOKEN_SEQ:
        cells = cells.str.split(seq_separator).explode()
    present = pd.Index(cells).unique().drop("", errors="ignore")
    for value in values:
        if value not in present:
            raise unknown(f"value in 'forget_item_value' of column '{feature}' in '{path}'", value, present, EXAMPLES)
    chosen = cells.index[cells.isin(values)].unique()
    return table.loc[chosen, id_field]
