"""What every request passes before the app, without a server: sizes, times, names of the machine, unforeseen errors."""

import asyncio
import hashlib
import logging

import httpx
import pytest
from running_service import copied

from recbole_unlearn.deletion import service as deletions
from recbole_unlearn.server import gate
from recbole_unlearn.server.app import Options, Service
from recbole_unlearn.server.gate import Gate
from recbole_unlearn.server.keys import Keys
from recbole_unlearn.server.metrics import Metrics


def answered(app, *arguments, base_url="http://127.0.0.1", **options):
    """An app's answer to a request."""

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
            return await client.request(*arguments, **options)

    return asyncio.run(ask())


def gated(app, keys=None, most_bytes=100):
    return Gate(app, keys, {"/public"}, most_bytes, Metrics())


async def echo(scope, receive, send):
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def test_an_unforeseen_error_is_logged_without_its_words(caplog):
    async def broken(scope, receive, send):
        raise ValueError("of somebody")

    with caplog.at_level(logging.INFO):
        answer = answered(gated(broken), "GET", "/requests/somebody")
    assert (answer.status_code, answer.json()["error"]["message"]) == (500, "Internal error.")
    said = "\n".join(record.getMessage() for record in caplog.records if record.name == "root")
    assert said.startswith("ValueError at ") and "test_gate.py" in said and "somebody" not in said


def test_a_body_that_does_not_arrive_in_time_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.05)

    async def slowly():
        for _ in range(100):
            await asyncio.sleep(0.02)
            yield b"x"

    assert answered(gated(echo, most_bytes=1000), "POST", "/requests", content=slowly()).status_code == 408


@pytest.mark.parametrize("size, status", [(100, 200), (101, 413)])
def test_a_body_may_have_as_many_bytes_as_the_limit_says(size, status):
    answer = answered(gated(echo), "POST", "/requests", content=b"x" * size)
    assert answer.status_code == status and (status != 200 or answer.content == b"x" * size)


@pytest.mark.parametrize(
    "header, status",
    [(None, 401), ("", 401), ("Bearer", 401), ("Bearer ", 401), ("Basic right", 401), ("Bearer right", 200)]
    + [("bearer right", 200), ("Bearer \xff\xfe", 401), ("Bearer right right", 401)],
)
def test_a_key_is_a_bearers(header, status):
    keys = Keys({"shop": "0" * 64, "bank": hashlib.sha256(b"right").hexdigest()})
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    assert answered(gated(echo, keys), "GET", "/requests", headers=headers).status_code == status
    assert answered(gated(echo, keys), "GET", "/public").status_code == 200


def test_an_open_service_answers_to_names_of_this_machine_alone(trained, tmp_path):
    """A page from elsewhere, in a browser of this machine, may have a name of its own lead here."""
    deletions.prepare(str(trained))
    service = Service(Options(str(copied(trained, tmp_path / "saved")), keys=None))
    for host, status in (("127.0.0.1:80", 404), ("localhost", 404), ("evil.example.com", 400)):
        assert answered(service.app(), "GET", "/requests/r1", headers={"Host": host}).status_code == status, host
    service.inbox.close()
