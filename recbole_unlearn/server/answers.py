"""Answers that say what is wrong, in OpenDSR's form, and never repeat what was sent."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging import getLogger

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from recbole_unlearn.errors import UsageError
from recbole_unlearn.server.inbox import Conflict
from recbole_unlearn.server.rows import Unknown

NO_STORE = {"Cache-Control": "no-store"}


class Malformed(Exception):
    """A request is not one that the service takes; the message is for its sender alone."""


def refusal(code: int, message: str, details: Sequence[dict[str, str]] = (), **headers: str) -> JSONResponse:
    """An answer with an error.

    Args:
        code: of HTTP.
        message: one line, which names nobody.
        details: ``domain``, ``reason`` and ``message`` of each fault.
        headers: more of them, with underscores in place of hyphens.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = {"error": {"code": code, "message": message, "errors": list(details)}}
    return JSONResponse(content, code, {**NO_STORE, **named})


@contextmanager
def of_the_sender() -> Iterator[None]:
    """Make what the block refuses the sender's fault.

    Raises:
        Malformed: replaces a UsageError or ValueError.
    """
    try:
        yield
    except (UsageError, ValueError) as error:
        raise Malformed(str(error)) from None


def register(app: FastAPI) -> None:
    """Let an app answer its errors so."""

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        details = [
            {"domain": "Validation", "reason": fault["type"], "message": f"{_place(fault['loc'])}: {fault['msg']}"}
            for fault in error.errors()[:20]
        ]
        return refusal(400, details[0]["message"] if details else "The body is malformed.", details)

    @app.exception_handler(Malformed)
    async def unusable(_: Request, error: Malformed) -> JSONResponse:
        return refusal(400, str(error))

    @app.exception_handler(UsageError)
    async def broken(_: Request, __: UsageError) -> JSONResponse:
        getLogger().error("The store cannot be read: --verify says why")
        return refusal(503, "The store cannot be read.")

    @app.exception_handler(sqlite3.Error)
    async def full(_: Request, error: sqlite3.Error) -> JSONResponse:
        getLogger().error(f"The inbox cannot be written ({type(error).__name__}): check the disk")
        return refusal(503, "The request was not taken. Try again later.")

    @app.exception_handler(Conflict)
    async def conflicting(_: Request, error: Conflict) -> JSONResponse:
        return refusal(409, str(error))

    @app.exception_handler(Unknown)
    async def unknown(_: Request, __: Unknown) -> JSONResponse:
        return refusal(404, "There is no such request.")

    @app.exception_handler(HTTPException)
    async def others(_: Request, error: HTTPException) -> JSONResponse:
        return refusal(error.status_code, str(error.detail), (), **dict(error.headers or {}))


def _place(path):
    return ".".join(str(step) for step in path if step != "body") or "body"
