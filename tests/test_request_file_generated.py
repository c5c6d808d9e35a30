"""Generated request files: a valid one is read as it was written, a damaged one as it says or refused in one line."""

import csv
import io
import json
from datetime import datetime, timezone

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_unlearn.deletion.requests import DeletionRequest, read_requests
from recbole_unlearn.errors import UsageError

COLUMNS = ["user_id", "item_id", "request_id", "received_at", "scope"]
SEPARATORS = {".csv": ",", ".inter": "\t"}
ENDINGS = [*SEPARATORS, ".jsonl"]
PROFILE = settings(max_examples=200, deadline=None, derandomize=True, database=None)

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")
STRANGE = ["007", "1.10", "12_3", "1e5", "NA", "None", "[1", '"', '"a', 'a"b', "a,b", "a\tb"]
STRANGE += [" a ", "#", "null", "\ufeffa", "user", "\u2028"]
TOKENS = st.sampled_from(STRANGE) | st.text(CHARACTERS, min_size=1, max_size=12)
ROWS = st.one_of(
    st.tuples(st.just("interaction"), TOKENS, TOKENS),
    st.tuples(st.just("user"), TOKENS, st.none()),
    st.tuples(st.just("item"), st.none(), TOKENS),
)
TIMES = st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2025, 1, 1), timezones=st.just(timezone.utc)).map(str)
NAMES = st.from_regex(r"[A-Za-z0-9_:@-]{1,20}", fullmatch=True)
REQUEST = st.builds(DeletionRequest, NAMES, st.lists(ROWS, min_size=1, max_size=6), TIMES)
REQUESTS = st.lists(REQUEST, min_size=1, max_size=4, unique_by=lambda request: request.request_id)
LEAVES = [st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=3)]
ANYTHING = st.recursive(
    st.one_of(*LEAVES, st.sampled_from(["user", "item"])),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def written(requests, ending, shuffled):
    """A file of these requests with its columns in another order, and those left out that are empty anyway."""
    cells = [
        [
            user or "",
            item or "",
            request.request_id,
            request.received_at or "",
            scope if shuffled.random() < 0.5 else "",
        ]
        for request in requests
        for scope, user, item in request.rows
    ]
    table = pd.DataFrame(cells, columns=COLUMNS)
    kept = [name for name in COLUMNS if name == "request_id" or (table[name] != "").any() or shuffled.random() < 0.5]
    shuffled.shuffle(kept)
    rows = table[kept].to_numpy().tolist()
    if ending == ".jsonl":
        lines = [{name: cell for name, cell in zip(kept, row) if cell or shuffled.random() < 0.5} for row in rows]
        return "".join(json.dumps(line, ensure_ascii=shuffled.random() < 0.5) + "\n" for line in lines)
    file, end = io.StringIO(), shuffled.choice(["\n", "\r\n"])
    quoting = shuffled.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    writer = csv.writer(file, delimiter=SEPARATORS[ending], lineterminator=end, quoting=quoting)
    writer.writerow([f"{name}:token" for name in kept] if ending == ".inter" else kept)
    writer.writerows(rows)
    return file.getvalue()


def damaged(content, shuffled):
    """Bytes lost, added, changed, doubled or moved in one to three places."""
    for _ in range(shuffled.randint(1, 3)):
        start, length = shuffled.randrange(len(content) + 1), shuffled.randint(0, 12)
        piece = content[start : start + length]
        special = [b"\n", b"\t", b",", b";", b'"', b" ", b"{", b"0", b":"]
        put = [b"", piece * 2, bytes(shuffled.choices(range(256), k=3)), piece[::-1], shuffled.choice(special)]
        content = content[:start] + shuffled.choice(put) + content[start + length :]
        content = content[: shuffled.randrange(len(content) + 1)] if shuffled.random() < 0.1 else content
    return content


def pairs_in(content, ending):
    """Every pair of ids in a file, by readers that are not ours."""
    if ending == ".jsonl":
        text = io.StringIO(content.decode("utf-8-sig"), newline=None)
        lines = [json.loads(line, parse_int=str, parse_float=str) for line in text if line.strip()]
        return {(line.get("user_id") or None, line.get("item_id") or None) for line in lines}
    reading = {"sep": SEPARATORS[ending], "dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    table = pd.read_csv(io.BytesIO(content), **reading)
    table.columns = [name.split(":")[0] for name in table.columns]
    table = table.reindex(columns=["user_id", "item_id"], fill_value="")
    return {(user or None, item or None) for user, item in table.itertuples(index=False)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("generated")


@PROFILE
@given(st.sampled_from(ENDINGS), REQUESTS, st.randoms())
def test_a_valid_file_is_read_as_it_was_written(folder, ending, requests, shuffled):
    path = folder / f"valid{ending}"
    path.write_bytes(written(requests, ending, shuffled).encode())
    assert read_requests(str(path), "user_id", "item_id") == requests


@PROFILE
@given(st.sampled_from(ENDINGS), REQUESTS, st.randoms())
def test_a_damaged_file_is_read_as_it_says_or_refused_in_one_line(folder, ending, requests, shuffled):
    path = folder / f"damaged{ending}"
    content = damaged(written(requests, ending, shuffled).encode(), shuffled)
    path.write_bytes(content)
    try:
        found = read_requests(str(path), "user_id", "item_id")
    except UsageError as error:
        assert len(str(error).splitlines()) == 1 and str(path) in str(error)
    else:
        assert {(user, item) for request in found for _, user, item in request.rows} == pairs_in(content, ending)


@PROFILE
@given(ANYTHING, ANYTHING, ANYTHING | NAMES, ANYTHING)
def test_a_request_of_anything_is_one_or_refused_in_one_line(scope, token, name, time):
    for rows in (token, [token], [(scope, token, None)], [("user", token, None)]):
        try:
            request = DeletionRequest(name, rows, time)
        except UsageError as error:
            assert "\n" not in str(error)
        else:
            assert all(isinstance(cell, str) for row in request.rows for cell in row if cell is not None)
