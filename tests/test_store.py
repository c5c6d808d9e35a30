"""A store loses nothing and does nothing twice, whenever it is interrupted, and keeps nothing that it should forget."""

import dataclasses
import errno
import functools
import hashlib
import itertools
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.errors import FailedChecks, UsageError
from recbole_unlearn.files.checkpoint import HOST

NOBODY = 65534
forking = multiprocessing.get_context("fork")


def request(request_id, *users, received_at=None):
    return DeletionRequest(request_id, [("user", user, None) for user in users or ["u1"]], received_at)


def writing(text):
    """A callback that writes a version: one file, and one in a folder."""

    def write(folder):
        assert os.listdir(folder) == []
        Path(folder, "model.json").write_text(text)
        Path(folder, "data").mkdir()
        Path(folder, "data", "rows.csv").write_text(text * 2)

    return write


def publish(store, *ids, text="[]", days=30, **changes):
    arguments = {
        "write": writing(text),
        "method": "UnlearnRec",
        "details": lambda: {"seconds": 1.5},
        "receipts": lambda version: ({name: {"request": name} for name in ids}, {"version": version.number}),
        "forgotten": {name: [store.keyed_hash(name)] for name in ids},
        "quarantined": store.retention(days),
    }
    return store.publish(**{**arguments, **changes})


def hashes(folder):
    """Name to SHA-256 of all files in a folder."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def everything(folder):
    """What is in a folder: names, what links point to, contents, times; but not the lock file, which names its holder."""
    found = {}
    for path in Path(folder).rglob("*"):
        if path.name != "lock":
            what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
            found[str(path.relative_to(folder))] = what, path.lstat().st_mtime_ns
    return found


def kept(store):
    """What the database says."""
    return store.versions(), store.requests(), store.pending(), store.forgotten()


def folders(store):
    return sorted(os.listdir(os.path.join(store.folder, "versions")))


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store", writing("[]"))


@pytest.fixture
def locked(store):
    with store.locked(0):
        yield store


def fork(target, *arguments):
    process = forking.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def kill(process):
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "It ended before it was killed"


# Making and opening


def test_create(tmp_path):
    store = Store.create(tmp_path / "new" / "store", writing("[]"), details={"users": 3})
    version = store.current()
    assert (version.number, version.parent, version.method) == (1, None, "import")
    assert version.details == {"users": 3} and version.quarantined_until is None
    assert version.folder == str(tmp_path / "new" / "store" / "versions" / "0001")
    assert version.files == hashes(version.folder) and set(version.files) == {"model.json", "data/rows.csv"}
    assert abs(datetime.fromisoformat(version.created_at) - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert os.readlink(tmp_path / "new" / "store" / "current") == "versions/0001"
    assert os.listdir(tmp_path / "new" / "store" / "receipts") == []
    assert os.listdir(tmp_path / "new") == ["store"]
    assert store.counts() == {"pending": 0, "running": 0, "done": 0, "failed": 0}


def test_only_the_owner_may_read_the_key(store):
    key = Path(store.folder, "key")
    assert len(key.read_bytes()) == 32 and key.stat().st_mode & 0o777 == 0o600


TAKEN = {
    "folder": Path.mkdir,
    "file": Path.touch,
    "link": lambda path: path.symlink_to("nowhere"),
    "store": lambda path: Store.create(path, writing("[]")),
}


@pytest.mark.parametrize("what", TAKEN)
def test_create_where_something_is(tmp_path, what):
    TAKEN[what](tmp_path / "store")
    before = everything(tmp_path)
    with pytest.raises(UsageError, match="store' exists already"):
        Store.create(tmp_path / "store", pytest.fail)  # before any work is done
    assert everything(tmp_path) == before


def test_create_where_another_store_appears_meanwhile(tmp_path):
    def write(_):
        os.rename(Store.create(tmp_path / "other", writing("1")).folder, tmp_path / "store")

    with pytest.raises(UsageError, match="exists already"):
        Store.create(tmp_path / "store", write)
    assert os.listdir(tmp_path) == ["store"]
    assert Path(Store(tmp_path / "store").current().folder, "model.json").read_text() == "1"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, UsageError])
def test_interrupted_create_leaves_nothing(tmp_path, error):
    def write(folder):
        writing("half")(folder)
        raise error

    with pytest.raises(error):
        Store.create(tmp_path / "store", write)
    assert os.listdir(tmp_path) == []


def test_killed_create_is_removed_by_the_next_one(tmp_path):
    process = fork(Store.create, tmp_path / "store", lambda _: os.kill(os.getpid(), signal.SIGKILL))
    process.join()
    (left,) = os.listdir(tmp_path)
    assert re.fullmatch(rf"\.store-{HOST}-{process.pid}-[0-9a-f]{{8}}\.building", left)
    alive, another = left.replace(str(process.pid), str(os.getppid())), left.replace(".store-", ".store-2-")
    others = [alive, another, left.replace(HOST, f"{HOST}2"), f".store-{process.pid}.building"]
    for name in others:
        (tmp_path / name).mkdir()
    Store.create(tmp_path / "store", writing("[]"))
    assert sorted(os.listdir(tmp_path)) == sorted(["store", *others])


def test_no_store(tmp_path):
    with pytest.raises(UsageError, match=f"^'{tmp_path}' is no store: it has no store.db"):
        Store(tmp_path)
    with pytest.raises(UsageError, match="is no store"):
        Store(tmp_path / "absent")
    assert os.listdir(tmp_path) == []


def test_database_damaged_after_opening(locked):
    os.truncate(os.path.join(locked.folder, "store.db"), 5000)
    with pytest.raises(UsageError, match="is damaged"):
        locked.submit([request("r1")])


def test_opening_and_reading_write_nothing(store):
    with store.locked(0):
        store.submit([request("r1", "a"), request("r2", "b")])
        store.mark(["r2"], "running")
        os.mkdir(os.path.join(store.folder, "versions", "0007"))  # for the next to take the lock
        before = everything(store.folder)
        other = Store(store.folder)
        kept(other), other.counts(), other.current(), other.keyed_hash("u1")
        assert everything(store.folder) == before


def test_a_store_can_be_moved(tmp_path, store):
    os.rename(store.folder, tmp_path / "moved")
    moved = Store(tmp_path / "moved")
    assert (tmp_path / "moved" / "current").resolve() == Path(moved.current().folder)
    with moved.locked(0):
        assert hashes(moved.current().folder) == moved.current().files


@contextmanager
def unprivileged():
    """Root may write everywhere: be somebody else during the block."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


# The lock


def hold(folder, pipe):
    """Hold a store until told otherwise."""
    with Store(folder).locked(0):
        pipe.send("held")
        pipe.recv()


@pytest.fixture
def holder(store):
    """Another process that holds the store, and a pipe to let it go."""
    pipe, other_end = forking.Pipe()
    process = fork(hold, store.folder, other_end)
    assert pipe.recv() == "held"
    yield process, pipe
    process.kill()
    process.join()


def test_a_held_store_says_who_holds_it(store, holder):
    told = []
    with pytest.raises(UsageError, match=f"^Store '{store.folder}' is in use by process {holder[0].pid}[.] Try again"):
        with store.locked(0, told.append):
            pass
    assert told == []  # nobody waits
    start = time.monotonic()
    with pytest.raises(UsageError, match=f"process {holder[0].pid}"):
        with store.locked(0.3, told.append):
            pass
    assert 0.3 <= time.monotonic() - start < 5 and told == [holder[0].pid]


def test_the_second_process_waits(store, holder):
    process, pipe = holder
    told = []

    def on_wait(pid):
        told.append(pid)
        pipe.send("let go")

    with store.locked(20, on_wait):
        process.join()
        assert process.exitcode == 0 and told == [process.pid]
        assert store.submit([request("r1")]) == {"r1": "new"}


def test_a_killed_process_frees_the_store(store, holder):
    kill(holder[0])
    with store.locked(0):
        pass


def say_and_sleep(pipe):
    pipe.send(os.getpid())  # of a worker that has begun, and so has given up its copy of the lock
    time.sleep(60)


def hold_with_a_worker(folder, pipe):
    with Store(folder).locked(0):
        fork(say_and_sleep, pipe)
        time.sleep(60)


def test_a_worker_that_outlives_its_killed_parent_does_not_hold_the_store(store):
    pipe, other_end = forking.Pipe()
    process = forking.Process(target=hold_with_a_worker, args=(store.folder, other_end))
    process.start()
    worker = pipe.recv()
    kill(process)
    try:
        os.kill(worker, 0)  # it lives
        with store.locked(0):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_child_that_leaves_the_block_does_not_free_its_parents_store(store):
    child, left = None, False
    try:
        with store.locked(0):
            child = os.fork()
            if child:
                assert os.waitpid(child, 0) == (child, 0)
                with pytest.raises(UsageError, match=f"in use by process {os.getpid()}[.]"):
                    with Store(store.folder).locked(0):
                        pass
        left = True
    finally:
        if child == 0:
            os._exit(0 if left else 1)


WRITES = {
    "submit": lambda store: store.submit([request("r1")]),
    "mark": lambda store: store.mark(["r1"], "running"),
    "publish": publish,
    "finish": lambda store: store.finish({}, {}),
    "purge": lambda store: store.purge(),
}


@pytest.mark.parametrize("name", WRITES)
def test_writing_without_the_lock(store, name):
    before = everything(store.folder)
    with pytest.raises(RuntimeError, match="locked"):
        WRITES[name](store)
    with store.locked(0):
        pass
    with pytest.raises(RuntimeError, match="locked"):  # nor after it
        WRITES[name](store)
    assert everything(store.folder) == before


# Recovery


def test_running_requests_are_pending_again(store):
    with store.locked(0):
        store.submit([request("r1"), request("r2")])
        store.mark(["r2"], "running")
        assert store.counts() == {"pending": 1, "running": 1, "done": 0, "failed": 0}
        assert [each.request_id for each in store.pending()] == ["r1"]
    with store.locked(0):
        assert [each.request_id for each in store.pending()] == ["r1", "r2"]


def test_folders_that_the_database_does_not_know_are_removed(store):
    versions = Path(store.folder, "versions")
    for name in (".building", "0002", "0033", "12345", "notes"):
        shutil.copytree(versions / "0001", versions / name)
    with store.locked(0):
        assert folders(store) == ["0001", "notes"]  # which no store has made
        assert hashes(versions / "0001") == store.current().files


@pytest.mark.parametrize("target", [None, "versions/0001", "versions/0009"])
def test_current_is_repaired(store, target):
    with store.locked(0):
        publish(store)
    link = Path(store.folder, "current")
    link.unlink()
    if target:
        link.symlink_to(target)
    Path(store.folder, "current.new").symlink_to("versions/0003")
    with store.locked(0):
        assert os.readlink(link) == "versions/0002"
        assert not os.path.lexists(link.with_name("current.new"))


def test_a_folder_in_place_of_current_is_left_alone(store):
    link = Path(store.folder, "current")
    link.unlink()
    shutil.copytree(store.current().folder, link)
    with pytest.raises(UsageError, match=f"^'{link}' is a folder.*Move it away"):
        with store.locked(0):
            pass
    assert hashes(link) == store.current().files


# Requests


def test_submit(locked):
    requests = [request("r2", "a", received_at="2025-01-01T00:00:00+00:00"), request("r1", "b", "c")]
    assert locked.submit(requests) == {"r2": "new", "r1": "new"}
    assert locked.pending() == requests
    assert locked.submit([request("r3"), *requests]) == {"r3": "new", "r2": "pending", "r1": "pending"}
    assert locked.pending() == [*requests, request("r3")]
    first = locked.requests()[0]
    assert abs(datetime.fromisoformat(first.pop("submitted_at")) - datetime.now(timezone.utc)) < timedelta(minutes=1)
    unfinished = {"version": None, "finished_at": None, "reason": None}
    assert first == {"request_id": "r2", "received_at": requests[0].received_at, "status": "pending", **unfinished}


def test_all_scopes_survive_and_a_request_may_be_given_twice(locked):
    rows = [("interaction", "196", "242"), ("user", "ü", None), ("item", None, "a\tb")]
    assert locked.submit([DeletionRequest("r1", rows)] * 2) == {"r1": "new"}
    assert locked.pending() == [DeletionRequest("r1", rows)]


@pytest.mark.parametrize("state", ["pending", "running", "done", "failed"])
def test_known_requests(locked, state):
    locked.submit([request("r1"), request("r2")])
    locked.mark(["r1"], "running")
    if state == "pending":
        locked.mark(["r1"], "failed", "no")
        locked.submit([request("r1")])
    elif state == "failed":
        locked.mark(["r1"], "failed", "no")
    elif state == "done":
        publish(locked, "r1")
    assert locked.requests()[0]["status"] == state
    assert locked.submit([request("r1")]) == {"r1": "done" if state == "done" else "pending"}
    assert locked.requests()[0]["status"] == ("pending" if state == "failed" else state)
    with pytest.raises(UsageError, match="^Request 'r1' is known with other rows"):
        locked.submit([request("r0"), request("r1", "another"), request("r3")])
    assert [each["request_id"] for each in locked.requests()] == ["r1", "r2"]


class Plain:
    """A request of somebody else's making, whose rows may come in any order."""

    request_id, received_at = "r1", None

    def __init__(self, *rows):
        self.rows = rows


def test_order_and_repetition_of_rows_do_not_matter(locked):
    a, b = ["interaction", "1", "2"], ["user", "1", None]
    assert locked.submit([Plain(a, b)]) == {"r1": "new"}
    assert locked.submit([Plain(b, a, b)]) == {"r1": "pending"}
    for others in ([a], [a, b, ["user", "2", None]], [["interaction", "12", ""], b], [a, ["user", "1", "None"]]):
        with pytest.raises(UsageError, match="other rows"):
            locked.submit([Plain(*others)])


def test_failed_requests_can_be_submitted_again(locked):
    locked.submit([request("r1", "a"), request("r2", "b")])
    locked.mark(["r1"], "running")
    locked.mark(["r1"], "failed", "No such user.")
    failed = locked.requests()[0]
    assert failed["status"] == "failed" and failed["reason"] == "No such user." and failed["finished_at"]
    assert locked.pending() == [request("r2", "b")]
    assert locked.submit([request("r1", "a")]) == {"r1": "pending"}
    assert locked.requests()[0]["finished_at"] is None
    assert locked.pending() == [request("r1", "a"), request("r2", "b")]
    assert locked.pending(tried=True) == [request("r1", "a")] and locked.pending(tried=False) == [request("r2", "b")]
    locked.finish({"r1": {}}, {})
    assert locked.requests()[0]["reason"] is None


ON_REQUESTS = {
    "mark": lambda store, *ids: store.mark(ids, "running"),
    "fail": lambda store, *ids: store.mark(ids, "failed", "reason"),
    "publish": lambda store, *ids: publish(store, *ids),
    "finish": lambda store, *ids: store.finish({name: {} for name in ids}, {}),
}


@pytest.mark.parametrize("state", ["unknown", "done", "failed"])
@pytest.mark.parametrize("change", ON_REQUESTS)
def test_requests_that_cannot_go_on(locked, change, state):
    locked.submit([request("open"), request("done"), request("failed")])
    locked.mark(["failed"], "failed", "no")
    locked.finish({"done": {}}, {})
    before = kept(locked)
    with pytest.raises(ValueError, match=f"'{state}' cannot become .* unknown, done or failed"):
        ON_REQUESTS[change](locked, "open", state)
    assert kept(locked) == before and folders(locked) == ["0001"]


# Versions


def test_publish(locked):
    locked.submit([request("r1"), request("r2"), request("r3")])
    locked.mark(["r1", "r2"], "running")
    first, given = locked.current(), []

    def receipts(version):
        given.append(version)
        assert hashes(version.folder) == version.files
        return {name: {"sha256": version.files["model.json"]} for name in ("r1", "r2")}, {"version": version.number}

    forgotten = {"r1": ["h1", "h2"], "r2": iter(["h2", "h3"])}
    version = publish(locked, text="[2]", receipts=receipts, forgotten=forgotten, days=10)
    assert [version] == given and version == locked.current() == Store(locked.folder).current()
    assert (version.number, version.parent, version.method, version.details) == (2, 1, "UnlearnRec", {"seconds": 1.5})
    assert Path(version.folder, "model.json").read_text() == "[2]" and hashes(version.folder) == version.files
    assert Path(locked.folder, "current").resolve() == Path(version.folder)

    old, new = locked.versions()
    assert new == version and old.files == first.files == hashes(first.folder)
    until = datetime.fromisoformat(old.quarantined_until)
    assert abs(until - datetime.now(timezone.utc) - timedelta(days=10)) < timedelta(minutes=1)

    assert [each["status"] for each in locked.requests()] == ["done", "done", "pending"]
    assert [each["version"] for each in locked.requests()] == [2, 2, None]
    assert locked.requests()[0]["finished_at"] >= locked.requests()[0]["submitted_at"]
    assert locked.receipt("r2") == {"version": 2, "sha256": version.files["model.json"]}
    assert locked.forgotten() == {"h1": "r1", "h2": "r1", "h3": "r2"}
    assert locked.pending() == [request("r3")]


def test_quarantine_begins_once(locked):
    publish(locked, days=1)
    until = locked.versions()[0].quarantined_until
    publish(locked, days=50)
    first, second, third = locked.versions()
    assert first.quarantined_until == until < second.quarantined_until and third.quarantined_until is None


def test_finish(locked):
    publish(locked)
    locked.submit([request("r1"), request("r2")])
    locked.mark(["r1"], "running")
    locked.finish({"r1": {"found": 0}}, {"r1": ["h1"]})
    assert [each["status"] for each in locked.requests()] == ["done", "pending"]
    assert locked.requests()[0]["version"] == 2 and locked.requests()[0]["finished_at"]
    assert locked.receipt("r1") == {"found": 0} and locked.forgotten() == {"h1": "r1"}
    assert len(locked.versions()) == 2


def test_no_receipt(locked):
    locked.submit([request("r1")])
    with pytest.raises(UsageError, match="^Request 'r1' is pending"):
        locked.receipt("r1")
    with pytest.raises(UsageError, match="has no request 'r2'"):
        locked.receipt("r2")


def half_written(error):
    def write(folder):
        writing("half")(folder)
        assert os.path.basename(folder) == ".building"
        raise error

    return {"write": write}


def no_receipts(error):
    def receipts(version):
        raise error

    return {"receipts": receipts}


@pytest.fixture
def submitted(locked):
    """A store with a pending request, in which nothing else may change."""
    locked.submit([request("r1")])
    before, on_disk = kept(locked), {name: what for name, (what, _) in everything(locked.folder).items()}
    yield locked
    assert kept(locked) == before
    assert {name: what for name, (what, _) in everything(locked.folder).items()} == on_disk
    assert publish(locked, "r1").number == 2


@pytest.mark.parametrize("failing", [half_written, no_receipts])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), RuntimeError("bug"), FileNotFoundError("data")])
def test_interrupted_publish_changes_nothing(submitted, failing, error):
    with pytest.raises(type(error)):
        publish(submitted, "r1", **failing(error))


@pytest.mark.parametrize(
    "number, advice", [("ENOSPC", "Free some disk"), ("EROFS", "may write"), ("EACCES", "may write"), ("EIO", "disk")]
)
def test_a_disk_that_refuses(submitted, tmp_path, number, advice):
    number = getattr(errno, number)
    write, said = half_written(OSError(number, os.strerror(number), "model.pth")), os.strerror(number)
    with pytest.raises(UsageError, match=f"^Store '{submitted.folder}': {said} [(]'model.pth'[)].*{advice}"):
        publish(submitted, "r1", **write)
    with pytest.raises(UsageError, match=f"^Store '{tmp_path / 'new'}': {said}.*{advice}"):
        Store.create(tmp_path / "new", write["write"])
    assert os.listdir(tmp_path) == ["store"]


def test_a_disk_that_is_full_when_the_link_is_made(submitted, monkeypatch):
    """The link has to be made before the commit, or a version would be published by a call that failed."""

    def symlink(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "symlink", symlink)
        with pytest.raises(UsageError, match="No space left"):
            publish(submitted, "r1")


def at_commit(monkeypatch, error, after=False):
    """Let the next connections raise at a commit, instead of it or after it."""

    class Connection(sqlite3.Connection):
        def execute(self, sql, *parameters):
            if sql != "COMMIT":
                return super().execute(sql, *parameters)
            if after:
                super().execute(sql)
            raise error

    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Connection))


@pytest.mark.parametrize(
    "error, advice",
    [
        (sqlite3.OperationalError("database or disk is full"), "Free some disk space"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "may write"),
        (sqlite3.OperationalError("unable to open database file"), "may write"),
        (sqlite3.OperationalError("database is locked"), "other processes"),
        (sqlite3.OperationalError("disk I/O error"), "Check the disk"),
        (sqlite3.DatabaseError("database disk image is malformed"), "is damaged .* backup"),
    ],
)
@pytest.mark.parametrize("name", ["submit", "publish", "finish", "purge"])
def test_a_database_that_refuses(locked, monkeypatch, name, error, advice):
    publish(locked, days=-1)
    before = kept(locked)
    with monkeypatch.context() as patch:
        at_commit(patch, error)
        with pytest.raises(UsageError, match=f"^Store '{locked.folder}': store.db.*{advice}"):
            WRITES[name](locked)
    assert kept(locked) == before and folders(locked) == ["0001", "0002"]
    assert os.readlink(os.path.join(locked.folder, "current")) == "versions/0002"


def test_bugs_are_not_explained_away(locked):
    with pytest.raises(sqlite3.IntegrityError):  # a request that does not exist
        publish(locked, forgotten={"r1": ["h1"]})
    assert folders(locked) == ["0001"]


def test_interrupted_when_all_is_decided(locked, monkeypatch):
    locked.submit([request("r1")])
    with monkeypatch.context() as patch:
        at_commit(patch, KeyboardInterrupt(), after=True)
        with pytest.raises(KeyboardInterrupt):
            publish(locked, "r1")
    assert locked.current().number == 2 and hashes(locked.current().folder) == locked.current().files
    assert locked.counts()["done"] == 1
    assert os.readlink(os.path.join(locked.folder, "current")) == "versions/0002"


# Removing versions


@pytest.fixture
def five(store):
    """A store with the versions 1 to 4 in quarantine, until 10, 20, 30 and 40 days from now."""
    with store.locked(0):
        for days in (10, 20, 30, 40):
            publish(store, days=days)
    return store


PURGES = [  # days from now, how many to keep, what goes
    (0, None, []),
    (25, None, [1, 2]),
    (1000, None, [1, 2, 3, 4]),
    (0, 3, [1]),
    (0, 0, [1, 2, 3, 4]),
    (0, 9, []),
    (25, 3, [1, 2]),
]


@pytest.mark.parametrize("days, keep, removed", PURGES)
def test_purge(five, days, keep, removed):
    left = [number for number in (1, 2, 3, 4, 5) if number not in removed]
    with five.locked(0):
        assert five.purge(datetime.now(timezone.utc) + timedelta(days=days), keep=keep) == removed
        assert [version.number for version in five.versions()] == left
        assert folders(five) == [f"{number:04d}" for number in left]
        assert five.current().number == 5
        assert publish(five).number == 6  # a number is not used again


def purge_until_killed(folder):
    """Be killed after the database knows of the removal and before a folder is gone."""
    store = Store(folder)
    with store.locked(0):
        shutil.rmtree = lambda path: os.kill(os.getpid(), signal.SIGKILL)
        store.purge(keep=2)


def test_purge_killed_before_the_folders_are_gone(five):
    process = fork(purge_until_killed, five.folder)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert folders(five) == ["0001", "0002", "0003", "0004", "0005"]
    assert [version.number for version in five.versions()] == [3, 4, 5]
    with five.locked(0):
        assert folders(five) == ["0003", "0004", "0005"]


# Keyed hashes


def test_keyed_hash(store, tmp_path):
    parts = [("ab", "c"), ("a", "bc"), ("abc",), (None,), ("None",), ("null",), (), ("",), ("", ""), ("a", "b")]
    parts.append(('a", "b',))
    hashed = {store.keyed_hash(*each) for each in parts}
    assert len(hashed) == len(parts) and all(len(bytes.fromhex(each)) == 16 for each in hashed)
    assert {Store(store.folder).keyed_hash(*each) for each in parts} == hashed
    another = Store.create(tmp_path / "another", writing("[]"))
    assert not hashed & {another.keyed_hash(*each) for each in parts}


def as_of_an_earlier_release(store):
    """Take away what schema 2 has besides."""
    with closing(sqlite3.connect(os.path.join(store.folder, "store.db"))) as db:
        for statement in (
            "DROP TABLE integrity",
            "ALTER TABLE requests DROP COLUMN batch",
            "DROP TABLE batches",
            "PRAGMA user_version = 1",
        ):
            db.execute(statement)
        db.commit()


def test_a_store_of_an_earlier_release_is_read_and_learns_its_key(locked):
    locked.submit([request("r1"), request("r2"), request("r3", "pending")])
    publish(locked, "r1", "r2")
    before = kept(locked)
    as_of_an_earlier_release(locked)
    old = Store(locked.folder)
    assert kept(old) == before and old.batches() == {None: ["r1", "r2"]} and old.receipt("r1") == {"request": "r1"}
    page = Path(locked.folder, "receipts", "r1.html")
    page.write_text("in the words of that release")
    locked._lock.release()
    with old.locked(0):
        assert not page.exists(), "to be written anew"
        assert kept(old) == before and publish(old, "r3").number == 3
        assert old.batches() == {None: ["r1", "r2"], 1: ["r3"]} and old.receipt("r3") == {"request": "r3", "version": 3}
    Path(old.folder, "key").write_bytes(b"k" * 32)
    with pytest.raises(UsageError, match="is another store's"):
        Store(old.folder)


def test_flipped_bits_of_a_database_are_noticed_or_harmless(store):
    """Whatever bit is wrong: one line, or nothing that the database says is another thing."""
    with store.locked(0):
        store.submit([request(f"r{number}", f"token-{number}") for number in range(40)])
        publish(store, *(f"r{number}" for number in range(30)))
        store.mark(["r31"], "failed", "reason")
    path, generator, noticed = Path(store.folder, "store.db"), random.Random(0), 0

    def content(store):
        versions = [dataclasses.replace(version, quarantined_until=None) for version in store.versions()]
        return versions, *kept(store)[1:], store.receipts(f"r{number}" for number in range(30))

    before, whole = content(store), path.read_bytes()
    for _ in range(150):
        changed = bytearray(whole)
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
        path.write_bytes(changed)
        try:
            other = Store(store.folder)
            assert content(other) == before
        except UsageError as error:
            noticed += 1
            assert "\n" not in str(error) and store.folder in str(error)
    assert noticed > 20  # much of the file is empty
    path.write_bytes(whole)


def overwritten(at):
    def spoil(path):
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(b"\x5a" * 4096)

    return spoil


def changed_by(sql):
    """By somebody with SQLite: the database says something else."""

    def spoil(path):
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA foreign_keys = OFF")
            db.execute(sql)
            db.commit()

    return spoil


SPOILT = {
    **{f"overwritten at {at}": overwritten(at) for at in (0, 4096, 8192)},
    "truncated": lambda path: os.truncate(path, 9000),
    "no version": changed_by("DELETE FROM versions"),
    "no JSON": changed_by("UPDATE versions SET files = '{'"),
    "other rows": changed_by('UPDATE payloads SET rows = \'[["user", "u2", null]]\''),
    "a hash less": changed_by("DELETE FROM forgotten"),
    "another hash": changed_by("UPDATE forgotten SET hash = '0'"),
    "of another release": changed_by("PRAGMA user_version = 7"),
}
WITHOUT_DIGEST = ("no version", "no JSON")  # what is noticed in stores of earlier releases, too


@pytest.mark.parametrize("what, earlier", [(what, what in WITHOUT_DIGEST) for what in SPOILT] + [("no version", False)])
def test_a_damaged_database_is_refused(locked, what, earlier):
    locked.submit([request("r1"), request("r2")])
    publish(locked, "r1")
    if earlier:
        as_of_an_earlier_release(locked)
    SPOILT[what](os.path.join(locked.folder, "store.db"))
    message = (
        "has schema version 7, and this release reads 2" if "release" in what else "store.db is damaged .*backup.$"
    )
    with pytest.raises(UsageError, match=f"^Store '{locked.folder}'.* ?{message}"):
        Store(locked.folder).current()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_a_store_is_its_owners_alone(tmp_path, umask):
    before = os.umask(umask)
    try:
        store = Store.create(tmp_path / "store", writing("[]"))
        with store.locked(0):
            store.submit([request("r1")])
            publish(store, "r1")
            Path(store.folder, "receipts", "r1.json").touch()
            with pytest.raises(FailedChecks):
                publish(store, **no_receipts(FailedChecks("no", ["check"], "folder")))
            paths = [Path(store.folder), *Path(store.folder).rglob("*")]
            modes = {path.relative_to(tmp_path): path.stat().st_mode & 0o777 for path in paths if not path.is_symlink()}
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert Path("store/versions/0003.failed/data/rows.csv") in modes and Path("store/lock") in modes
    assert {
        path: mode for path, mode in modes.items() if mode != (0o700 if (tmp_path / path).is_dir() else 0o600)
    } == {}


def test_it_works_without_fcntl(tmp_path):
    """As on Windows, whose own lock filelock takes there."""
    program = "import sys; sys.modules['fcntl'] = None; import recbole_unlearn"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


# Forgetting what requests asked for


def test_no_byte_of_a_done_request_stays(locked):
    """Requests of all sizes come and go, so that rows move between pages, where SQLite leaves copies of them."""
    generator, unfinished, names = random.Random(0), {}, itertools.count()
    for _ in range(50):
        new = []
        for _ in range(generator.randint(0, 12)):
            name = f"r{next(names)}"
            unfinished[name] = f"token-of-{name}."
            copies = generator.choice([1, 5, 20, 60, 250])
            new.append(request(name, *(f"{unfinished[name]}{copy}" for copy in range(copies))))
        locked.submit(new)
        ended = generator.sample(sorted(unfinished), min(len(unfinished), generator.randint(0, 8)))
        locked.mark(ended, "running")
        locked.finish({name: {"filler": "x" * generator.randint(0, 600)} for name in ended}, {})
        tokens = {name: unfinished.pop(name).encode() for name in ended}
        content = b"".join(path.read_bytes() for path in Path(locked.folder).glob("store.db*"))
        assert [name for name, token in tokens.items() if token in content] == []
        assert all(token.encode() in content for token in unfinished.values())  # or they could not be found at all
    assert {each.request_id for each in locked.pending()} == set(unfinished)


# Kills


def token(request_id):
    return f"token-of-{request_id}."


def one_round(store, log):
    """Submit a request and apply all that are pending: a version's file lists what it has applied. Log what is certain."""
    with store.locked(20):
        name = f"r{len(store.requests())}"
        store.submit([request(name, token(name))])
        log.write(f"submitted {name}\n")
        ids = [each.request_id for each in store.pending()]
        store.mark(ids, "running")
        applied = json.loads(Path(store.current().folder, "model.json").read_text())
        publish(store, *ids, text=json.dumps(applied + ids), days=0)
        log.writelines(f"done {each}\n" for each in ids)
        store.purge(keep=1)


def check_after_a_kill(folder, log):
    """Nothing is lost, half-made or done twice."""
    store = Store(folder)
    with store.locked(0):
        version = store.current()
        assert hashes(version.folder) == version.files
        assert Path(folder, "current").resolve() == Path(version.folder)
        assert folders(store) == [f"{each.number:04d}" for each in store.versions()]
        names = {"current", "key", "lock", "receipts", "store.db", "versions"}
        assert set(os.listdir(folder)) - {"store.db-journal"} == names  # SQLite removes it at the next commit

        statuses = {each["request_id"]: each["status"] for each in store.requests()}
        done = [name for name, status in statuses.items() if status == "done"]
        assert set(statuses.values()) <= {"done", "pending"}
        assert json.loads(Path(version.folder, "model.json").read_text()) == done
        assert store.pending() == [request(name, token(name)) for name in statuses if name not in done]
        assert store.forgotten() == {store.keyed_hash(name): name for name in done}
        assert all(store.receipt(name)["request"] == name for name in done)

        certain = [line.split() for line in Path(log).read_text().splitlines()] if os.path.exists(log) else []
        assert {name for _, name in certain} <= set(statuses)
        assert {name for what, name in certain if what == "done"} <= set(done)
        content = b"".join(path.read_bytes() for path in Path(folder).glob("store.db*"))
        assert not any(token(name).encode() in content for name in done)


def work_for_ever(folder, log):
    with open(log, "a", buffering=1) as file:
        while True:
            one_round(Store(folder), file)


def test_killed_at_any_time(store, tmp_path):
    generator = random.Random(0)
    for _ in range(40):
        process = fork(work_for_ever, store.folder, tmp_path / "log")
        time.sleep(generator.uniform(0, 0.2))
        kill(process)
        check_after_a_kill(store.folder, tmp_path / "log")
    assert store.counts()["done"], "All kills came before anything was published"


CHANGES = {"mkdir", "rename", "replace", "symlink", "remove", "unlink", "rmdir", "fsync", "write", "ftruncate", "flock"}


def work_until_step(folder, log, step):
    """Work a round, and be killed before the ``step``-th call that changes files or runs a statement of SQLite."""
    calls = itertools.count(1)

    def on_call(frame, event, called):
        if event == "c_call" and frame.f_code.co_name != "connected":  # where statements only set up the connection
            of_sqlite = isinstance(getattr(called, "__self__", None), sqlite3.Connection)
            of_files = called.__module__ in ("posix", "fcntl") and called.__name__ in CHANGES
            if (of_sqlite or of_files) and next(calls) == step:
                os.kill(os.getpid(), signal.SIGKILL)

    with open(log, "a", buffering=1) as file:
        sys.setprofile(on_call)
        one_round(Store(folder), file)
        sys.setprofile(None)


def test_killed_at_every_step(store, tmp_path):
    with store.locked(0):
        store.submit([request("r0", token("r0"))])
        publish(store)
    outcomes = set()
    for step in itertools.count(1):
        folder, log = tmp_path / f"store-{step}", tmp_path / f"log-{step}"
        shutil.copytree(store.folder, folder, symlinks=True)
        process = fork(work_until_step, folder, log, step)
        process.join()
        left = Store(folder)
        assert all(hashes(version.folder) == version.files for version in left.versions())  # a reader does not recover
        assert hashes(folder / "current")
        outcomes.add((left.counts()["running"], left.counts()["done"], len(folders(left)), len(left.versions())))
        check_after_a_kill(folder, log)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert step > 50 and len(outcomes) > 5, "The steps were not those of a publication"
