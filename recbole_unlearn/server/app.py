"""The service as a whole: inbox, worker, callbacks and endpoints, started and stopped together."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from logging import getLogger
from typing import Any

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp

from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.store.database import now
from recbole_unlearn.deletion.store.layout import checkpoint_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.server import answers, opendsr, own
from recbole_unlearn.server.applier import Applier
from recbole_unlearn.server.callbacks import deliver
from recbole_unlearn.server.gate import Gate
from recbole_unlearn.server.inbox import Inbox
from recbole_unlearn.server.keys import Keys
from recbole_unlearn.server.metrics import Metrics
from recbole_unlearn.server.signing import Signer
from recbole_unlearn.server.worker import Worker

HEALTH, METRICS = "/health", "/metrics"
HEALTH_SECONDS = 1.0  # an answer about the health is good for that long: everybody may ask
LOOPBACK = ["localhost", "127.0.0.1"]  # Starlette compares no address in brackets


@dataclass(frozen=True)
class Options:
    """How to serve a store.

    Args:
        store: its folder.
        keys: None to serve everybody on this machine.
        signer: None to serve no OpenDSR.
        identity: type of OpenDSR's identities that are the model's user tokens.
        callback_hosts: that callbacks may go to.
        expected_seconds: from the arrival of a request to the time when it should be completed.
        most_bytes: of a body.
        batch: requests that are applied together, at most.
        stop_seconds: that a running batch has to finish when the service stops.
        settings: of the deletions, see :class:`~recbole_unlearn.deletion.service.Deletion`.
    """

    store: str
    keys: Keys | None
    signer: Signer | None = None
    identity: str = opendsr.IDENTITY_TYPES[0]
    callback_hosts: Collection[str] = ()
    expected_seconds: float = 86400.0
    most_bytes: int = 2**20
    batch: int = 1000
    stop_seconds: float = 60.0
    settings: dict[str, Any] = field(default_factory=dict)


class Service:
    """A store, its inbox and its worker.

    Args:
        options: see :class:`Options`.

    Raises:
        UsageError: there is no such store, or another service serves it.
    """

    def __init__(self, options: Options) -> None:
        self.options, self.metrics = options, Metrics()
        checkpoint = checkpoint_of(options.store)
        self.store = Store(options.store)
        self.inbox = Inbox(self.store.folder, options.expected_seconds)
        self._applier = Applier(checkpoint, options.settings)
        self._worker: Worker | None = None
        self._health: tuple[float, dict[str, Any]] = (-HEALTH_SECONDS, {})

    def app(self) -> ASGIApp:
        """The service as an ASGI app, whose lifespan starts and stops the worker."""
        options = self.options
        app = FastAPI(title="Deletion requests", docs_url=None, redoc_url=None, lifespan=self._lifespan)
        answers.register(app)
        app.include_router(own.routes(self.inbox, self.store, self.wake))
        if options.signer:
            arguments = (options.signer, self.metrics, options.identity, options.callback_hosts)
            app.include_router(opendsr.routes(self.inbox, self.store, *arguments, self.wake))
        app.add_api_route(HEALTH, self.health, methods=["GET"])
        app.add_api_route(METRICS, self.measured, methods=["GET"])
        public = {HEALTH, opendsr.DISCOVERY, opendsr.CERTIFICATE}
        gate = Gate(app, options.keys, public, options.most_bytes, self.metrics)
        if options.keys is None:  # a page in a browser of this machine may name it otherwise
            return TrustedHostMiddleware(gate, LOOPBACK, www_redirect=False)
        return gate

    def wake(self) -> None:
        """Say that there are new requests."""
        if self._worker:
            self._worker.wake()

    def abandon(self) -> None:
        """End what a service that was not stopped in order has left."""
        self._applier.kill()

    async def health(self) -> JSONResponse:
        """Whether the store is readable and the worker runs, and the age of the oldest unfinished request."""
        at, content = self._health
        if time.monotonic() - at >= HEALTH_SECONDS:
            _, oldest, _ = await asyncio.wrap_future(self.inbox.summary())
            readable = await asyncio.to_thread(self._is_readable)
            worker = self._worker is not None and self._worker.alive
            status = "ready" if readable and worker else "not ready"
            content = {"status": status, "store": readable, "worker": worker, "oldest_pending_seconds": _age(oldest)}
            self._health = time.monotonic(), content
        return JSONResponse(content, 200 if content["status"] == "ready" else 503, answers.NO_STORE)

    async def measured(self) -> PlainTextResponse:
        """The metrics, as Prometheus reads them."""
        states, oldest, waiting = await asyncio.wrap_future(self.inbox.summary())
        up = self._worker is not None and self._worker.alive
        text = self.metrics.text(states, _age(oldest), waiting, up)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    def _is_readable(self):
        with suppress(UsageError):
            return os.path.isdir(self.store.current().folder)
        return False

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        self._worker = Worker(self.inbox, self._applier, self.metrics, self.options.batch)
        signer = self.options.signer
        calls = asyncio.create_task(deliver(self.inbox, signer, self.metrics)) if signer else None
        yield
        finished = await asyncio.to_thread(self._worker.stop, self.options.stop_seconds)
        if calls:
            calls.cancel()
            with suppress(asyncio.CancelledError):
                await calls
        await asyncio.to_thread(self.inbox.close)
        getLogger().info("Stopped" if finished else "Stopped; the next service goes on with the batch that was running")


def _age(time_of: str | None) -> float:
    """Seconds since a time, 0 for None."""
    return max(0.0, (now() - datetime.fromisoformat(time_of)).total_seconds()) if time_of else 0.0
