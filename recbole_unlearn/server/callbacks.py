"""Tells controllers, with a signature, that the state of a request has changed; again if that does not arrive."""

import asyncio
import ipaddress
import json
from collections.abc import Collection
from logging import getLogger
from urllib.parse import urlsplit

import httpx

from recbole_unlearn.errors import UsageError
from recbole_unlearn.server import outbox
from recbole_unlearn.server.inbox import Inbox
from recbole_unlearn.server.metrics import Metrics
from recbole_unlearn.server.signing import Signer

AT_ONCE = 4  # callbacks, so that answers have the processor
SECONDS = 10.0  # for a controller to answer
LOOK_SECONDS = 0.5  # between two looks for what is due
API_VERSION = "2.0"


def check_url(url: str, hosts: Collection[str]) -> str:
    """Refuse a URL that the service does not call.

    Only hosts that whoever runs the service has named are called, because it may reach more than its clients do.

    Args:
        url: to call.
        hosts: ``HOST`` or ``HOST:PORT``.

    Raises:
        ValueError: the URL is malformed, is not of these hosts, or is not https (http will do on this machine).
    """
    try:
        parts = urlsplit(url)
        named = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    except ValueError:
        raise ValueError("status_callback_urls: a callback's URL is malformed.") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ValueError("status_callback_urls: a callback's URL must begin with https://.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("status_callback_urls: a callback's URL must have neither a password nor a fragment.")
    if named not in hosts:
        raise ValueError("status_callback_urls: a callback's host is none of --callback_hosts of this service.")
    return url


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_hosts(hosts: Collection[str]) -> None:
    """Refuse hosts that no callback's URL can have.

    Raises:
        UsageError: names the first of them.
    """
    for host in hosts:
        if urlsplit(f"//{host}").netloc != host.lower() or "@" in host or "/" in host:
            raise UsageError(f"--callback_hosts: '{host}' is not HOST or HOST:PORT in small letters.")


async def deliver(inbox: Inbox, signer: Signer, metrics: Metrics) -> None:
    """Make the calls that are due, until cancelled. What is not delivered stays in the inbox."""
    async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=False) as client:
        while True:
            try:
                calls = await asyncio.wrap_future(inbox.commits(lambda db: outbox.due(db, AT_ONCE)))
                await asyncio.gather(*(_deliver(call, client, inbox, signer, metrics) for call in calls))
            except Exception as error:  # the inbox's disk, or a bug: the calls stay
                getLogger().error(f"Callbacks: {type(error).__name__}")
                calls = []
            if not calls:
                await asyncio.sleep(LOOK_SECONDS)


async def _deliver(call, client, inbox, signer, metrics):
    content = {
        "controller_id": call.controller,
        "expected_completion_time": call.expected_at,
        "status_callback_url": call.url,
        "subject_request_id": call.request_id,
        "request_status": call.state,
        "api_version": API_VERSION,
    }
    body = json.dumps(content).encode()
    headers = {"Content-Type": "application/json", **signer.headers(body)}
    try:
        async with client.stream("POST", call.url, content=body, headers=headers) as answer:
            arrived = answer.is_success  # nobody reads its body
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        arrived = False
    if arrived:
        await asyncio.wrap_future(inbox.commits(lambda db: outbox.delivered(db, call)))
        metrics.called("delivered")
    elif await asyncio.wrap_future(inbox.commits(lambda db: outbox.missed(db, call))):
        metrics.called("missed")
    else:
        metrics.called("given up")
        getLogger().error(f"A callback to {urlsplit(call.url).hostname} is given up after {call.attempts + 1} attempts")
