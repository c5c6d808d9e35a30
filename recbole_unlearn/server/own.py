"""Our own JSON: requests for interactions, users and items, and the receipts of the completed ones."""

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.server.answers import of_the_sender
from recbole_unlearn.server.inbox import Conflict, Inbox
from recbole_unlearn.server.rows import Entry, Taking

KIND = "rows"


class Row(BaseModel):
    """What to forget: an interaction (both ids), a user or an item as a whole."""

    model_config = ConfigDict(extra="forbid", strict=True)
    scope: Literal["interaction", "user", "item"]
    user: str | None = None
    item: str | None = None


class Body(BaseModel):
    """A request. ``received_at`` is ISO 8601, or seconds since 1970 as text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    request_id: str
    rows: Annotated[list[Row], Field(min_length=1)]
    received_at: str | None = None


def routes(inbox: Inbox, store: Store, wake: Callable[[], None]) -> APIRouter:
    """The endpoints.

    Args:
        inbox: of the store.
        store: for hashes and receipts.
        wake: called when there is a new request.
    """
    router = APIRouter()

    @router.post("/requests", status_code=201)
    async def submit(request: Request, body: Body) -> dict[str, Any]:
        with of_the_sender():
            rows = [(row.scope, row.user, row.item) for row in body.rows]
            asked = DeletionRequest(body.request_id, rows, body.received_at)
        content = store.keyed_hash(KIND, json.dumps([asked.rows, asked.received_at]))
        entry = await asyncio.wrap_future(inbox.add(Taking(asked, request.state.controller, KIND, content)))
        wake()
        return {
            "request_id": entry.request_id,
            "received_time": entry.received_at,
            "expected_completion_time": entry.expected_at,
        }

    @router.get("/requests/{request_id}")
    async def status(request: Request, request_id: str) -> dict[str, Any]:
        return _said(await asyncio.wrap_future(inbox.entry(request.state.controller, request_id)))

    @router.delete("/requests/{request_id}", status_code=202)
    async def cancel(request: Request, request_id: str) -> dict[str, Any]:
        return _said(await asyncio.wrap_future(inbox.cancel(request.state.controller, request_id)))

    @router.get("/receipts/{request_id}")
    async def receipt(request: Request, request_id: str) -> dict[str, Any]:
        entry = await asyncio.wrap_future(inbox.entry(request.state.controller, request_id))
        if entry.state != "completed":
            raise Conflict(f"This request is {entry.state}: only a completed one has a receipt.")
        return await asyncio.to_thread(store.receipt, request_id)

    return router


def _said(entry: Entry) -> dict[str, Any]:
    """What a status says."""
    return {
        "request_id": entry.request_id,
        "status": entry.state,
        "received_time": entry.received_at,
        "expected_completion_time": entry.expected_at,
        "changed_time": entry.changed_at,
        **({"reason": entry.reason} if entry.reason else {}),
    }
