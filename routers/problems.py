"""Errors as clients see them: one form for all, whatever raised them."""

import logging
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from core import json_codec
from core.crypto import CannotDecrypt
from core.database import DriverError, document_is_full, nothing_was_sent, outage
from core.errors import (
    Contention,
    DatabaseUnavailable,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    OutcomeUnknown,
    PspError,
    SecretUnreadable,
)
from domain.redaction import could_hold_a_secret, redact_text
from routers.request_ids import request_id_of

_MAX_ECHO = 200
_MAX_LOOKED_AT = 2000
_LOG = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    app.add_exception_handler(PspError, _psp_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(DriverError, _driver_error)
    app.add_exception_handler(CannotDecrypt, _cannot_decrypt)


def problem(
    request_id: str,
    status: int,
    code: str,
    detail: str | list[dict[str, Any]],
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = {"detail": detail, "code": code, "requestId": request_id}
    return Response(json_codec.dumps(body), status, dict(headers or {}), "application/json")


async def _psp_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PspError)
    detail = _shown(error.problems) if isinstance(error, InvalidRequest) else redact_text(str(error))
    return problem(request_id_of(request.scope), error.status, error.code, detail, error.headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _psp_error(request, InvalidRequest([dict(one) for one in error.errors()]))


async def _http_exception(request: Request, error: Exception) -> Response:
    """What the framework itself raises: unknown paths and wrong methods."""
    assert isinstance(error, HTTPException)
    if error.status_code == MethodNotAllowed.status:
        return await _psp_error(request, MethodNotAllowed(headers={"Allow": ", ".join(_allowed_methods(request))}))
    if error.status_code == NotFound.status:
        return await _psp_error(request, NotFound())
    return problem(request_id_of(request.scope), error.status_code, "http_error", str(error.detail), error.headers)


async def _driver_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DriverError)
    if document_is_full(error):
        # Its events wait for a publisher that is away, or slower than whoever changes it.
        return await _psp_error(request, Contention())
    if not outage(error):
        raise error
    reading = request.method in ("GET", "HEAD")
    return await _psp_error(request, DatabaseUnavailable() if reading or nothing_was_sent(error) else OutcomeUnknown())


async def _cannot_decrypt(request: Request, error: Exception) -> Response:
    """A webhook secret: no other request opens anything that is sealed."""
    _LOG.error("request %s needs a webhook secret that cannot be opened: %s", request_id_of(request.scope), error)
    return await _psp_error(request, SecretUnreadable())


def _allowed_methods(request: Request) -> Iterable[str]:
    routes = (route for route in request.app.routes if isinstance(route, Route))
    return sorted(
        {
            method
            for route in routes
            if route.matches(request.scope)[0] is not Match.NONE
            for method in route.methods or ()
        }
    )


def _shown(problems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pydantic's errors as JSON: no secrets, nothing that JSON cannot hold, and only the fields of the contract."""
    return [_shown_problem(one) for one in problems]


def _shown_problem(one: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": one["type"],
        "loc": [_text(part) if isinstance(part, str) else part for part in one["loc"]],
    }
    shown["msg"] = _text(str(one["msg"]))
    if "input" in one and _may_be_shown(one):
        shown["input"] = _json_value(one["input"])
    if one.get("ctx"):
        shown["ctx"] = {name: _json_value(value) for name, value in one["ctx"].items()}
    return shown


def _may_be_shown(one: dict[str, Any]) -> bool:
    """An input is echoed unless it could carry a secret: by its name, because it holds other values or is the whole
    body, or because its field is unknown (a misspelt `password`)."""
    if one["input"] == "":
        return True
    if tuple(one["loc"]) == ("body",):
        return False
    named_like_a_secret = any(could_hold_a_secret(str(part)) for part in one["loc"])
    return not named_like_a_secret and not isinstance(one["input"], dict | list) and one["type"] != "extra_forbidden"


def _json_value(value: object) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        text = _text(str(value)[:_MAX_ECHO])
        return value if abs(value) < 2**53 and text == str(value) else text
    if isinstance(value, Decimal):
        number, text = float(value), _text(str(value))
        return number if math.isfinite(number) and text == str(value) else text
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return _text(str(value))


def _text(text: str) -> str:
    """Without secrets, cut to a length worth reading; what is not valid Unicode is replaced."""
    return redact_text(text[:_MAX_LOOKED_AT])[:_MAX_ECHO].encode("utf-8", "replace").decode("utf-8")
