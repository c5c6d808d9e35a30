"""OpenDSR 2.0: erasure of whole users, with signed answers.

The specification: https://github.com/opengdpr/OpenDSR/blob/master/specification.md
"""

import asyncio
import base64
import json
import uuid
from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import PlainTextResponse, Response

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.store.database import iso, now
from recbole_unlearn.server.answers import NO_STORE, of_the_sender
from recbole_unlearn.server.callbacks import API_VERSION, check_url
from recbole_unlearn.server.inbox import Inbox
from recbole_unlearn.server.metrics import Metrics
from recbole_unlearn.server.rows import Entry, Taking
from recbole_unlearn.server.signing import Signer

KIND, PREFIX = "opendsr", "/v2"
DISCOVERY, CERTIFICATE = f"{PREFIX}/discovery", f"{PREFIX}/certificate.pem"
IDENTITY_TYPES = (
    "controller_customer_id",
    "android_advertising_id",
    "android_id",
    "email",
    "fire_advertising_id",
    "ios_advertising_id",
    "ios_vendor_id",
    "microsoft_advertising_id",
    "microsoft_publisher_id",
    "roku_publisher_id",
    "roku_advertising_id",
)
ERASURE = "erasure"
FAILED_AS = "in_progress"  # OpenDSR knows no failure: it waits for whoever runs the service


def _uuid4(text: str) -> str:
    try:
        known = uuid.UUID(text)
    except ValueError:
        known = None
    if known is None or str(known) != text or known.version != 4:
        raise ValueError("must be a version 4 UUID in small letters")
    return text


def _version(text: str) -> str:
    if text.partition(".")[0] != API_VERSION.partition(".")[0]:
        raise ValueError(f"this service has api_version {API_VERSION}")
    return text


class Identity(BaseModel):
    """One way of naming the data subject."""

    model_config = ConfigDict(extra="forbid", strict=True)
    identity_type: Literal[IDENTITY_TYPES]  # type: ignore[valid-type]
    identity_value: Annotated[str, Field(min_length=1)]
    identity_format: Literal["raw", "sha1", "md5", "sha256"]


class Body(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="forbid", strict=True)
    regulation: Literal["gdpr", "ccpa"]
    subject_request_id: Annotated[str, AfterValidator(_uuid4)]
    subject_request_type: Literal["erasure", "access", "portability"]
    submitted_time: Annotated[AwareDatetime, Field(strict=False)]  # JSON has it as text
    subject_identities: Annotated[list[Identity], Field(min_length=1, max_length=100)]
    status_callback_urls: Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=5)] = []
    api_version: Annotated[str, AfterValidator(_version)] = API_VERSION
    extensions: dict[str, dict[str, Any]] = {}


def routes(
    inbox: Inbox,
    store: Store,
    signer: Signer,
    metrics: Metrics,
    identity: str,
    hosts: Collection[str],
    wake: Callable[[], None],
) -> APIRouter:
    """The endpoints.

    Args:
        inbox: of the store.
        store: for hashes.
        signer: of all answers.
        metrics: to count identities of other types in.
        identity: type of the identities that are the model's user tokens.
        hosts: that callbacks may go to.
        wake: called when there is a new request.
    """
    router = APIRouter(prefix=PREFIX)

    def signed(content: dict[str, Any], code: int = 200) -> Response:
        body = json.dumps(content).encode()
        headers = {**NO_STORE, **signer.headers(body)}
        return Response(body, code, headers, media_type="application/json")

    @router.get("/discovery")
    async def discovery() -> Response:
        return signed(
            {
                "api_version": API_VERSION,
                "supported_identities": [{"identity_type": identity, "identity_format": "raw"}],
                "supported_subject_request_types": [ERASURE],
                "processor_certificate": f"https://{signer.domain}{CERTIFICATE}",
            }
        )

    @router.get("/certificate.pem")
    async def certificate() -> Response:
        return PlainTextResponse(signer.certificate, media_type="application/x-pem-file")

    @router.post("/requests")
    async def submit(request: Request, body: Body) -> Response:
        with of_the_sender():
            users = _users(body, identity, signer.domain)
            urls = tuple(check_url(url, hosts) for url in body.status_callback_urls)
            rows = [("user", user, None) for user in users]
            asked = DeletionRequest(body.subject_request_id, rows, body.submitted_time.isoformat())
        content = store.keyed_hash(KIND, body.model_dump_json())
        entry = await asyncio.wrap_future(inbox.add(Taking(asked, request.state.controller, KIND, content, urls)))
        metrics.ignored(len(body.subject_identities) - len(users))
        wake()
        return signed(
            {
                "controller_id": entry.controller,
                "expected_completion_time": entry.expected_at,
                "received_time": entry.received_at,
                "encoded_request": base64.b64encode(await request.body()).decode(),
                "subject_request_id": entry.request_id,
            },
            201,
        )

    @router.get("/requests/{subject_request_id}")
    @router.get("/status/{subject_request_id}")  # the specification names both
    async def status(request: Request, subject_request_id: str) -> Response:
        entry = await asyncio.wrap_future(inbox.entry(request.state.controller, subject_request_id))
        return signed({**_said(entry), "request_status": FAILED_AS if entry.state == "failed" else entry.state})

    @router.delete("/requests/{subject_request_id}")
    async def cancel(request: Request, subject_request_id: str) -> Response:
        entry = await asyncio.wrap_future(inbox.cancel(request.state.controller, subject_request_id))
        return signed({**_said(entry), "received_time": iso(now())}, 202)

    return router


def _users(body: Body, identity: str, domain: str) -> list[str]:
    """The user tokens that a request names.

    Raises:
        ValueError: it wants something else than an erasure, or names no user in a form that the service knows.
    """
    if body.subject_request_type != ERASURE:
        raise ValueError(f"subject_request_type: this service has {ERASURE} only.")
    if domain in body.extensions:
        raise ValueError("extensions: this service has none of its own.")
    ours = [each for each in body.subject_identities if each.identity_type == identity]
    if any(each.identity_format != "raw" for each in ours):
        raise ValueError("identity_format: this service needs identities in the format raw.")
    if not ours:
        raise ValueError(f"subject_identities: this service needs an identity of type {identity}.")
    return [each.identity_value for each in ours]


def _said(entry: Entry) -> dict[str, Any]:
    """What all answers about a known request say."""
    return {
        "controller_id": entry.controller,
        "subject_request_id": entry.request_id,
        "expected_completion_time": entry.expected_at,
        "api_version": API_VERSION,
    }
