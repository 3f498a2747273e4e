"""The route class of the whole API: it fixes the order in which a request is checked.

Readable JSON, then credentials, then the rate limit, then role and scope (from the role table), then everything
FastAPI does: fields and query parameters. What is wrong with a request is therefore always answered with the same,
first, thing.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine
from email.message import Message
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from core import json_codec
from core.errors import (
    BodyTooLarge,
    Forbidden,
    HttpMalformed,
    InvalidRequest,
    PspError,
    UnsupportedMediaType,
)
from routers.credentials import AUTHENTICATORS, psp_of
from routers.origins import origin_of
from routers.rate_limits import UNAUTHENTICATED, count, policy_of
from routers.roles import LITERAL_PATHS, ROLE_TABLE, Access
from schemas.common import Problem
from services.caller import Caller, CallerRefused
from services.rate_limits import RateLimits

MAX_BODY_BYTES = 64 * 1024
_JSON_TYPE = re.compile(r"application/(?:[^/]+\+)?json")
_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
_CALLER = "psp.caller"
_BODY = "psp.body"
_VALIDATION_EXAMPLE = [{"type": "missing", "loc": ["body", "currency"], "msg": "Field required"}]
RESOURCES = ("transactions", "payments", "users")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class JsonRequest(Request):
    """A request whose body is bounded and whose JSON is read strictly, once."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            declared = self.headers.get("content-length", "")
            if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
                raise BodyTooLarge
            received = bytearray()
            async for chunk in self.stream():
                received += chunk
                if len(received) > MAX_BODY_BYTES:
                    raise BodyTooLarge
            self._body = self.scope[_BODY] = bytes(received)
        return self._body

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            try:
                self._json = json_codec.loads(await self.body())
            except json_codec.JsonInvalid as error:
                problem = {"type": "json_invalid", "loc": ("body", error.position), "msg": "JSON decode error"}
                raise InvalidRequest([{**problem, "ctx": {"error": str(error)}}]) from None
        return self._json


class PspRoute(APIRoute):
    """A route that stands in the role table."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any):
        (self.only_method,) = options["methods"]
        try:
            self.access: Access = ROLE_TABLE[self.only_method, path]
        except KeyError:
            raise LookupError(
                f"{self.only_method} {path} stands in no role table: add it to routers/roles.py"
            ) from None
        # FastAPI's own would be long; the function's name is unique in the API and reads well in generated clients.
        options["operation_id"] = endpoint.__name__
        super().__init__(path, endpoint, **options)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        if match is not Match.NONE and self.param_convertors and scope["path"] in LITERAL_PATHS:
            # `/payments/all` is one path and no payment called "all": any other method there is a 405.
            return Match.NONE, {}
        if match is Match.PARTIAL and child_scope["path_params"].get("resource", RESOURCES[0]) not in RESOURCES:
            # The generic DELETE knows any name, but only these are paths that exist for other methods.
            return Match.NONE, {}
        return match, child_scope

    def get_route_handler(self) -> Handler:
        read = self._reader()
        handle = super().get_route_handler()
        if read is _read_json:
            handle = self._directly(handle)
        authenticate = AUTHENTICATORS[self.access.needs]
        access = self.access
        policy = policy_of(self.only_method, self.path)
        known_parameters = self.dependant.query_params
        shows_a_secret = self.shows_a_secret
        method, path = self.only_method, self.path

        async def guarded(request: Request) -> Response:
            request = JsonRequest(request.scope, request.receive)
            limits = psp_of(request).rate_limits if policy is not None else None
            try:
                caller = await _identify(request, read, authenticate, limits)
                request.scope[_CALLER] = caller
                if limits is not None and policy is not None:
                    await count(limits, policy, request, caller)
                if caller is not None:
                    _refuse_without_access(access, caller)
                if not known_parameters and request.scope["query_string"]:
                    _refuse_parameters(request)
                response = await handle(request)
            except Forbidden:
                await _write_down(request, f"{method} {path}")
                raise
            if shows_a_secret:
                response.headers["Cache-Control"] = "no-store"
            return response

        return guarded

    @property
    def shows_a_secret(self) -> bool:
        """Whether no cache may keep what is answered."""
        return getattr(self.response_model, "shows_a_secret", False) is True

    def _directly(self, handle: Handler) -> Handler:
        """The short way for an endpoint that takes the request and one JSON body and makes its own response.

        FastAPI spends a fifth of a charge's time on resolving what is not there. It is still the one that says what is
        wrong with a body, so that all errors are told alike.
        """
        assert self.body_field is not None
        signature, model = inspect.signature(self.endpoint), self.body_field.field_info.annotation
        names = [self.dependant.request_param_name, self.body_field.name]
        if list(signature.parameters) != names or signature.return_annotation is not Response:
            return handle
        assert isinstance(model, type) and issubclass(model, BaseModel)
        endpoint: Callable[[Request, BaseModel], Awaitable[Response]] = self.endpoint

        async def handle_directly(request: Request) -> Response:
            if not await request.body():
                return await handle(request)
            try:
                body = model.model_validate(await request.json())
            except ValidationError:
                return await handle(request)
            return await endpoint(request, body)

        return handle_directly

    def _reader(self) -> Callable[[JsonRequest], Awaitable[None]]:
        if self.body_field is None:
            return _read_nothing
        media_type = getattr(self.body_field.field_info, "media_type", "application/json")
        if media_type in _FORM_TYPES:
            return _read_form
        return _read_json if self.body_field.field_info.is_required() else _read_optional_json


def documented(*errors: type[PspError]) -> dict[int | str, dict[str, Any]]:
    """What a route says of the errors of its own; those of guard, body and database come by themselves."""
    responses: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        document_error(responses, error)
        responses[str(error.status)]["model"] = Problem
    return responses


def document_error(responses: dict[Any, dict[str, Any]], error: type[PspError], detail: str | None = None) -> None:
    """Add an error to an operation's responses, beside others of the same status."""
    entry = responses.setdefault(str(error.status), {"description": ""})
    media = entry.setdefault("content", {}).setdefault("application/json", {})
    if error.code not in media.setdefault("examples", {}):
        entry["description"] = " · ".join(filter(None, (entry["description"], f"`{error.code}`")))
    media["examples"][error.code] = {
        "value": {
            "detail": _VALIDATION_EXAMPLE if error is InvalidRequest else detail or error.message,
            "code": error.code,
            "requestId": "req_06gztrpz170we29n8r9na1k3t0",
        }
    }


def caller_of(request: Request) -> Caller:
    """The caller that the guard has authenticated."""
    caller: Caller = request.scope[_CALLER]
    return caller


def caller_in(scope: Scope) -> Caller | None:
    """Whose request it is, whether or not it was let in; None where no credentials were right."""
    caller: Caller | None = scope.get(_CALLER)
    return caller


def body_in(scope: Scope) -> bytes:
    """The request's body, as far as it was read."""
    body: bytes = scope.get(_BODY, b"")
    return body


def _refuse_without_access(access: Access, caller: Caller) -> None:
    if caller.role not in access.roles:
        raise Forbidden(access.refusal_message)
    if access.scope is not None and access.scope not in caller.scopes:
        raise Forbidden(f"Access denied. The API key lacks the scope '{access.scope}'.")


async def _read_nothing(request: JsonRequest) -> None:
    pass


async def _read_json(request: JsonRequest) -> None:
    media_type = _media_type(request)
    if media_type is not None and not _JSON_TYPE.fullmatch(media_type):
        raise UnsupportedMediaType
    if await request.body():
        if media_type is None:
            raise UnsupportedMediaType
        await request.json()


async def _read_optional_json(request: JsonRequest) -> None:
    if await request.body():
        await _read_json(request)


async def _read_form(request: JsonRequest) -> None:
    media_type = _media_type(request)
    if media_type not in (None, *_FORM_TYPES) or (await request.body() and media_type is None):
        raise UnsupportedMediaType("Unsupported media type. Send the body as application/x-www-form-urlencoded.")
    try:
        await request.form()
    except (HTTPException, ValueError):
        raise InvalidRequest([{"type": "value_error", "loc": ("body",), "msg": "Form decode error"}]) from None


def _media_type(request: Request) -> str | None:
    header = request.headers.get("content-type")
    if header is None or header == "application/json":
        return header
    message = Message()
    message["content-type"] = header
    return message.get_content_type()


async def _identify(
    request: JsonRequest,
    read: Callable[[JsonRequest], Awaitable[None]],
    authenticate: Callable[[Request], Awaitable[Caller | None]],
    limits: RateLimits | None,
) -> Caller | None:
    """Who calls. What cannot be read, or shows no good credentials, counts against its address."""
    try:
        await read(request)
        return await authenticate(request)
    except ClientDisconnect:
        # Nobody reads this answer, and it is no failure of the server: it counts as what it is.
        raise HttpMalformed("The request ended before it was complete.") from None
    except PspError as error:
        if isinstance(error, CallerRefused):
            request.scope[_CALLER] = error.caller
        if limits is not None:
            await count(limits, UNAUTHENTICATED, request, None)
        raise


async def _write_down(request: Request, route: str) -> None:
    """A denial is in the audit log before it is answered."""
    caller = caller_in(request.scope)
    named = list(request.path_params.values())
    if caller is not None:
        await psp_of(request).audit.record_denial(origin_of(request).of(caller), route, named[-1] if named else None)


def _refuse_parameters(request: Request) -> None:
    if names := list(request.query_params.keys()):
        raise InvalidRequest(
            [
                {"type": "extra_forbidden", "loc": ("query", name), "msg": "Extra inputs are not permitted"}
                for name in names
            ]
        )
