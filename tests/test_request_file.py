"""Files of deletion requests: every format gives the same requests, and everything ambiguous is refused in one line."""

import dataclasses
import json
import re
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from recbole_unlearn.data.request_text import SEPARATORS
from recbole_unlearn.deletion.requests import DeletionRequest, read_requests
from recbole_unlearn.errors import UsageError

IN_TWO_DAYS = (datetime.now(timezone.utc) + timedelta(days=2)).isoformat()
FULL = ("user_id", "item_id", "request_id", "received_at", "scope")


@pytest.fixture
def read(tmp_path):
    """Write a file, text or bytes, and read its requests."""

    def written(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_requests(str(path), "user_id", "item_id")

    return written


@pytest.fixture
def refused(read):
    """The one line that refuses a file."""

    def message(name, content):
        with pytest.raises(UsageError) as error:
            read(name, content)
        assert "\n" not in str(error.value) and name in str(error.value)
        return str(error.value)

    return message


def table(ending, header, rows):
    """The same rows in one of the formats."""
    if ending == ".jsonl":
        return "".join(json.dumps(dict(zip(header, row))) + "\n" for row in rows)
    separator, header = ("\t", [f"{name}:token" for name in header]) if ending == ".inter" else (",", header)
    return "".join(separator.join(line) + "\n" for line in [header, *rows])


@pytest.mark.parametrize("ending", [".inter", ".csv", ".jsonl"])
class TestEveryFormat:
    def test_rows_with_one_id_are_one_request_in_order_of_first_appearance(self, read, ending):
        rows = [
            ("u2", "i1", "b", "", ""),
            ("u1", "", "a:1@x.y-z", "", ""),
            ("u1", "i9", "b", "", "interaction"),
            ("", "i3", "b", "", "item"),
            ("u2", "i1", "b", "", ""),
        ]
        assert read(f"r{ending}", table(ending, FULL, rows)) == [
            DeletionRequest("b", (("interaction", "u1", "i9"), ("interaction", "u2", "i1"), ("item", None, "i3"))),
            DeletionRequest("a:1@x.y-z", (("user", "u1", None),)),
        ]

    def test_a_file_without_ids_is_named_after_its_content(self, read, ending):
        rows = [("u1", "i1"), ("u2", ""), ("u1", "i1")]
        (first,) = read(f"first{ending}", table(ending, FULL[:2], rows))
        (again,) = read(f"again{ending}", table(ending, FULL[:2], rows[1:]))
        (other,) = read(f"other{ending}", table(ending, FULL[:2], rows[:1]))
        assert first == again and first.request_id != other.request_id
        assert re.fullmatch("file-[0-9a-f]{12}", first.request_id)

    def test_earliest_time_of_a_request_counts(self, read, ending):
        times = ["2026-11-20T12:00:00+02:00", "2026-11-20T10:30:00Z", "", "2026-11-20T09:59:59.5"]
        requests = read(f"r{ending}", table(ending, FULL, [("u1", "", "a", time, "") for time in times]))
        assert [request.received_at for request in requests] == ["2026-11-20T09:59:59.500000+00:00"]

    def test_no_rows_and_empty_files(self, refused, ending):
        assert "is empty" in refused(f"r{ending}", "")
        assert re.search("no rows|is empty", refused(f"s{ending}", table(ending, FULL, [])))

    def test_unknown_columns_and_no_id_column(self, refused, ending):
        message = refused(f"r{ending}", table(ending, ("user_id", "colour"), [("u1", "red")]))
        assert "1 of 2 columns that are unknown" in message
        assert "name user_id or item_id or both, and optionally request_id" in message
        assert "colour" not in message, "without a header, a column's name is somebody's"
        assert "name user_id" in refused(f"s{ending}", table(ending, ("scope",), [("user",)]))

    def test_rows_without_ids(self, refused, ending):
        rows = [("u1", "i1")] + [("", "")] * 4
        message = refused(f"r{ending}", table(ending, FULL[:2], rows))
        examples = "line 2; line 3; line 4" if ending == ".jsonl" else "line 3; line 4; line 5"
        assert f"4 of 5 rows have neither a user nor an item, e.g. {examples}." in message

    def test_scopes_that_do_not_exist_or_contradict_the_ids(self, refused, ending):
        line = 1 if ending == ".jsonl" else 2
        message = refused(f"r{ending}", table(ending, FULL, [("u1", "", "a", "", "usr")]))
        assert f"1 of 1 rows have a scope that is none of interaction, user, item, e.g. line {line}." in message
        for user, item, scope in [
            ("u1", "i1", "user"),
            ("u1", "i1", "item"),
            ("u1", "", "interaction"),
            ("", "i1", "user"),
        ]:
            message = refused(f"s{ending}", table(ending, FULL, [(user, item, "a", "", scope)]))
            assert f"1 of 1 rows have a scope that their ids contradict, e.g. line {line}." in message

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a b", "ä", "a\\b", "x" * 129])
    def test_request_ids_that_are_no_file_name(self, refused, ending, name):
        message = refused(f"r{ending}", table(ending, FULL, [("u1", "", "fine", "", ""), ("u1", "", name, "", "")]))
        assert "1 of 2 rows have a request_id" in message and len(message) < 400

    @pytest.mark.parametrize(
        "times, problem",
        [
            (
                ["1763632800000", "1763112000000", "1763632800000.25", "1763632800000000"],
                "in milliseconds or finer: give",
            ),
            (["1790-05-05T10:00", "1969-12-31T23:59:59Z", "17636328000", IN_TWO_DAYS], "before 1970 or after tomorrow"),
            (
                ["yesterday", "20.11.2026", "2026-13-01", "12", "1e9", "0001-01-01T00:00:00+23:00"],
                "neither ISO 8601 nor seconds since 1970",
            ),
        ],
        ids=["milliseconds", "never", "none"],
    )
    def test_times_at_which_no_request_can_have_come(self, refused, ending, times, problem):
        for time in times:
            rows = [("u1", "", "a", each, "") for each in ("1763632800", time)]
            message = refused(f"r{ending}", table(ending, FULL, rows))
            assert f"1 of 2 rows have a received_at that is {problem}" in message and "e.g. line" in message

    def test_undecodable_bytes(self, refused, ending):
        assert "cannot be read" in refused(f"r{ending}", table(ending, ("user_id",), [("u1",)]).encode() + b'\xff"}\n')

    def test_byte_order_mark_blank_lines_and_line_ends_of_another_system(self, read, refused, ending):
        *good, bad = table(ending, ("user_id", "scope"), [("u1", "user"), ("", "")]).splitlines()
        assert read(f"r{ending}", "\ufeff" + "\r\n".join([*good, "", ""]))[0].rows == (("user", "u1", None),)
        assert f"line {len(good) + 2}." in refused(f"s{ending}", "\r\n".join([*good, "", bad]))


def test_many_rows_of_many_requests(read):
    content = "user_id,item_id,request_id\n" + "".join(f"u{row},i{row % 97},r{row % 1000}\n" for row in range(10**5))
    requests = read("r.csv", content)
    assert len(requests) == 1000 and sum(len(request.rows) for request in requests) == 10**5


def test_paths_that_are_no_request_file(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    problems = {
        "gone.csv": "not exist",
        "folder.csv": "cannot be read",
        "r.xlsx": "should end in .inter, .csv, .jsonl, .parquet, which says its format, or have a --forget_format",
    }
    for name, message in problems.items():
        with pytest.raises(UsageError, match=message):
            read_requests(tmp_path / name, "user_id", "item_id")


@pytest.mark.parametrize("header", ["item_id:token\tuser_id:token", "item_id\tuser_id", "item_id:float\tuser_id:token"])
def test_columns_in_any_order_with_or_without_types(read, header):
    assert read("r.inter", f"{header}\ni1\tu1\n")[0].rows == (("interaction", "u1", "i1"),)


def test_json_numbers_are_their_text(read):
    numbers = '{"user_id": 12345678901234567890, "item_id": null}\n{"user_id": 1.50, "received_at": 1763632800}\n'
    (request,) = read("r.jsonl", f'{numbers}{{"user_id": "1.50"}}')
    assert request.rows == (("user", "1.50", None), ("user", "12345678901234567890", None))
    assert request.received_at == "2025-11-20T10:00:00+00:00"


NO_OBJECTS = "rows are not JSON objects of texts and numbers, e.g. line "
VALUES = ['"u1', '["u1"]', "true", "NaN", '"\\ud800"', '"u1", "user_id": "u2"', '{"user_id": "u1"}']
LINES = ["u1", "[1]", '"u1"', '{"user_id": "u1"', "[" * 100_000]
REFUSED = [  # name of a file, its content, the message
    *(("r.jsonl", f'{{"user_id": {value}}}', f"1 of 1 {NO_OBJECTS}1 (") for value in VALUES),
    *(("r.jsonl", f'{{"user_id": "u1"}}\n{line}\n', f"1 of 2 {NO_OBJECTS}2 (") for line in LINES),
    # A short row could be cut off: an interaction would become a whole user.
    *(
        (
            "r.csv",
            f"user_id,item_id\nu1,i1\n{row}\n",
            f"1 of 2 rows do not have the 2 cells of the header, e.g. line 3 ({n}).",
        )
        for row, n in (("u1,i1,x", 3), ("secret", 1))
    ),
    ("r.csv", 'user_id\n"u1\nu2\n"\nu3\n', "1 of 2 rows go over several lines"),
    ("r.csv", 'user_id\n"u1\nu2\n', "cannot be read: line 3"),
    ("r.inter", "user_id\tuser_id\nu1\tu2\n", "each once"),
    ("r.inter", "user_id:token\tuser_id:float\nu1\tu2\n", "each once"),
    ("r.csv", "user_id,item_id,scope\nsecret,,item\n", "have a scope that their ids contradict"),
    ("r.csv", "user_id,request_id\nsecret,/\n", "have a request_id that is not"),
]


@pytest.mark.parametrize("name, content, expected", REFUSED, ids=range(len(REFUSED)))
def test_what_is_malformed_is_refused_and_nobody_named(refused, name, content, expected):
    message = refused(name, content)
    assert expected in message and "secret" not in message


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("ending, own", [(".csv", ","), (".inter", "\t")])
@pytest.mark.parametrize(
    "header", [["user_id:token", "item_id:token"], ["user_id", "item_id"], ["item_id:token", "scope:token"]]
)
def test_another_separator(refused, separator, ending, own, header):
    """Read as one column, a file of pairs would be one of strange users, whom nobody finds."""
    if separator != own:
        message = refused(f"r{ending}", "".join(separator.join(line) + "\n" for line in (header, ["secret", "i1"])))
        seen, expected = SEPARATORS[separator], SEPARATORS[own]
        assert f"has {seen} between the columns of its first line; expected are {expected}." in message
        assert "secret" not in message


def test_a_request_is_frozen_sorted_and_distinct_and_takes_lists_and_numpys_texts():
    request = DeletionRequest("a", iter([["user", np.str_("u1"), None], ("item", None, "i1"), ("user", "u1", None)]))
    assert request.rows == (("item", None, "i1"), ("user", "u1", None))
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.request_id = "b"


@pytest.mark.parametrize("time, kept", [
    ("2026-11-20T09:00", "2026-11-20T09:00:00+00:00"),
    ("2026-11-20T09:00:00+02:00", "2026-11-20T07:00:00+00:00"),
    ("2026-11-20T09:00:00Z", "2026-11-20T09:00:00+00:00"),
    ("1763632800", "2025-11-20T10:00:00+00:00"),
    (None, None),
])  # fmt: skip
def test_a_requests_time_is_kept_as_in_files(time, kept):
    assert DeletionRequest("r", [("user", "u1", None)], time).received_at == kept


USER = [("user", "u1", None)]
NO_IDS = [30, np.int64(30), 30.0, True, b"u1", "", ["u1"], "\ud800"]
NO_ROWS = [["user"], [("user", "u1")], ["abc"], [("user", "u1", None, None)], [None], [{"user": "u1"}]]
CONTRADICTIONS = [("user", "u1", "i1"), ("usr", "u1", None), ("user", None, None), ("item", "u1", None)]
NO_TIMES = [1763632800, 1763632800.0, datetime(2026, 11, 20), "1763632800000", "soon", "1790-01-01", ""]
NO_REQUESTS = [  # what is given, and the message
    *(
        (("r", [("interaction", "secret", "secret"), ("user", each, None)]), "'r' has an id that is ")
        for each in NO_IDS
    ),
    *((("r", [("item", None, each)]), "'r' has an id that is ") for each in NO_IDS),
    *((("r", rows), "'r' has a row that is not (scope, user, item)") for rows in NO_ROWS),
    (("r", None), "'r' has"),
    (("r", []), "names nothing"),
    *((("r", [row]), "its ids contradict") for row in CONTRADICTIONS),
    *(((name, USER), f"id must be a str, not a {type(name).__name__}") for name in (1, None, b"r", ("r",))),
    *(((name, USER), "Request id") for name in ("../a", "", "..", "a\n")),
    *((("r", USER, time), "'r' has a received_at that is ") for time in NO_TIMES),
]


@pytest.mark.parametrize("given, expected", NO_REQUESTS, ids=range(len(NO_REQUESTS)))
def test_what_is_no_request_is_refused_and_nobody_named(given, expected):
    with pytest.raises(UsageError) as error:
        DeletionRequest(*given)
    message = str(error.value)
    assert expected in message and "\n" not in message and "secret" not in message and "30:" not in message
