"""Reads RecBole's atomic files: text stays text, numbers keep their digits, and an error is one line."""

import codecs
import csv
import re
from collections.abc import Iterable

import pandas as pd
from recbole.utils import FeatureType

from recbole_unlearn.errors import UsageError

SEPARATORS = ("\t", ",", ";", "|", " ")
TYPES = ", ".join(kind.value for kind in FeatureType)
# Up to pandas 3.0, pandas reads numbers to the last digit only on request; later versions deprecate that option.
EXACT = {"float_precision": "round_trip"} if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1) else {}
READ_AS_MISSING = (  # pandas, and so RecBole, reads these as missing, in ids too
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"]
    + ["NULL", "NaN", "None", "n/a", "nan", "null"]
)


def read_header(path: str, separator: str, encoding: str | None) -> dict[str, FeatureType]:
    """The fields of an atomic file and their types.

    Args:
        path: the file; its first line is ``NAME:TYPE`` for each column.
        separator: between columns.
        encoding: of the text; None is UTF-8. A byte order mark is dropped.

    Returns:
        Field names to :class:`FeatureType`, in the order of the file.

    Raises:
        UsageError: the file cannot be read, or its first line is not of that form.
    """
    try:
        with open(path, encoding=with_mark(encoding)) as file:
            line = file.readline().rstrip("\n")
    except (OSError, UnicodeError, LookupError) as error:
        raise _unreadable(path, error, encoding) from None
    if not line.strip():
        raise UsageError(f"'{path}' is empty; its first line names the columns, e.g. user_id:token<TAB>item_id:token.")
    fields = {}
    for cell in _cells(line, separator):
        name, colon, kind = cell.partition(":")
        if not (name and colon) or ":" in kind:
            raise UsageError(
                f"'{path}' has the column '{cell}' in its first line, which is not NAME:TYPE.{_hint(line, separator)}"
            )
        if kind not in TYPES.split(", "):
            raise UsageError(f"'{path}' gives column '{name}' the type '{kind}'; types are {TYPES}.")
        if name in fields:
            raise UsageError(f"'{path}' has the column '{name}' twice in its first line.")
        fields[name] = FeatureType(kind)
    return fields


def read_columns(
    path: str, separator: str, encoding: str | None, header: dict[str, FeatureType], fields: list[str]
) -> pd.DataFrame:
    """Read some columns of an atomic file.

    Args:
        path, separator, encoding: see :func:`read_header`.
        header: the result of :func:`read_header`.
        fields: the columns to read, in the order of the file.

    Returns:
        One column for each field. A ``float`` column is int64 if all its numbers are whole, else float64 with NaN for a
        missing one (:data:`READ_AS_MISSING`). Every other column is the file's text, empty where there is none.

    Raises:
        UsageError: the file cannot be read, a row has too few or too many cells, or a number is text.
    """
    numbers = [place for place, kind in enumerate(header.values()) if kind == FeatureType.FLOAT]
    fast = len(separator) == 1  # pandas' parser in C, which reads a longer separator as a regular expression
    options = {"engine": "c", "low_memory": False, **EXACT} if fast else {"engine": "python"}
    try:
        table = pd.read_csv(
            path,
            sep=separator if fast else re.escape(separator),
            header=None,
            skiprows=1,
            dtype={place: str for place in range(len(header)) if place not in numbers},
            keep_default_na=False,
            na_values={place: READ_AS_MISSING for place in numbers},
            encoding="utf-8" if _is_utf8(encoding) else encoding,
            **options,
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame(
            {field: pd.Series(dtype=float if header[field] == FeatureType.FLOAT else str) for field in fields}
        )
    except (OSError, UnicodeError) as error:
        raise _unreadable(path, error, encoding) from None
    except (pd.errors.ParserError, ValueError) as error:
        check_cells(path, separator, encoding, len(header))
        raise UsageError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from None
    # pandas fills a row with too few cells, so that it ends with an empty one.
    last = table.iloc[:, -1]
    if table.shape[1] != len(header) or last.isna().any() or (last.dtype.kind not in "iuf" and (last == "").any()):
        check_cells(path, separator, encoding, len(header))
    table.columns = list(header)
    for field in fields:
        if header[field] == FeatureType.FLOAT and table[field].dtype.kind not in "if":
            table[field] = _as_float64(table[field], path)
    return table[fields]


def _as_float64(column: pd.Series, path: str) -> pd.Series:
    """Convert a column that has text, or whole numbers beyond an int64."""
    text = column.astype(str).where(column.notna())
    numbers = pd.to_numeric(text, errors="coerce")
    strange = numbers.isna() & text.notna()
    if strange.any():
        row = strange.to_numpy().argmax()
        raise UsageError(f"'{path}' has {text[row]!r} in row {row + 1} of '{column.name}', whose type is float.")
    return numbers.astype("float64")


def check_cells(path: str, separator: str, encoding: str | None, n_columns: int) -> None:
    """Refuse the first row whose number of cells is not ``n_columns``, as the first line has.

    Raises:
        UsageError: names the line.
    """
    with open(path, encoding=with_mark(encoding), newline="") as file:
        if len(separator) == 1:
            reader = csv.reader(file, delimiter=separator)
            rows: Iterable[tuple[int, list[str]]] = (
                (reader.line_num, row) for row in reader
            )  # a row in quotes may have several lines
        else:
            rows = enumerate((_cells(line.rstrip("\r\n"), separator) for line in file), start=1)
        try:
            for number, row in rows:
                blank = not row or (len(row) == 1 and not row[0].strip())
                if len(row) != n_columns and not blank:
                    raise UsageError(
                        f"'{path}' has {len(row)} cell(s) in line {number}, not {n_columns} as its first line has."
                    )
        except csv.Error:
            return  # pandas' own message says as much


def _cells(line, separator):
    return next(csv.reader([line], delimiter=separator)) if len(separator) == 1 else line.split(separator)


def _hint(line, separator):
    """Name the separator that the first line has instead."""
    for other in SEPARATORS:
        cells = line.split(other)
        if other != separator and len(cells) > 1 and all(cell.count(":") == 1 for cell in cells):
            if other == "\t":
                return " Its columns are separated by a tab: leave `field_separator` out."
            return f" Its columns are separated by '{other}': --field_separator='{other}'."
    return " First line e.g. user_id:token<TAB>item_id:token."


def _is_utf8(encoding):
    return encoding is None or codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def with_mark(encoding: str | None) -> str:
    """The encoding that drops a byte order mark."""
    return "utf-8-sig" if encoding is None or _is_utf8(encoding) else encoding


def _unreadable(path, error, encoding):
    if isinstance(error, (UnicodeError, LookupError)):
        return UsageError(
            f"'{path}' is not text in the encoding {encoding or 'UTF-8'}: {error}. "
            "Set `encoding`, e.g. --encoding=latin-1."
        )
    return UsageError(f"'{path}' cannot be read: {error.strerror or error}.")
