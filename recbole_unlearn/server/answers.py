"""Answers that say what is wrong, in OpenDSR's form, and never repeat what was sent."""

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from recbole_unlearn.errors import UsageError
from recbole_unlearn.server.inbox import Conflict
from recbole_unlearn.server.rows import Unknown

NO_STORE = {"Cache-Control": "no-store"}


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


def register(app: FastAPI) -> None:
    """Let an app answer its errors so."""

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        details = [
            {"domain": "Validation", "reason": fault["type"], "message": f"{_place(fault['loc'])}: {fault['msg']}"}
            for fault in error.errors()[:20]
        ]
        return refusal(400, details[0]["message"] if details else "The body is malformed.", details)

    @app.exception_handler(UsageError)
    async def unusable(_: Request, error: UsageError) -> JSONResponse:
        return refusal(400, str(error))

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
