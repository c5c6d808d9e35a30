"""Requests from Parquet, databases, Segment and Amazon Personalize: the same as from a CSV, and the same refusals."""

import json
import sqlite3
import sys
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from served import as_typed, contents, current, data_of, without

from recbole_unlearn.data.request_source import RequestSource
from recbole_unlearn.deletion import service
from recbole_unlearn.deletion.requests import DeletionRequest, read_requests
from recbole_unlearn.errors import UsageError
from recbole_unlearn.task import prepare_data

CSV = "user_id,item_id,request_id,received_at\n196,,r1,2026-11-20T09:00\nu 2,007,r2,1763632800\n,i1,r1,\n196,,r1,2026-11-19\n"
ROWS = [
    {"user_id": "196", "item_id": None, "request_id": "r1", "received_at": "2026-11-20T09:00"},
    {"user_id": "u 2", "item_id": "007", "request_id": "r2", "received_at": "1763632800"},
    {"user_id": None, "item_id": "i1", "request_id": "r1", "received_at": None},
    {"user_id": "196", "item_id": None, "request_id": "r1", "received_at": "2026-11-19"},
]


def read(source):
    return read_requests(source, "user_id", "item_id")


@pytest.fixture
def expected(tmp_path):
    path = tmp_path / "expected.csv"
    path.write_text(CSV)
    return read(str(path))


def database(path, rows=ROWS, table="erasures"):
    with sqlite3.connect(path) as db:
        pd.DataFrame(rows).to_sql(table, db, index=False)
    db.close()
    return f"sqlite:///{path}"


def refused(source, message):
    with pytest.raises(UsageError, match=message) as error:
        read(source() if callable(source) else source)
    assert "\n" not in str(error.value) and "secret" not in str(error.value)
    return str(error.value)


def test_parquet_and_queries_give_the_requests_of_a_csv(expected, tmp_path):
    path = str(tmp_path / "r.parquet")
    pd.DataFrame(ROWS).to_parquet(path)
    assert read(path) == read(RequestSource(path)) == expected
    renamed = Path(path).rename(tmp_path / "r.data")
    assert read(RequestSource(str(renamed), format="parquet")) == expected
    (tmp_path / "r.txt").write_text(CSV)
    assert read(RequestSource(str(tmp_path / "r.txt"), format="csv")) == expected
    url = database(tmp_path / "r.db")
    assert read(RequestSource(url=url, query="SELECT * FROM erasures")) == expected
    query = "SELECT 7 AS user_id, NULL AS item_id UNION SELECT user_id, NULL FROM erasures WHERE request_id = 'r2'"
    (request,) = read(RequestSource(url=url, query=query))
    assert request.rows == (("user", "7", None), ("user", "u 2", None)) and request.request_id.startswith("file-")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_types_of_parquet(tmp_path, unit, zone):
    path = tmp_path / "r.parquet"
    moment = datetime(2026, 11, 20, 9, tzinfo=timezone.utc)
    columns = {
        "user_id": pa.array([7, None, 2**53 + 1], pa.int64()),
        "item_id": pa.array([None, "i1", None], pa.string()).dictionary_encode(),
        "received_at": pa.array([moment] * 3, pa.timestamp(unit, zone)),
    }
    pq.write_table(pa.table(columns), path, version="2.6")
    (request,) = read(str(path))
    assert request.rows == (("item", None, "i1"), ("user", "7", None), ("user", str(2**53 + 1), None))
    assert request.received_at == "2026-11-20T09:00:00+00:00"


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"user_id": [7.0, None]}, r"1 of 2 rows have an id that is a fraction: .*1\.0 is not 1.* e\.g\. row 1"),
        ({"user_id": [Decimal("7.5")]}, "1 of 1 rows have an id that is a fraction"),
        ({"user_id": [Decimal("7.0")]}, "1 of 1 rows have an id that is a fraction"),
        ({"user_id": ["a", "b"], "item_id": ["i", "i"], "secret": [1, 2]}, "1 of 3 columns that are unknown"),
        ({"user_id": [["secret"]]}, "1 of 1 rows have a cell that is neither text"),
        ({"user_id": [b"secret"]}, "1 of 1 rows have a cell that is neither text"),
        ({"user_id": [True]}, "1 of 1 rows have a cell that is neither text"),
        ({"user_id": ["secret", "", None]}, "2 of 3 rows have neither a user nor an item, e.g. row 2; row 3"),
        ({"scope": ["user"]}, "no ids; its first line should name user_id or item_id or both"),
        ({"user_id": []}, "has no rows"),
        ({"user_id": ["secret"], "received_at": ["secret"]}, "received_at that is neither ISO 8601"),
    ],
)
def test_what_a_table_refuses(tmp_path, columns, message):
    path = str(tmp_path / "r.parquet")
    pq.write_table(pa.table(columns), path)
    refused(path, message)


def test_parquet_files_that_are_none(tmp_path):
    path = tmp_path / "r.parquet"
    refused(str(path), "cannot be read")
    pd.DataFrame(ROWS).to_parquet(path)
    for content in (b"", b"secret", path.read_bytes()[:-9], path.read_bytes()[:60]):
        path.write_bytes(content)
        refused(str(path), "no whole Parquet file")


# Databases


def test_a_query_changes_nothing_and_makes_no_database(tmp_path):
    url = database(tmp_path / "r.db")
    before = (tmp_path / "r.db").read_bytes()
    for query in ("DELETE FROM erasures", "DROP TABLE erasures", "CREATE TABLE secret (a)", "VACUUM", "SELECT secret"):
        refused(RequestSource(url=url, query=query), r"The database refuses --forget_query|returns no rows")
        assert (tmp_path / "r.db").read_bytes() == before
    refused(RequestSource(url=url, query="DELETE FROM erasures RETURNING user_id"), "refuses --forget_query")
    refused(RequestSource(url=url, query="PRAGMA query_only = OFF"), "returns no rows")
    refused(RequestSource(url=f"sqlite:///{tmp_path}/gone.db", query="SELECT 1"), "no database at")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["r.db"]
    assert (tmp_path / "r.db").read_bytes() == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"query": "SELECT 1"}, "need each other"),
        ({"url": "sqlite:///r.db"}, "need each other"),
        ({}, "give one"),
        ({"path": "r.csv", "url": "sqlite:///r.db", "query": "SELECT 1"}, "give one"),
        ({"url": "sqlite:///r.db", "query": "SELECT 1", "format": "csv"}, "leave it out"),
        ({"path": "r.csv", "format": "xml"}, "one of inter, csv"),
        ({"url": "postgresql://me:secret@host/db", "query": "SELECT 1"}, "has a password"),
        ({"url": "postgresql://host/db?password=secret", "query": "SELECT 1"}, "has a password"),
        ({"url": "postgresql://me:secret[@host/db", "query": "SELECT 1"}, "has a password"),
        ({"url": "env:UNLEARN_NO_SUCH", "query": "SELECT 1"}, "no variable 'UNLEARN_NO_SUCH'"),
        ({"url": "secret", "query": "SELECT 1"}, "no URL of a database"),
        ({"url": "nosuch://host/db", "query": "SELECT 1"}, "no URL of a database"),
        ({"url": "postgresql+psycopg2://host/db", "query": "SELECT 1"}, "install the Python package psycopg2"),
    ],
)
def test_sources_that_are_none(arguments, message):
    refused(lambda: RequestSource(**arguments), message)


def test_a_password_in_the_environment_is_used_and_never_shown(tmp_path, monkeypatch, expected):
    monkeypatch.setenv("UNLEARN_URL", database(tmp_path / "r.db"))
    source = RequestSource(url="env:UNLEARN_URL", query="SELECT * FROM erasures")
    assert read(source) == expected
    monkeypatch.setenv("UNLEARN_URL", "mysql+nosuch://me:secret@host/db")
    refused(source, "no URL of a database")
    assert "erasures" not in repr(source)


def test_without_sqlalchemy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    refused(RequestSource(url="sqlite:///r.db", query="SELECT 1"), r"pip install 'recbole-unlearn\[sql\]'")


# Other services

NEW = {"regulationType": "SUPPRESS_WITH_DELETE", "subjectType": "USER_ID", "subjectIds": ["196", 7, "u 2"]}
OLD = {"regulation_type": "Suppress_With_Delete", "attributes": {"name": "userId", "values": ["196", "7", "u 2"]}}
USERS = (("user", "196", None), ("user", "7", None), ("user", "u 2", None))


def segment(tmp_path, text):
    path = tmp_path / "segment.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return RequestSource(str(path), format="segment")


def test_regulations_of_segment(tmp_path):
    for content in (NEW, OLD, [NEW, OLD], f"{json.dumps(NEW)}\n\n{json.dumps(OLD)}\n", json.dumps(NEW, indent=1)):
        (request,) = read(segment(tmp_path, content))
        assert request.rows == USERS and request.received_at is None


@pytest.mark.parametrize(
    "content, message",
    [
        ({**NEW, "regulationType": "UNSUPPRESS"}, "regulation 1 does not delete users"),
        ({**NEW, "regulationType": "SUPPRESS_ONLY"}, "does not delete users"),
        ([NEW, {**NEW, "regulationType": None}], "regulation 2 does not delete users"),
        ({**NEW, "subjectType": "OBJECT_ID"}, "names no users"),
        ({**OLD, "attributes": {"name": "email", "values": ["secret"]}}, "names no users"),
        ({**NEW, **OLD}, "names no users"),
        ({**NEW, "subjectIds": []}, "no list of users, or an empty one"),
        ({**NEW, "subjectIds": "secret"}, "no list of users"),
        (
            {**NEW, "subjectIds": ["a", None, 1.5, "", ["secret"]]},
            "4 of 5 rows have a userId that is no text, e.g. user 2",
        ),
        ("[3]", "regulation 1 is no JSON object"),
        ("[]", "has no rows"),
        ("secret", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"regulationType": "DELETE", "subjectType": "USER_ID", "subjectIds": ["\\ud800"]}', "that is no text"),
    ],
)
def test_regulations_that_are_refused(tmp_path, content, message):
    refused(segment(tmp_path, content), message)


def test_deletion_files_of_personalize(tmp_path):
    path = tmp_path / "users.csv"
    source = RequestSource(str(path), format="personalize")
    path.write_text("USER_ID\n196\n7\nu 2\n")
    (request,) = read(source)
    assert request.rows == USERS
    path.write_text("user_id\nsecret\n")
    refused(source, "its first line should name USER_ID, each once")
    path.write_text("USER_ID,ITEM_ID\nsecret,i1\n")
    refused(source, "1 of 2 columns that are unknown")


# As a user types it


def test_dry_run_and_deletion_from_every_source(path, tmp_path, monkeypatch):
    service.prepare(path)
    files = {}
    for name in ("r.csv", "r.jsonl", "r.parquet", "r.db", "segment.json", "users.csv"):
        files[name] = tmp_path / name
    frame = pd.DataFrame({"user_id": ["u17", "u3"]})
    frame.to_csv(files["r.csv"], index=False)
    frame.to_json(files["r.jsonl"], orient="records", lines=True)
    frame.to_parquet(files["r.parquet"])
    monkeypatch.setenv("UNLEARN_URL", database(files["r.db"], frame.to_dict("records")))
    files["segment.json"].write_text(json.dumps({**NEW, "subjectIds": ["u17", "u3"]}))
    files["users.csv"].write_text("USER_ID\nu17\nu3\n")
    sources = [[f"--forget_file={files[name]}"] for name in ("r.csv", "r.jsonl", "r.parquet")]
    sources.append(["--forget_query=SELECT * FROM erasures", "--forget_url=env:UNLEARN_URL"])
    sources.append([f"--forget_file={files['segment.json']}", "--forget_format=segment"])
    sources.append([f"--forget_file={files['users.csv']}", "--forget_format=personalize"])
    before, said = contents("saved"), set()
    for source in sources:
        code, out, err = as_typed(f"--checkpoint={path}", "--dry_run", *source)
        assert (code, err) == (0, "")
        said.add(out)
    assert len(said) == 1 and "0 interactions, 2 users" not in said.pop() and contents("saved") == before
    rows = data_of(current(path))
    code, out, err = as_typed(f"--checkpoint={path}", *sources[3])
    assert (code, err) == (0, "") and data_of(current(path)) == without(rows, DeletionRequest("r", USERS_GONE))
    code, out, err = as_typed(f"--checkpoint={path}", *sources[5])
    assert code == 0 and "was done before" in out


USERS_GONE = [("user", "u17", None), ("user", "u3", None)]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--forget_format=csv"], "--forget_format needs --forget_file"),
        (["--forget_file=r.csv", "--forget_format=xml"], "--forget_format should be one of"),
        (["--forget_url=postgresql://me:secret@host/db", "--forget_query=SELECT 1"], "has a password"),
        (["--forget_query="], "--forget_query is empty"),
        (["--prepare", "--forget_query=SELECT 1", "--forget_url=sqlite:///r.db"], "leave out --forget_url"),
        (["--dry_run"], "--forget_file=FILE is missing"),
    ],
)
def test_wrong_usage(path, arguments, message):
    code, out, err = as_typed(f"--checkpoint={path}", *arguments)
    assert code == 2 and message in err and err.count("\n") == 1 and "secret" not in out + err


def test_a_runs_request_has_the_same_sources(configure, prepared, tmp_path):
    """Whole users from Parquet, a query, Segment and Personalize name the edges that a setting names."""
    expected = prepare_data(configure(forget_type="user", forget_users=["u1", "u2"])).request
    frame = pd.DataFrame({"user_id": ["u1", "u2"]})
    frame.to_parquet(tmp_path / "r.parquet")
    frame.to_csv(tmp_path / "r.csv", index=False)
    frame.to_json(tmp_path / "r.jsonl", orient="records", lines=True)
    (tmp_path / "s.json").write_text(json.dumps({**NEW, "subjectIds": ["u1", "u2"]}))
    url = database(tmp_path / "r.db", frame.to_dict("records"))
    sources = [{"forget_file": str(tmp_path / f"r.{ending}")} for ending in ("parquet", "csv", "jsonl")]
    sources.append({"forget_file": str(tmp_path / "s.json"), "forget_format": "segment"})
    sources.append({"forget_url": url, "forget_query": "SELECT user_id FROM erasures"})
    for source in sources:
        request = prepare_data(configure(forget_type="file", **source)).request
        assert request.users.equal(expected.users) and request.items.equal(expected.items)
    for source, message in (
        ({"forget_url": "postgresql://me:secret@host/db", "forget_query": "SELECT 1"}, "has a password"),
        ({"forget_query": "SELECT 1"}, "need each other"),
        ({}, "forget_type 'file' needs"),
    ):
        with pytest.raises(UsageError, match=message):
            prepare_data(configure(forget_type="file", **source))
    with pytest.raises(UsageError, match="'forget_url' needs forget_type 'file'"):
        configure(forget_type="random", forget_url=url, forget_query="SELECT 1")
