"""What was forgotten stays forgotten: filters against plain sets of Python, in every format, and consent given anew."""

import os
import stat
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forgetful import apply, counts, kind_of, request, store_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_unlearn import command_line
from recbole_unlearn.commands import filter as command
from recbole_unlearn.data.atomic import read_columns, read_header
from recbole_unlearn.deletion.suppression import Suppression, filter_file
from recbole_unlearn.errors import UsageError

GONE = (
    request("a", ("u1", None), ("007", None), ('5" disc, red', None)),
    request("b", (None, "i1"), ("u2", "i2"), ("u2", "i 3")),
    request("c", ("u3", "i2"), ("ünï", None), ("tab\there", None), ("two\nlines", None)),
)
OPEN = (request("d", ("u4", None)),)
ALL = (*GONE, *OPEN)
USERS = [
    "u1",
    "u2",
    "u3",
    "u4",
    "u5",
    "007",
    "7",
    "1.0",
    "NA",
    '5" disc, red',
    "ünï",
    "tab\there",
    "two\nlines",
    '"',
    "",
]
ITEMS = ["i1", "i2", "i 3", "i4", 'say "hi"', "null", ""]
ROWS = [(user, item) for user in USERS for item in ITEMS]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("stores") / "M.store", *GONE, unfinished=OPEN)


@pytest.fixture(scope="module")
def suppression(store):
    return Suppression(store)


def cell(text, separator, quoted):
    """A cell's bytes: quotes within an unquoted cell stand for themselves, as RecBole's parser has it."""
    if quoted or text.startswith('"') or set(text) & {separator, "\n", "\r"}:
        return '"' + text.replace('"', '""') + '"'
    return text


def lines_of(rows, separator, quoted=False, end="\n"):
    """The bytes of each row, with a third cell."""
    return [
        (separator.join([*(cell(text, separator, quoted) for text in row), f"{number}.50"]) + end).encode()
        for number, row in enumerate(rows)
    ]


HEADER = {"\t": b"user_id:token\titem_id:token\tweight:float\n", ",": b"user_id,item_id,weight\n"}


def written(path, rows, separator="\t", **options):
    lines = lines_of(rows, separator, **options)
    path.write_bytes(HEADER[separator] + b"".join(lines))
    return lines


def expected(rows, lines, separator="\t"):
    kept = [line for row, line in zip(rows, lines) if kind_of(*row, *ALL) is None]
    return HEADER[separator] + b"".join(kept)


@pytest.mark.parametrize("name, separator", [("new.inter", "\t"), ("new.tsv", "\t"), ("new.csv", ",")])
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("chunk", [60, 1000, None])
def test_text_keeps_every_byte_of_the_rows_that_nobody_forgot(
    suppression, tmp_path, name, separator, quoted, end, chunk
):
    path = tmp_path / name
    lines = written(path, ROWS, separator, quoted=quoted, end=end)
    done = filter_file(path, suppression, chunk_bytes=chunk)
    assert done.output == str(tmp_path / f"new.filtered{path.suffix}")
    result = (tmp_path / done.output).read_bytes()
    assert result == expected(ROWS, lines, separator)
    kinds = [kind_of(*row, *ALL) for row in ROWS]
    assert (done.rows, done.kept, done.dropped) == (len(ROWS), kinds.count(None), counts(kinds))
    again = filter_file(done.output, suppression, tmp_path / f"again{path.suffix}")
    assert (tmp_path / again.output).read_bytes() == result and again.kept == again.rows


def test_tokens_are_those_that_recbole_reads(suppression, tmp_path):
    path = tmp_path / "new.inter"
    written(path, ROWS)
    fields = read_header(str(path), "\t", None)
    table = read_columns(str(path), "\t", None, fields, ["user_id", "item_id"])
    assert list(table.itertuples(index=False, name=None)) == ROWS
    assert suppression.keep(table).tolist() == [kind_of(*row, *ALL) is None for row in ROWS]


texts = st.text(st.sampled_from('ab"\t,\n\r é'), max_size=4)
tokens = st.sampled_from([*USERS, *ITEMS]) | texts


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(tokens, tokens), max_size=30),
    gone=st.lists(st.tuples(tokens, tokens, st.integers(0, 2)), max_size=6),
    separator=st.sampled_from("\t,"),
    quoted=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    whole=st.booleans(),
    chunk=st.integers(1, 200),
)
def test_any_rows_any_requests_any_chunks(tmp_path_factory, rows, gone, separator, quoted, end, whole, chunk):
    named = [[(user, None), (None, item), (user, item)][scope] for user, item, scope in gone if user and item]
    folder = tmp_path_factory.mktemp("any")
    asked = [request("r", *named)] if named else []
    lines = lines_of(rows, separator, quoted, end)
    if not whole and lines:
        lines[-1] = lines[-1].removesuffix(end.encode())
    header = HEADER[separator]
    path = folder / "new.inter"
    path.write_bytes(header + b"".join(lines))
    suppression = Suppression(store_of(folder / "M.store", *asked))
    done = filter_file(path, suppression, separator=separator, chunk_bytes=chunk)
    kinds = [kind_of(user or None, item or None, *asked) for user, item in rows]
    assert (folder / done.output).read_bytes() == header + b"".join(
        line for line, kind in zip(lines, kinds) if kind is None
    )
    assert done.dropped == counts(kinds) and done.rows == len(rows)
    frame = pd.DataFrame(rows, columns=["user_id", "item_id"], dtype=object)
    assert suppression.keep(frame).tolist() == [kind is None for kind in kinds]


def test_blank_lines_marks_encodings_and_missing_ids_stay(suppression, tmp_path):
    path = tmp_path / "new.csv"
    path.write_bytes("\ufeffweight,user_id:token,item_id\n1,u5,i2\n\n2,,i1\n3,,\n\r\n4,u1,\n5,,i4".encode())
    done = filter_file(path, suppression)
    assert (
        tmp_path / done.output
    ).read_bytes() == "\ufeffweight,user_id:token,item_id\n1,u5,i2\n\n3,,\n\r\n5,,i4".encode()
    path.write_bytes("user_id;item_id\nünï;i2\né;i2\n".encode("latin-1"))
    filter_file(path, suppression, separator=";", encoding="latin-1")
    assert (tmp_path / done.output).read_bytes() == "user_id;item_id\né;i2\n".encode("latin-1")
    for encoding, message in (("utf-16", "ASCII"), ("utf-99", "utf-99"), ("utf-8", "not rows of text")):
        with pytest.raises(UsageError, match=message):
            filter_file(path, suppression, separator=";", encoding=encoding)


def test_files_of_users_or_items_alone(suppression, tmp_path):
    users, items = tmp_path / "new.user", tmp_path / "new.item"
    users.write_text("user_id:token\tage:float\nu1\t3\nu2\t4\ni1\t5\n")
    items.write_text("item_id:token\nu1\ni1\ni2\n")
    assert filter_file(users, suppression).dropped == {"user": 1, "item": 0, "interaction": 0}
    assert filter_file(items, suppression).dropped == {"user": 0, "item": 1, "interaction": 0}
    assert (tmp_path / "new.filtered.user").read_text() == "user_id:token\tage:float\nu2\t4\ni1\t5\n"
    assert (tmp_path / "new.filtered.item").read_text() == "item_id:token\nu1\ni2\n"


# Parquet and pandas


def table_of(rows, **kinds):
    columns = {
        "weight": pa.array([number + 0.5 for number in range(len(rows))]),
        "user_id": pa.array([user or None for user, _ in rows], pa.string()),
        "tags": pa.array([[item] for _, item in rows]),
        "item_id": pa.array([item or None for _, item in rows], pa.string()),
    }
    columns |= {name: columns[name].cast(kind) for name, kind in kinds.items()}
    return pa.table(columns).replace_schema_metadata({"made by": "somebody"})


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
@pytest.mark.parametrize("chunk, group", [(None, None), (1, 7), (3000, 7)])
def test_parquet_keeps_schema_and_rows(suppression, tmp_path, kind, chunk, group):
    path = tmp_path / "new.parquet"
    table = table_of(ROWS, user_id=kind, item_id=kind)
    pq.write_table(table, path, row_group_size=group, compression={"weight": "gzip", "user_id": "none"})
    table = pq.read_table(path)
    done = filter_file(path, suppression, chunk_bytes=chunk)
    kinds = [kind_of(*row, *ALL) for row in ROWS]
    result = pq.read_table(done.output)
    assert result.schema.equals(table.schema, check_metadata=True)
    assert result.to_pylist() == [row for row, why in zip(table.to_pylist(), kinds) if why is None]
    assert done.dropped == counts(kinds)
    columns = [pq.ParquetFile(done.output).metadata.row_group(0).column(place) for place in range(4)]
    assert [column.compression for column in columns[:2]] == ["GZIP", "UNCOMPRESSED"]
    again = filter_file(done.output, suppression, tmp_path / "again.parquet")
    assert again.kept == again.rows and pq.read_table(again.output).equals(result)


def test_whole_numbers_are_texts_and_fractions_are_refused(tmp_path):
    suppression = Suppression(store_of(tmp_path / "M.store", request("r", ("1", None), (None, "7"))))
    frame = pd.DataFrame({"user_id": [1, 2, 10], "item_id": [3, 7, 3]})
    for each in (frame, frame.astype("Int64"), frame.astype(str), frame.astype("category"), frame.astype(object)):
        assert suppression.keep(each).tolist() == [False, False, True]
    path = tmp_path / "new.parquet"
    frame.to_parquet(path)
    assert filter_file(path, suppression).dropped == {"user": 1, "item": 1, "interaction": 0}
    assert pd.read_parquet(tmp_path / "new.filtered.parquet")["user_id"].tolist() == [10]
    assert suppression.keep(pd.DataFrame({"user_id": ["1.0", "01", " 1"], "item_id": ["7.0"] * 3})).all()
    for bad in (frame.astype(float), frame.astype(bool), pd.DataFrame({"user_id": [b"1"]})):
        with pytest.raises(UsageError, match="1.0 is not 1"):
            suppression.keep(bad)
    frame.astype(float).to_parquet(path)
    with pytest.raises(UsageError, match="Column 'user_id' is double, not identifiers"):
        filter_file(path, suppression)


def test_a_mask_of_a_frame_with_other_names(suppression):
    frame = pd.DataFrame({"who": ["u1", "u2", None], "what": ["i4", "i2", "i1"]}, index=[5, 5, 5])
    assert frame[suppression.keep(frame, "who", "what")].empty
    assert suppression.keep(frame, user="who").tolist() == [False, True, True]
    for names, message in (({}, "neither"), ({"user": "he"}, "no column 'he'"), ({"user": "who", "time": "t"}, "'t'")):
        with pytest.raises(UsageError, match=message):
            suppression.keep(frame, **names)


def test_several_stores(tmp_path):
    stores = [store_of(tmp_path / f"{name}.store", request("r", (name, None))) for name in ("a", "b")]
    frame = pd.DataFrame({"user_id": ["a", "b", "c"], "item_id": ["i", "i", "i"]})
    assert Suppression(*stores).keep(frame).tolist() == [False, False, True]
    assert Suppression(stores[1].folder).keep(frame).tolist() == [True, False, True]


# Damage, and what is never overwritten


def unchanged(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


BAD = {
    "short.csv": (b"user_id,item_id,weight\nsecret,i2,1\nsecret,i2\n", r"has 2 cell\(s\) in line 3, not 3"),
    "long.csv": (b'user_id,item_id,weight\n"a\nb",i2,1\nsecret,i2,1,2\n', r"has 4 cell\(s\) in line 4, not 3"),
    "stray.csv": (b'user_id,item_id,weight\na"b,i2,1\nsecret,i2\n', r"has 2 cell\(s\) in line 3, not 3"),
    "open.csv": (b'user_id,item_id,weight\nu5,i2,1\n"secret,i2,1\n', "a quote is not closed"),
    "empty.csv": (b"", "no first line"),
    "none.csv": (b"who,what\nsecret,i2\n", "neither a column 'user_id' nor 'item_id'"),
    "twice.csv": (b"user_id,user_id\nsecret,i2\n", "has 2 columns 'user_id'"),
    "bytes.csv": (b"user_id,item_id\nsecret,\xff\n", "is not rows of text in the encoding utf-8"),
    "text.parquet": (b"secret", "no whole Parquet file"),
    "new.xlsx": (b"secret", "should end in .inter"),
}


@pytest.mark.parametrize("name", BAD)
def test_damage_is_one_line_and_leaves_nothing(suppression, tmp_path, name):
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    before = unchanged(tmp_path)
    with pytest.raises(UsageError, match=message) as error:
        filter_file(tmp_path / name, suppression, chunk_bytes=20)
    assert "secret" not in str(error.value) and "\n" not in str(error.value) and unchanged(tmp_path) == before


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_parquet_file(suppression, tmp_path, share):
    path, output = tmp_path / "new.parquet", tmp_path / "out.parquet"
    pq.write_table(table_of(ROWS), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    output.write_bytes(b"of yesterday")
    with pytest.raises(UsageError, match="no whole Parquet file"):
        filter_file(path, suppression, output)
    assert sorted(unchanged(tmp_path)) == ["new.parquet", "out.parquet"] and output.read_bytes() == b"of yesterday"


def test_a_parquet_file_with_a_broken_page(suppression, tmp_path):
    path = tmp_path / "new.parquet"
    pq.write_table(table_of(ROWS * 50), path, row_group_size=500, compression="gzip", use_dictionary=False)
    content = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(5).column(1).data_page_offset
    content[start + 40 : start + 80] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no whole Parquet file"):
        filter_file(path, suppression, chunk_bytes=1000)
    assert sorted(unchanged(tmp_path)) == ["new.parquet"]


def test_the_input_is_replaced_only_on_request_and_keeps_its_mode(suppression, tmp_path):
    path = tmp_path / "new.inter"
    lines = written(path, ROWS)
    path.chmod(0o640)
    os.link(path, tmp_path / "same.inter")
    os.symlink(path, tmp_path / "link.inter")
    before = path.read_bytes()
    for output in (path, tmp_path / "same.inter", tmp_path / "link.inter"):
        with pytest.raises(UsageError, match="is '.*new.inter' itself"):
            filter_file(path, suppression, output)
    (tmp_path / "folder.inter").mkdir()
    problems = (
        ({"output": tmp_path / "folder.inter"}, "folder"),
        ({"output": tmp_path / "new.csv"}, "end in '.inter'"),
    )
    problems += (({"output": tmp_path / "x.inter", "in_place": True}, "not both"),)
    for options, message in problems:
        with pytest.raises(UsageError, match=message):
            filter_file(path, suppression, **options)
    dry = filter_file(path, suppression, dry_run=True)
    assert dry.output is None and dry.kept < dry.rows and path.read_bytes() == before
    assert sorted(unchanged(tmp_path)) == ["link.inter", "new.inter", "same.inter"]
    filter_file(tmp_path / "link.inter", suppression, in_place=True)
    assert path.read_bytes() == expected(ROWS, lines) and os.path.islink(tmp_path / "link.inter")
    assert (tmp_path / "same.inter").read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_an_interruption_leaves_no_half_file(suppression, tmp_path, monkeypatch):
    written(tmp_path / "new.inter", ROWS)
    before, judge = unchanged(tmp_path), Suppression.judge
    calls = iter(range(100))

    def interrupted(self, *arguments):
        if next(calls) == 5:
            raise KeyboardInterrupt
        return judge(self, *arguments)

    monkeypatch.setattr(Suppression, "judge", interrupted)
    for options in ({}, {"in_place": True}):
        calls = iter(range(100))
        with pytest.raises(KeyboardInterrupt):
            filter_file(tmp_path / "new.inter", suppression, chunk_bytes=100, **options)
        assert unchanged(tmp_path) == before


def run(*arguments):
    return command.run(command_line.parse(["filter", *map(str, arguments)])[1])


def test_as_a_user_types_it_and_interrupts_it(store, tmp_path):
    """Ctrl-C within a process of its own, once it has begun to write."""
    path = tmp_path / "new.inter"
    path.write_bytes(HEADER["\t"] + b"".join(lines_of(ROWS, "\t")) * 200_000)
    line = [sys.executable, "-m", "recbole_unlearn", "filter", f"--store={store.folder}", str(path)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(list(tmp_path.iterdir())) == 1:
        time.sleep(0.01)
    process.send_signal(2)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.count("\n")) == (130, 1) and "interrupted" in err
    assert [entry.name for entry in tmp_path.iterdir()] == ["new.inter"]


def test_the_command_says_what_it_did_and_names_nobody(store, tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "new.inter"
    written(path, ROWS)
    assert run(f"--store={store.folder}", path, f"--output={tmp_path / 'out.inter'}") == 0
    kinds = [kind_of(*row, *ALL) for row in ROWS]
    of = counts(kinds)
    assert f"{kinds.count(None)} of {len(ROWS)} rows stay; written to {tmp_path / 'out.inter'}" in caplog.text
    said = f"{of['user']} of erased users, {of['item']} of erased items, {of['interaction']} forgotten interactions"
    assert said in caplog.text and "An erased user who is back is dropped, too: --readmit" in caplog.text
    assert not any(token in caplog.text for token in ("u1", "ünï", "i1"))
    with pytest.raises(UsageError, match="no store"):
        run(f"--store={tmp_path}", path)
    with pytest.raises(UsageError, match="not allowed with"):
        run(f"--store={store.folder}", path, "--in_place", "--output=x.inter")


# Consent given anew

ASKED, LATER, AGAIN = "2026-03-01T00:00:00+00:00", "2026-04-01T00:00:00+00:00", "2026-05-01T00:00:00+00:00"


def seconds(text):
    return int(pd.Timestamp(text).timestamp())


@pytest.fixture
def erased(tmp_path):
    rows = [("u1", None), ("u2", None), (None, "i1"), ("u1", "i2"), ("u3", "i3")]
    return store_of(tmp_path / "M.store", request("a", *rows, at=ASKED))


def consents(tmp_path, *rows, header="user_id,item_id,since"):
    path = tmp_path / "consents.csv"
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return str(path)


BACK = [("u1", "", LATER), ("u3", "i3", LATER)]
LOAD = [  # user, item, month, and whether the row stays
    ("u1", "i4", 2, False),  # older than the consent
    ("u1", "i4", 4, True),
    ("u1", "i1", 4, False),  # the item is erased
    ("u1", "i2", 4, False),  # the pair was forgotten by itself
    ("u2", "i4", 4, False),  # no consent
    ("u3", "i3", 2, False),
    ("u3", "i3", 4, True),
    ("u4", "i4", 2, True),
    ("u1", "i5", None, False),  # without a time
]


def test_only_what_is_newer_than_a_consent_comes_back(erased, tmp_path):
    suppression = Suppression(erased, readmit=consents(tmp_path, *BACK))
    path = tmp_path / "new.inter"
    times = [f"2026-{month:02}-15T00:00:00" if month else "" for _, _, month, _ in LOAD]
    for cells in (times, [str(seconds(each)) if each else "" for each in times]):
        lines = ["\t".join([user, item, at]) for (user, item, _, _), at in zip(LOAD, cells)]
        path.write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines]) + "\n")
        done = filter_file(path, suppression, chunk_bytes=50)
        kept = [line for line, row in zip(lines, LOAD) if row[3]]
        assert (tmp_path / "new.filtered.inter").read_text().splitlines()[1:] == kept
        assert (done.readmitted, done.untimed, done.kept) == (2, 1, 3)
    frame = pd.DataFrame([row[:2] for row in LOAD], columns=["user_id", "item_id"])
    moments = pd.Series(pd.to_datetime([each or None for each in times], utc=True))
    for column in (
        moments,
        pd.Series([each or None for each in times]),
        moments.map(lambda at: at.timestamp(), na_action="ignore"),
    ):
        timed = frame.assign(at=column)
        assert suppression.keep(timed, time="at").tolist() == [row[3] for row in LOAD]
        timed.to_parquet(tmp_path / "new.parquet")
        assert filter_file(tmp_path / "new.parquet", suppression, time="at").kept == 3
    assert Suppression(erased).keep(frame).sum() == 1


def test_a_load_without_times_says_since_when_it_is(erased, tmp_path):
    readmit = consents(tmp_path, *BACK)
    path = tmp_path / "new.csv"
    path.write_text("user_id,item_id\nu1,i4\nu2,i4\n")
    with pytest.raises(UsageError, match="no column 'timestamp': name its column of times"):
        filter_file(path, Suppression(erased, readmit=readmit))
    for since, kept in (("2026-04-02", 1), ("2026-03-02", 0)):
        assert filter_file(path, Suppression(erased, readmit=readmit, since=since)).kept == kept
    frame = pd.read_csv(path)
    assert Suppression(erased, readmit=readmit, since=LATER).keep(frame).tolist() == [True, False]
    with pytest.raises(UsageError, match="column of times"):
        Suppression(erased, readmit=readmit).keep(frame)
    with pytest.raises(UsageError, match="only `readmit` asks"):
        Suppression(erased, since=LATER)
    with pytest.raises(UsageError, match="is no time"):
        Suppression(erased, readmit=readmit, since="soon")
    path.write_text("user_id,item_id,timestamp\nu1,i4,1\n")
    with pytest.raises(UsageError, match="for data without times"):
        filter_file(path, Suppression(erased, readmit=readmit, since=LATER))


def test_a_consent_ends_with_the_next_request_to_forget(erased, tmp_path):
    readmit = consents(tmp_path, *BACK)
    Suppression(erased, readmit=readmit)
    apply(erased, request("b", ("u1", None), at=AGAIN))
    with pytest.raises(
        UsageError, match="1 of 2 rows have a since before the latest request to forget them: .* line 2"
    ):
        Suppression(erased, readmit=readmit)
    Suppression(erased, readmit=consents(tmp_path, ("u1", "", "2026-06-01"), BACK[1]))


@pytest.mark.parametrize(
    "rows, header, message",
    [
        ([("u1", "", "2026-02-01")], None, "before the latest request"),
        ([("u1", "", "soon")], None, "neither ISO 8601"),
        ([("u1", "", "")], None, "neither ISO 8601"),
        ([("u1", "", LATER), ("u1", "", AGAIN)], None, "1 of 2 rows name somebody a second time, e.g. line 3"),
        ([("", "", LATER)], None, "neither a user nor an item"),
        ([("u1", "i9")], "user_id,item_id", "no column 'since'"),
        ([("u1", LATER, "x")], "user_id,since,reason", "unknown or repeated"),
    ],
)  # fmt: skip
def test_consents_that_nobody_can_act_on(erased, tmp_path, rows, header, message):
    path = consents(tmp_path, *rows, **({"header": header} if header else {}))
    with pytest.raises(UsageError, match=message) as error:
        Suppression(erased, readmit=path)
    assert "u1" not in str(error.value)


def test_consents_of_those_who_were_never_forgotten_are_counted(erased, tmp_path, caplog):
    path = tmp_path / "new.csv"
    path.write_text("user_id,item_id,timestamp\nu1,i4,2026-04-15\n")
    readmit = consents(tmp_path, *BACK, ("u9", "", LATER))
    assert run(f"--store={erased.folder}", path, f"--readmit={readmit}") == 0
    assert "1 rows of" in caplog.text and "name nobody whom the stores forgot" in caplog.text
    assert (tmp_path / "new.filtered.csv").read_text().endswith("u1,i4,2026-04-15\n")


def test_many_rows_hash_each_token_once(tmp_path, monkeypatch):
    suppression = Suppression(store_of(tmp_path / "M.store", request("r", ("u1", None), ("u2", "i2"))))
    hashed = []
    inner = suppression._sought[0]._hash
    suppression._sought[0]._hash = lambda *row: hashed.append(row) or inner(*row)
    generator = np.random.default_rng(1)
    rows = [(f"u{user}", f"i{item}") for user, item in generator.integers(0, 50, (5000, 2)).tolist()]
    path = tmp_path / "new.inter"
    written(path, rows)
    filter_file(path, suppression, chunk_bytes=5000)
    assert len(hashed) < 200 and sum(row[0] == "word" for row in hashed) == 100
