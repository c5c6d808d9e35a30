"""A service that is killed, stopped or refused by the disk loses nothing and does nothing twice."""

import json
import os
import resource
import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest
from running_service import DOMAIN, controller, copied, serving, states_of, until, write_certificate
from served import contents, data_of, pairs, user, without
from test_service import erasure, prepared  # noqa: F401  (a fixture)

from recbole_unlearn.deletion import service as deletions
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.store.layout import checkpoint_of


@pytest.fixture
def store(prepared, tmp_path):  # noqa: F811
    return copied(prepared, tmp_path / "saved")


def rows_of(store):
    return data_of(Path(store, "current"))


def ended(process):
    """Whether a process has ended."""
    return not psutil.pid_exists(process.pid) or process.status() == psutil.STATUS_ZOMBIE


def test_killed_services_lose_nothing_and_do_nothing_twice(store, tmp_path):
    before = rows_of(store)
    rows, asked = iter(sorted(set(before["train"]))), {}

    def post(number):
        for _ in range(number):
            name, row = f"r{len(asked)}", next(rows)
            assert service.post(name, ("interaction", *row)).status_code == 201
            asked[name] = row

    for moment in ("taken", "in progress", "completed"):
        with serving(tmp_path, store) as service:
            post(3)
            if moment == "completed":
                service.wait("r0")
                post(3)
                until(lambda: service.status(max(asked, key=lambda name: int(name[1:]))) != "pending", "a batch")
            elif moment == "in progress":
                until(lambda: "Started" in service.log(), "the start")
            workers = psutil.Process(service.process.pid).children(recursive=True)
            service.kill()
        until(lambda: all(map(ended, workers)), "the end of the worker, which nobody else would end")
    with serving(tmp_path, store) as service:
        for name in asked:
            service.wait(name)
        assert service.post("r0", ("interaction", *asked["r0"])).status_code == 201
        assert service.stop() == 0
    opened = Store(str(store))
    assert Counter(each["request_id"] for each in opened.requests()) == Counter([*asked]) and opened.done() == set(
        asked
    )
    receipts = opened.receipts(asked).values()
    assert [(each["counts"]["found"], each["counts"]["not_found"]) for each in receipts] == [(1, 0)] * len(asked)
    assert rows_of(store) == without(before, pairs("all", *asked.values()))


def test_stopping_leaves_what_is_pending_to_the_next_service_and_cancelled_requests_are_never_applied(store, tmp_path):
    key, certificate = write_certificate(tmp_path)
    signing = (f"--signing_key={key}", f"--certificate={certificate}", f"--domain={DOMAIN}")
    with controller() as (address, heard):
        options = (*signing, f"--callback_hosts={address}")
        with serving(tmp_path, store, *options) as service:  # whose worker takes seconds to load the model
            first = service.post("kept", ("user", "u1")).json()
            service.post("gone", ("user", "u2"))
            body = erasure("u3", status_callback_urls=[f"http://{address}/"])
            name = body["subject_request_id"]
            service.client.post("/v2/requests", json=body)
            assert service.status("gone") == "pending"
            for _ in range(2):
                answer = service.client.delete("/requests/gone")
                assert answer.status_code == 202 and answer.json()["status"] == "cancelled"
            assert service.post("gone", ("user", "u2")).status_code == 409
            answer = service.client.delete(f"/v2/requests/{name}")
            assert answer.status_code == 202 and answer.json().keys() == {
                "controller_id",
                "subject_request_id",
                "expected_completion_time",
                "received_time",
                "api_version",
            }
            until(lambda: states_of(heard, name) == ["cancelled"], "a callback")
            assert service.stop() == 0 and "INFO Stopped\n" in service.log()
        content = contents(store)["inbox.db"]
        assert b'"u1"' in content and b'"u2"' not in content and b'"u3"' not in content
        with serving(tmp_path, store, *options) as service:
            assert service.post("kept", ("user", "u1")).json() == first
            service.wait("kept")
            assert service.client.delete("/requests/kept").status_code == 409
            assert service.client.get("/receipts/gone").status_code == 409
            assert [service.status("gone"), service.status(name)] == ["cancelled"] * 2
            assert service.stop(signal.SIGINT) == 0
    there = {user for rows in rows_of(store).values() for user, _ in rows}
    assert not {"u1"} & there and {"u2", "u3"} <= there
    assert states_of(heard, name) == ["cancelled"] and "Traceback" not in service.log()


def test_a_request_that_fails_its_checks_fails_alone_and_somebody_may_force_it(store, tmp_path):
    deletions.unlearn(checkpoint_of(store), [user("known", "u40")])
    last = next(row for row in rows_of(store)["test"] if row[0] == "u30")
    with serving(tmp_path, store, "--unlearn_least_utility=1") as service:
        service.post("many", *(("user", f"u{number}") for number in range(1, 15)))
        service.post("known", ("user", "u39"))
        service.post("new", ("interaction", *last))
        service.wait("new")
        service.wait("many", "failed")
        assert service.client.get("/requests/known").json()["reason"] == "its id is known to the store with other rows"
        said = service.client.get("/requests/many").json()
        assert said["reason"] == "FailedChecks: NDCG@20 after over before, on validation data"
        assert service.client.get("/receipts/many").status_code == 409
        assert {user for user, _ in rows_of(store)["train"]} >= {"u1", "u14", "u39"}
        assert service.post("many", *(("user", f"u{number}") for number in range(1, 15))).status_code == 201
        service.wait("many", "failed")  # tried again
        deletions.unlearn(checkpoint_of(store), [], {"unlearn_least_utility": 1}, force=True)
        service.post("later", ("user", "nobody"))
        service.wait("many")
        assert service.client.get("/receipts/many").json()["outcome"] == "forgotten"
        assert "u14" not in service.log() and "many" not in service.log()


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))


def test_a_request_that_the_disk_refuses_is_not_taken_and_nothing_else_is_lost(store, tmp_path):
    many = [("user", f"{'x' * 90}{number}") for number in range(300)]
    with serving(tmp_path, store, limit=small_files) as service:
        codes = {f"r{number}": service.post(f"r{number}", *many).status_code for number in range(30)}
        assert set(codes.values()) == {201, 503}
        service.kill()
    with serving(tmp_path, store) as service:
        for name, code in codes.items():
            assert service.client.get(f"/requests/{name}").status_code == {201: 200, 503: 404}[code]
        assert service.post("r29", *many).status_code == 201 and service.stop() == 0


def test_nobody_else_can_open_what_the_service_writes(store, tmp_path):
    with serving(tmp_path, store) as service:
        service.post("r1", ("user", "u1"))
        modes = {name: oct(os.stat(store / name).st_mode)[-3:] for name in os.listdir(store)}
        assert modes["inbox.db"] == modes["inbox.db-wal"] == "600"
        assert oct(os.stat(store).st_mode)[-3:] == "700"
        assert json.loads(service.client.get("/health").text)["store"]
