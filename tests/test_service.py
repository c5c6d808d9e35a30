"""The service as its clients see it: a real process that answers on loopback, applies requests and keeps its secrets."""

import base64
import gc
import json
import re
import shlex
import socket
import sys
import uuid
from pathlib import Path

import httpx
import pytest
import uvicorn
from running_service import (
    DOMAIN,
    SECONDS,
    Fork,
    check_signature,
    controller,
    copied,
    parsed,
    serving,
    states_of,
    until,
    write_certificate,
)
from served import contents, data_of

from recbole_unlearn.commands import serve
from recbole_unlearn.deletion import service as deletions
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.errors import UsageError
from recbole_unlearn.server.keys import VARIABLE, new_key

PAGE = Path(__file__).parents[1] / "docs" / "service.md"


@pytest.fixture(scope="module")
def prepared(trained):
    deletions.prepare(str(trained))
    return trained


@pytest.fixture(scope="module")
def heard():
    """A controller whose first answer is a failure: its address, and what it hears."""
    with controller(answers=[500]) as (address, heard):
        yield address, heard


@pytest.fixture(scope="module")
def running(prepared, tmp_path_factory, heard):
    """A service that the tests of this module share; each test has users of its own."""
    folder = tmp_path_factory.mktemp("service")
    key, certificate = write_certificate(folder)
    store = copied(prepared, folder / "saved")
    options = [f"--signing_key={key}", f"--certificate={certificate}", f"--domain={DOMAIN}", "--most_bytes=20000"]
    key = new_key("bank", str(folder / "other keys"))
    bank = {VARIABLE: (folder / "other keys").read_text().strip()}
    hosts = f"--callback_hosts={heard[0]} far.example.com"
    with serving(folder, store, *options, hosts, environment=bank) as service:
        service.other_key = key
        yield service.ready()


def erasure(*users, **changes):
    """The body of an OpenDSR request."""
    identities = [
        {"identity_type": "controller_customer_id", "identity_value": user, "identity_format": "raw"} for user in users
    ]
    body = {
        "regulation": "gdpr",
        "subject_request_id": str(uuid.uuid4()),
        "subject_request_type": "erasure",
        "submitted_time": "2026-10-02T15:00:00Z",
        "subject_identities": identities,
        "api_version": "2.0",
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def users_of(store):
    return {user for rows in data_of(Path(store, "current")).values() for user, _ in rows}


# Our own JSON


def test_a_request_is_taken_applied_and_has_a_receipt(running):
    named = data_of(Path(running.store, "current"))["train"]
    pair = next(row for row in named if row[0] == "u5")
    answer = running.post("own-1", ("user", "u1"), ("interaction", *pair), received_at="2026-10-02T15:00:00Z")
    assert answer.status_code == 201 and answer.headers["Content-Type"] == "application/json"
    assert answer.json().keys() == {"request_id", "received_time", "expected_completion_time"}
    running.wait("own-1")
    remaining = data_of(Path(running.store, "current"))
    assert "u1" not in users_of(running.store) and pair not in remaining["train"]
    receipt = running.client.get("/receipts/own-1").json()
    assert receipt["outcome"] == "forgotten" and receipt["received_at"] == "2026-10-02T15:00:00+00:00"
    assert receipt == Store(str(running.store)).receipt("own-1")


def test_the_same_request_again_has_the_same_answer_and_another_one_of_its_id_is_refused(running):
    rows = [("user", "u2"), ("item", None, "i2")]
    first = running.post("own-2", *rows)
    running.wait("own-2")
    assert running.post("own-2", *reversed(rows)).json() == first.json()
    other = running.post("own-2", ("user", "u3"))
    assert other.status_code == 409 and "known with other content" in other.json()["error"]["message"]
    assert "u3" in users_of(running.store) and len(Store(str(running.store)).requests()) == len(done(running))


def done(running):
    return Store(str(running.store)).done()


def test_the_inbox_forgets_what_a_completed_request_asked_for(running):
    token = "u-nobody-else-is-called-so"
    running.post("own-3", ("user", token), ("user", "u4"))
    running.wait("own-3")
    files = contents(running.store)
    assert {"inbox.db", "inbox.db-wal"} <= files.keys() and b"own-3" in files["inbox.db"] + files["inbox.db-wal"]
    assert [name for name, content in files.items() if token.encode() in content] == []


BAD_REQUESTS = {
    "no body": (b"", "body"),
    "no JSON": (b"{", "JSON"),
    "deep": (b"[" * 9000, "pars"),
    "no object": (b"[]", "body"),
    "no rows": ({"request_id": "b", "rows": []}, "rows"),
    "a row without a scope": ({"request_id": "b", "rows": [{"user": "u9"}]}, "scope"),
    "a scope that its ids contradict": ({"request_id": "b", "rows": [{"scope": "user", "item": "i1"}]}, "contradict"),
    "a number for an id": ({"request_id": "b", "rows": [{"scope": "user", "user": 9}]}, "string"),
    "half a letter": (b'{"request_id": "b", "rows": [{"scope": "user", "user": "\\ud800"}]}', "."),
    "an unknown field": ({"request_id": "b", "rows": [{"scope": "user", "user": "u9", "mail": "m"}]}, "mail"),
    "a path for an id": ({"request_id": "../b", "rows": [{"scope": "user", "user": "u9"}]}, "Request id"),
    "a time to come": (
        {"request_id": "b", "rows": [{"scope": "user", "user": "u9"}], "received_at": "2999-01-01"},
        "received_at",
    ),
}


@pytest.mark.parametrize("what", BAD_REQUESTS)
def test_a_bad_request_is_refused_without_repeating_what_it_asks_for(running, what):
    body, named = BAD_REQUESTS[what]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = running.client.post("/requests", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and named in answer.json()["error"]["message"]
    assert "u9" not in answer.text and running.client.get("/requests/b").status_code == 404


def test_unknown_requests_and_paths_are_not_found(running):
    for path in ("/requests/nobody", "/receipts/nobody", "/receipts/..%2F..%2Fkey", "/v2/requests/nobody", "/docs"):
        answer = running.client.get(path)
        assert answer.status_code == 404 and answer.json()["error"]["code"] == 404, path
    assert running.client.delete("/requests/nobody").status_code == 404
    assert running.client.put("/requests/nobody").status_code == 405


# OpenDSR


def test_an_erasure_is_signed_reported_and_done(running, heard):
    address, calls = heard
    certificate = running.client.get("/v2/certificate.pem").text
    discovery = running.client.get("/v2/discovery")
    assert discovery.json() == {
        "api_version": "2.0",
        "supported_identities": [{"identity_type": "controller_customer_id", "identity_format": "raw"}],
        "supported_subject_request_types": ["erasure"],
        "processor_certificate": f"https://{DOMAIN}/v2/certificate.pem",
    }
    urls = [f"http://{address}/calls"]
    body = erasure("u6", status_callback_urls=urls, extensions={"else.example.com": {"project": 1}})
    body["subject_identities"].append(
        {"identity_type": "email", "identity_value": "somebody@example.com", "identity_format": "sha256"}
    )
    content = json.dumps(body, indent=1).encode()
    name, typed = body["subject_request_id"], {"Content-Type": "application/json"}
    answer = running.client.post("/v2/requests", content=content, headers=typed)
    assert answer.status_code == 201 and base64.b64decode(answer.json()["encoded_request"]) == content
    assert answer.json().keys() == {
        "controller_id",
        "expected_completion_time",
        "received_time",
        "encoded_request",
        "subject_request_id",
    }
    again = running.client.post("/v2/requests", content=content, headers=typed)
    assert again.json() == answer.json()
    changed = running.client.post("/v2/requests", json={**body, "regulation": "ccpa"})
    assert changed.status_code == 409
    until(lambda: states_of(calls, name)[-1:] == ["completed"], "the last callback")
    status = running.client.get(f"/v2/requests/{name}")
    assert status.json() == {
        "controller_id": "shop",
        "subject_request_id": name,
        "expected_completion_time": answer.json()["expected_completion_time"],
        "api_version": "2.0",
        "request_status": "completed",
    }
    assert running.client.get(f"/v2/status/{name}").json() == status.json()
    for signed in (discovery, answer, status):
        check_signature(signed.headers, signed.content, certificate)
    assert states_of(calls, name) == ["in_progress", "in_progress", "completed"], "the first attempt failed"
    for headers, called in calls:
        check_signature(headers, called, certificate)
        assert json.loads(called)["status_callback_url"] == urls[0]
    assert "u6" not in users_of(running.store)
    assert Store(str(running.store)).receipt(name)["received_at"] == "2026-10-02T15:00:00+00:00"
    assert measured(running)["recbole_unlearn_ignored_identities_total"] >= 1
    assert measured(running)["recbole_unlearn_callbacks_waiting"] == 0


IDENTITY = {"identity_type": "controller_customer_id", "identity_value": "u9", "identity_format": "raw"}
REFUSED = {
    "access": (dict(subject_request_type="access"), "erasure only"),
    "portability": (dict(subject_request_type="portability"), "erasure only"),
    "another type": (dict(subject_request_type="deletion"), "subject_request_type"),
    "another regulation": (dict(regulation="none"), "regulation"),
    "no regulation": (dict(regulation=None), "regulation"),
    "an id that is no UUID": (dict(subject_request_id="b"), "UUID"),
    "a UUID of another version": (dict(subject_request_id=str(uuid.uuid1())), "UUID"),
    "large letters": (dict(subject_request_id=str(uuid.uuid4()).upper().replace("1", "A")), "UUID"),
    "no time": (dict(submitted_time=None), "submitted_time"),
    "a time without a zone": (dict(submitted_time="2026-10-02T15:00:00"), "submitted_time"),
    "another version": (dict(api_version="1.0"), "api_version 2.0"),
    "no identity": (dict(subject_identities=[]), "subject_identities"),
    "identities of other types": (dict(subject_identities=[{**IDENTITY, "identity_type": "email"}]), "of type"),
    "a hashed identity": (dict(subject_identities=[{**IDENTITY, "identity_format": "sha256"}]), "raw"),
    "an extension of ours": (dict(extensions={DOMAIN: {"project": 1}}), "extensions"),
    "an unknown field": (dict(mail="m"), "mail"),
    "a callback to another host": (dict(status_callback_urls=["https://other.example.com/c"]), "--callback_hosts"),
    "another port": (dict(status_callback_urls=["https://far.example.com:22/c"]), "--callback_hosts"),
    "a callback in the open": (dict(status_callback_urls=["http://far.example.com/c"]), "https://"),
    "a callback to a file": (dict(status_callback_urls=["file:///etc/hostname"]), "https://"),
    "a password": (dict(status_callback_urls=["https://a:b@far.example.com/c"]), "password"),
    "a callback that looks like another": (
        dict(status_callback_urls=["https://other.example.com\\@far.example.com/c"]),
        "status_callback_urls",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_erasure_that_is_not_as_specified_is_refused(running, what):
    changes, named = REFUSED[what]
    answer = running.client.post("/v2/requests", json=erasure("u9", **changes))
    assert answer.status_code == 400 and named in answer.json()["error"]["message"], answer.text
    assert "u9" not in answer.text


# Guards


def test_a_key_is_needed_before_anything_is_read(running):
    for key in ("wrong", running.key[:-1], running.key.lower()):
        headers = {"Authorization": f"Bearer {key}"}
        for method, path in (("POST", "/requests"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/none")):
            answer = httpx.request(method, running.url + path, headers=headers, content=b"x" * 30000, trust_env=False)
            assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
    assert httpx.get(f"{running.url}/health", trust_env=False).status_code == 200
    assert httpx.get(f"{running.url}/v2/discovery", trust_env=False).status_code == 200
    plain = {"Authorization": running.key}
    assert httpx.get(f"{running.url}/metrics", headers=plain, trust_env=False).status_code == 401


def test_large_bodies_are_refused_whether_they_say_so_or_not(running):
    large = b'{"request_id": "' + b"b" * 30000
    assert running.client.post("/requests", content=large).status_code == 413

    def pieces():
        yield from (large[start : start + 1000] for start in range(0, len(large), 1000))

    answer = httpx.post(
        f"{running.url}/requests", content=pieces(), headers=dict(running.client.headers), trust_env=False
    )
    assert answer.status_code == 413


def test_only_json_is_read(running):
    body = json.dumps({"request_id": "b", "rows": [{"scope": "user", "user": "u9"}]}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = running.client.post("/requests", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400
    assert running.client.get("/requests/b").status_code == 404


def test_nonsense_on_the_wire_harms_nobody(running):
    host, port = running.url.removeprefix("http://").split(":")
    for nonsense in (
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70000,
        b"POST /requests HTTP",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(nonsense)
    assert running.client.get("/health").status_code == 200


def measured(running):
    """The metrics without those that have labels."""
    text = running.client.get("/metrics").text
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, flags=re.MULTILINE)}


def test_health_and_metrics(running):
    running.post("metrics-1", ("user", "u7"))
    running.wait("metrics-1")
    health = running.client.get("/health")
    assert health.json() == {"status": "ready", "store": True, "worker": True, "oldest_pending_seconds": 0.0}
    text = running.client.get("/metrics").text
    assert re.search(r'http_answers_total{method="POST",route="/requests",status="201"} [1-9]', text)
    assert re.search(r'requests{state="completed"} [1-9]', text) and "metrics-1" not in text
    found = measured(running)
    assert found["recbole_unlearn_store_version"] == Store(str(running.store)).current().number
    assert found["recbole_unlearn_worker_up"] == 1 and found["recbole_unlearn_oldest_pending_seconds"] == 0


def test_no_controller_sees_anothers_requests(running):
    running.post("mine", ("user", "u10"))
    running.wait("mine")
    theirs = {"Authorization": f"Bearer {running.other_key}"}
    for method, path in (("GET", "/requests/mine"), ("DELETE", "/requests/mine"), ("GET", "/receipts/mine")):
        assert running.client.request(method, path, headers=theirs).status_code == 404
    body = {"request_id": "mine", "rows": [{"scope": "user", "user": "u10"}]}
    assert running.client.post("/requests", json=body).status_code == 201
    assert running.client.post("/requests", json=body, headers=theirs).status_code == 409


def curls():
    """The page's curl commands, each with the status that the comment before it says."""
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL))
    found = re.findall(r"^(curl .*?)^# (\d{3})$", blocks, flags=re.MULTILINE | re.DOTALL)
    return [(shlex.split(command.replace("\\\n", " ")), int(status)) for command, status in found]


def test_the_commands_of_the_page_do_what_it_says(running):
    commands = curls()
    assert len(commands) >= 8
    for (_, *words), status in commands:
        method, headers, content, url = "GET", {}, None, None
        words = iter(word.replace("$KEY", running.key) for word in words)
        for word in words:
            if word == "-X":
                method = next(words)
            elif word == "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            elif word == "-d":
                content, method = next(words).encode(), "POST" if method == "GET" else method
            elif word != "-s":
                url = word.replace("http://127.0.0.1:8080", running.url)
        answer = httpx.request(method, url, headers=headers, content=content, trust_env=False)
        assert answer.status_code == status, (method, url, answer.text)
        if method == "POST" and url.endswith("/requests") and "v2" not in url:
            running.wait(json.loads(content)["request_id"])


def test_the_log_names_nobody(running):
    running.post("somebody@example.com", ("user", "u8"))
    running.wait("somebody@example.com")
    running.post("somebody@example.com", ("user", "u9"))
    running.client.get("/requests/somebody-else")
    log = running.log()
    assert "requests done in" in log and "u8" not in log and "somebody" not in log and running.key not in log
    assert "shop" not in log and "Traceback" not in log and "own-1" not in log and "controller" not in log


# The command


@pytest.fixture
def command(monkeypatch, capsys):
    """The command in this process, with what makes it serve taken away: what it says, or None if it would serve."""

    def run(*arguments):
        monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: pytest.fail("it would serve"))
        try:
            assert serve.run(parsed(*arguments)) == 0
        except UsageError as error:
            return str(error)
        return capsys.readouterr().out

    return run


def test_no_key_no_service(command, tmp_path, running):
    store = f"--store={running.store}"
    assert "There is no API key" in command(store)
    assert "--store=FOLDER is missing" in command()
    keys = tmp_path / "keys"
    key = command("--new_key=shop", f"--keys={keys}").strip()
    assert key not in keys.read_text() and oct(keys.stat().st_mode)[-3:] == "600" and len(key) >= 43
    assert "a key of the name 'shop' already" in command("--new_key=shop", f"--keys={keys}")
    assert "a name is" in command("--new_key=a:b", f"--keys={keys}")
    assert "--open needs no key, but there are keys" in command(store, "--open", f"--keys={keys}")
    keys.chmod(0o640)
    assert "can be read by others" in command(store, f"--keys={keys}")
    keys.chmod(0o600)
    keys.write_text(f"shop:{key}\n")
    assert "line 1, is not NAME:HASH" in command(store, f"--keys={keys}")
    for host in ("0.0.0.0", "192.0.2.1", "example.com", "::1"):
        assert "--open needs no key, but --host is open to others" in command(store, "--open", f"--host={host}")


def test_signing_needs_a_key_and_its_valid_certificate(command, tmp_path, running):
    def said(domain=DOMAIN, **options):
        key, certificate = write_certificate(tmp_path, **options)
        return command(
            f"--store={running.store}",
            f"--keys={running.folder / 'keys'}",
            f"--signing_key={key}",
            f"--certificate={certificate}",
            f"--domain={domain}",
        )

    assert "was not issued for 'else.example.com'" in said("else.example.com")
    assert "is not valid today" in said(days=-1)
    assert "no RSA key of at least 2048 bits" in said(bits=1024)
    key, certificate = write_certificate(tmp_path)
    given = (f"--store={running.store}", f"--keys={running.folder / 'keys'}")
    assert "OpenDSR needs all of" in command(*given, f"--signing_key={key}")
    other = tmp_path / "other"
    other.mkdir()
    options = (f"--signing_key={key}", f"--certificate={write_certificate(other)[1]}", f"--domain={DOMAIN}")
    assert "is not the certificate of the key" in command(*given, *options)
    key.chmod(0o644)
    assert "can be read by others" in command(*given, *options)
    assert "Unknown identity type 'mail'" in command(*given, "--identity_type=mail")


def test_one_service_a_store(command, running):
    keys = f"--keys={running.folder / 'keys'}"
    assert "Another service serves this store" in command(f"--store={running.store}", keys, "--port=0")
    port = running.url.rpartition(":")[2]
    assert f"port {port}: " in command(f"--store={running.store}", keys, f"--port={port}")
    for store in (running.folder, running.folder / "none.store"):
        assert "is no store" in command(f"--store={store}", keys, "--port=0")


def test_an_extra_that_is_missing_is_named(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert command("--store=x") == "serve needs uvicorn: pip install 'recbole-unlearn[serve]'."


def test_the_garbage_collector_passes_over_what_is_loaded_before_the_first_request(prepared, tmp_path, monkeypatch):
    """Otherwise it walks through all libraries once in a while, and every answer waits for it."""
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: print(len(gc.get_objects()), gc.get_freeze_count()))
    store = copied(prepared, tmp_path / "saved")
    with open(tmp_path / "log", "w") as log:
        assert Fork([f"--store={store}", "--open", "--port=0"], log, lambda: None).wait(SECONDS) == 0
    walked, passed_over = map(int, (tmp_path / "log").read_text().splitlines()[-1].split())
    assert 20 * walked < passed_over
