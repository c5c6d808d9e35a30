"""Reads rows of what to forget from tables with types: Parquet files, and queries of databases."""

import os
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from numbers import Integral, Real
from typing import Any
from uuid import UUID

import pandas as pd

from recbole_unlearn.data.refusal import refuse, unnamed
from recbole_unlearn.data.request_source import RequestSource
from recbole_unlearn.errors import UsageError

# Statements by which a database refuses to write in what follows; others have to be asked by an account that may only
# read.
READ_ONLY = {"sqlite": "PRAGMA query_only = ON"}


def read_parquet(source: RequestSource, ids: Iterable[str]) -> pd.DataFrame:
    """A Parquet file's cells as text, empty where there is none.

    Args:
        source: of a file.
        ids: names of columns that may not hold fractions.

    Returns:
        A column for each of the file; the index is the row's number, from 1.

    Raises:
        UsageError: the file cannot be read, or a cell is neither text, nor a whole number, nor a time.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(source.path).read()
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror or type(error).__name__}.") from None
    except ValueError as error:
        raise UsageError(f"{source} is no whole Parquet file ({type(error).__name__}).") from None
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", column.type.tz), safe=False)  # Python's have no nanoseconds
        columns.append(column.to_pylist())
    return _as_text(source, table.column_names, columns, ids)


def read_query(source: RequestSource, ids: Iterable[str]) -> pd.DataFrame:
    """The cells of a query's rows as text; see :func:`read_parquet`. The query changes nothing: nothing is committed.

    Raises:
        UsageError: the database or the query cannot be read. The message does not repeat the database's, which may
            quote a password, the query or a row.
    """
    try:
        import sqlalchemy
    except ImportError:
        raise UsageError("--forget_url needs SQLAlchemy: pip install 'recbole-unlearn[sql]'.") from None
    given = source.full_url()
    try:
        url = sqlalchemy.make_url(given)
        engine = sqlalchemy.create_engine(url, hide_parameters=True)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--forget_url needs the database's driver: install the Python package {error.name}."
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, ValueError):
        raise UsageError("--forget_url is no URL of a database, e.g. sqlite:///requests.db.") from None
    _check_there(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name in READ_ONLY:
                connection.exec_driver_sql(READ_ONLY[engine.dialect.name])
            result = connection.execute(sqlalchemy.text(source.query or ""))
            if not result.returns_rows:
                raise UsageError("--forget_query returns no rows: give one that only reads, SELECT ...")
            names = list(result.keys())
            rows = result.fetchall()
    except sqlalchemy.exc.SQLAlchemyError as error:
        kind = type(getattr(error, "orig", None) or error).__name__
        raise UsageError(
            f"The database refuses --forget_query, or does not answer ({kind}): try its own client, which says more."
        ) from None
    finally:
        engine.dispose()
    return _as_text(source, names, [list(column) for column in zip(*rows)] or [[] for _ in names], ids)


def _check_there(url):
    """SQLite makes an empty database where there is none."""
    name = url.database
    if url.get_backend_name() == "sqlite" and name not in (None, "", ":memory:") and not name.startswith("file:"):
        if not os.path.isfile(name):
            raise UsageError(f"--forget_url: there is no database at '{name}'.")


def _as_text(source: RequestSource, names: list[str], columns: list[list[Any]], ids: Iterable[str]) -> pd.DataFrame:
    n_rows = len(columns[0]) if columns else 0
    index = pd.RangeIndex(1, n_rows + 1, name="row")
    notes = unnamed(pd.DataFrame(index=index))
    texts = []
    for name, column in zip(names, columns):
        strange = [not _is_cell(value) for value in column]
        refuse(source, notes, strange, "have a cell that is neither text nor a number nor a time")
        problem = "have an id that is a fraction: give texts, or whole numbers (1.0 is not 1)"
        refuse(source, notes, [name in ids and _is_fraction(value) for value in column], problem)
        texts.append(pd.Series(map(_text, column), index=index, dtype=object))
    table = pd.concat(texts, axis=1) if texts else pd.DataFrame(index=index)
    table.columns = names
    return table


def _is_fraction(value):
    if isinstance(value, Decimal):
        return "." in str(value) or value % 1 != 0
    return isinstance(value, Real) and not isinstance(value, Integral)


def _is_cell(value):
    if isinstance(value, Decimal):
        return value.is_finite()
    return value is None or (isinstance(value, (str, Real, date, UUID)) and not isinstance(value, bool))


def _text(value):
    if value is None:
        return ""
    if isinstance(value, date):
        return value.isoformat()
    whole = isinstance(value, (Real, Decimal)) and value == value and value == value // 1
    return str(int(value)) if whole else str(value)
