"""What every request passes before the app: key, size and time of its body; and what becomes of an error."""

import asyncio
import traceback
from collections.abc import Collection
from logging import getLogger
from time import perf_counter

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recbole_unlearn.server.answers import refusal
from recbole_unlearn.server.keys import Keys
from recbole_unlearn.server.metrics import Metrics

BODY_SECONDS = 10.0  # for all of a body to arrive
OPEN = "open"  # name of the controller if there are no keys


class TooLarge(Exception):
    """A body is larger than the limit."""


class Gone(Exception):
    """The client has gone before its body was there."""


class Gate:
    """An ASGI app around another one.

    It refuses a request without a key (unless the path is public) before reading its body, and a body that is too large
    or too slow. An error that nobody has foreseen becomes 500, and its kind and place are logged, but not its words,
    which may name somebody. ``scope["state"]["controller"]`` is the name of the key.

    Args:
        app: to protect.
        keys: None if the service is open.
        public: paths that need no key.
        most_bytes: of a body.
        metrics: to count answers in.
    """

    def __init__(self, app: ASGIApp, keys: Keys | None, public: Collection[str], most_bytes: int, metrics: Metrics):
        self._app, self._keys, self._public = app, keys, frozenset(public)
        self._most_bytes, self._metrics = most_bytes, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = perf_counter(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._answer(scope, receive, sent)
        except Gone:
            return
        except Exception as error:
            getLogger().error(f"{type(error).__name__} at {_place(error)}")
            if not status:
                await refusal(500, "Internal error.")(scope, receive, sent)
        route = getattr(scope.get("route"), "path", None)
        self._metrics.answered(scope["method"], route, status, perf_counter() - start)

    async def _answer(self, scope, receive, send):
        headers = Headers(scope=scope)
        holder = self._keys.holder(headers.get("authorization")) if self._keys else OPEN
        if holder is None and scope["path"] not in self._public:
            answer = refusal(401, "An API key is missing or unknown.", WWW_Authenticate="Bearer")
            await answer(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(self._body(headers, receive), BODY_SECONDS)
        except TooLarge:
            answer = refusal(413, f"A body has at most {self._most_bytes} bytes.", Connection="close")
            await answer(scope, receive, send)
            return
        except asyncio.TimeoutError:
            answer = refusal(408, "The body did not arrive in time.", Connection="close")
            await answer(scope, receive, send)
            return
        scope.setdefault("state", {})["controller"] = holder
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def received() -> Message:
            return unread.pop() if unread else await receive()

        await self._app(scope, received, send)

    async def _body(self, headers, receive):
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._most_bytes:
            raise TooLarge
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._most_bytes:
                raise TooLarge
        return bytes(body)


def _place(error):
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}:{last.lineno}"
