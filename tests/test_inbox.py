"""The inbox of a service: what it promises is on the disk, in its own order, and each caller's changes stand alone."""

import hashlib
import sqlite3
import threading
from concurrent.futures import wait

import pytest

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.errors import UsageError
from recbole_unlearn.server import outbox
from recbole_unlearn.server.inbox import Conflict, Inbox
from recbole_unlearn.server.rows import NAME, Taking, Unknown


@pytest.fixture
def inbox(tmp_path):
    inbox = Inbox(tmp_path)
    yield inbox
    inbox.close()


def taking(name, *users, urls=(), controller="shop"):
    rows = [("user", user, None) for user in users or [name]]
    return Taking(
        DeletionRequest(name, rows), controller, "rows", hashlib.sha256(repr(users).encode()).hexdigest(), urls
    )


def add(inbox, name, *users, **more):
    return inbox.add(taking(name, *users, **more)).result()


def names(requests):
    return [request.request_id for request in requests]


def test_requests_come_out_in_order_and_those_that_were_taken_before_come_first(inbox):
    for number in range(5):
        add(inbox, f"r{number}")
    assert names(inbox.take(2)) == ["r0", "r1"]
    assert names(inbox.take(3)) == ["r0", "r1", "r2"]
    inbox.settle(["r1"], {"r0": "why"}).result()
    assert names(inbox.take(9)) == ["r2", "r3", "r4"] and names(inbox.failed()) == ["r0"]
    states, oldest, calls = inbox.summary().result()
    assert states == {"pending": 0, "in_progress": 3, "completed": 1, "cancelled": 0, "failed": 1}
    assert oldest == inbox.entry("shop", "r2").result().received_at and calls == 0
    add(inbox, "r0")
    assert inbox.entry("shop", "r0").result().state == "pending" and inbox.failed() == []


def test_what_is_answered_is_on_the_disk(tmp_path):
    """Nothing that SQLite has not written down is read again: the process could be gone without closing."""
    inbox = Inbox(tmp_path)
    add(inbox, "r0", "somebody")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (NAME, f"{NAME}-wal"):
        (copy / file).write_bytes((tmp_path / file).read_bytes())
    inbox.close()
    again = Inbox(copy)
    assert again.take(9)[0].rows == (("user", "somebody", None),)
    again.close()


def test_many_callers_share_a_commit_and_a_refused_one_takes_nobody_with_it(inbox):
    held, commits = threading.Event(), []

    def statement(text):
        if text.startswith("COMMIT"):
            commits.append(text)

    inbox.commits(lambda db: db.set_trace_callback(statement)).result()
    blocking = inbox.commits(lambda db: held.wait(10))
    commits.clear()
    entries = [inbox.add(taking(f"r{number % 150}", str(number // 150))) for number in range(300)]
    held.set()
    wait([blocking, *entries])
    assert [type(each.exception()) for each in entries] == [type(None)] * 150 + [Conflict] * 150
    assert len(commits) <= 2 and inbox.summary().result()[0]["pending"] == 150


def test_a_job_that_fails_undoes_its_own_changes_alone(inbox):
    def half(db):
        db.execute("DELETE FROM requests")
        raise ValueError("half done")

    first, bad, last = inbox.add(taking("r0")), inbox.commits(half), inbox.add(taking("r1"))
    assert (first.result().state, last.result().state) == ("pending", "pending")
    with pytest.raises(ValueError, match="half done"):
        bad.result()
    assert names(inbox.take(9)) == ["r0", "r1"]


def test_a_commit_that_the_disk_refuses_fails_for_all_who_share_it_and_changes_nothing(inbox):
    add(inbox, "r0")
    inbox.commits(lambda db: db.execute("PRAGMA max_page_count = 1")).result()  # no page more than there are
    held = threading.Event()
    blocking = inbox.commits(lambda db: held.wait(10))
    entries = [inbox.add(taking(f"n{number}", "x" * 9000)) for number in range(5)]
    held.set()
    wait([blocking, *entries])
    assert all(isinstance(each.exception(), sqlite3.OperationalError) for each in entries)
    inbox.commits(lambda db: db.execute("PRAGMA max_page_count = 100000")).result()
    add(inbox, "n0", "x" * 9000)
    assert names(inbox.take(9)) == ["r0", "n0"]


def test_no_byte_of_a_finished_request_stays(inbox, tmp_path):
    tokens = [f"token-{number}-" + "y" * 700 for number in range(40)]  # so that rows move between pages
    for number, token in enumerate(tokens):
        add(inbox, f"r{number}", token, urls=[f"https://example.com/{number}"])
    assert len(inbox.take(20)) == 20
    inbox.settle([f"r{number}" for number in range(20)], {}).result()
    inbox.cancel("shop", "r39").result()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    there = [token.encode() in content for token in tokens]
    assert there == [False] * 20 + [True] * 19 + [False]
    with pytest.raises(Conflict, match="only a pending one"):
        inbox.cancel("shop", "r0").result()
    assert inbox.commits(lambda db: db.execute("PRAGMA freelist_count").fetchone()[0]).result() == 0


def test_a_batch_takes_as_many_statements_as_one_request(inbox):
    """Answers wait for the inbox's thread, which must not go through a batch request by request."""

    def statements(number):
        asked, seen = [f"r{number}-{each}" for each in range(number)], []
        for each in asked:
            add(inbox, each, urls=["https://example.com/"])
        inbox.commits(lambda db: db.set_trace_callback(seen.append)).result()
        assert names(inbox.take(number)) == asked
        inbox.settle(asked, {}).result()
        inbox.commits(lambda db: db.set_trace_callback(None)).result()
        return len(seen)

    assert statements(1) == statements(60)
    assert inbox.summary().result()[2] == 2 * 61  # calls: each in progress, then completed


def due(inbox):
    return inbox.commits(lambda db: outbox.due(db, 99)).result()


def test_calls_follow_the_states_in_order_and_are_put_off_longer_each_time(inbox, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("recbole_unlearn.server.outbox.time.time", lambda: now[0])
    add(inbox, "r0", urls=("https://a.example.com", "https://b.example.com"))
    assert due(inbox) == []
    inbox.take(1)
    inbox.settle(["r0"], {}).result()
    assert [(call.url[8], call.state) for call in due(inbox)] == [("a", "in_progress"), ("b", "in_progress")]
    first, second = due(inbox)
    inbox.commits(lambda db: outbox.delivered(db, first)).result()
    waits = []
    while inbox.commits(lambda db, second=second: outbox.missed(db, second)).result():
        assert [(call.url[8], call.state) for call in due(inbox)] == [("a", "completed")]
        start = now[0]
        while len(due(inbox)) == 1:
            now[0] += 1
        waits.append(now[0] - start)
        second = next(call for call in due(inbox) if call.url[8] == "b")
    assert waits == [min(2.0**number, 3600) for number in range(15)]
    assert [(call.url[8], call.state) for call in due(inbox)] == [("a", "completed"), ("b", "completed")]


def test_only_its_controller_finds_a_request(inbox):
    add(inbox, "r0")
    for found in (inbox.entry, inbox.cancel):
        with pytest.raises(Unknown):
            found("bank", "r0").result()
    with pytest.raises(Conflict):
        add(inbox, "r0", controller="bank")


def test_what_is_no_inbox_is_refused_in_one_line(tmp_path):
    (tmp_path / NAME).write_bytes(b"no database at all" * 99)
    with pytest.raises(UsageError, match="inbox.db' is damaged .*Restore it"):
        Inbox(tmp_path)
    (tmp_path / NAME).unlink()
    inbox = Inbox(tmp_path)
    inbox.commits(lambda db: db.execute("PRAGMA user_version = 9")).result()
    with pytest.raises(UsageError, match="Another service serves this store"):
        Inbox(tmp_path)
    inbox.close()
    with pytest.raises(UsageError, match="schema version 9"):
        Inbox(tmp_path)
