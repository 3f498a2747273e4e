"""What a route can ask for, as types: the caller, the services, and how a command is to be carried out."""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import Depends, Request

from core.errors import InvalidRequest
from routers.credentials import psp_of
from routers.origins import origin_of
from routers.request_ids import request_id_to_keep
from routers.route import caller_of
from schemas.payments import ChargeFields
from services.audit import Actor, Origin
from services.caller import Caller
from services.charging import MAX_WAIT_S
from services.idempotency import Answer
from services.psp import Psp

_PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Command:
    """Somebody asks for something that creates or moves money."""

    psp: Psp
    caller: Caller
    idempotency_key: str | None
    wait_s: float
    """How long to wait for the final state; 0 for an answer at once."""


async def charge_with(request: Request, body: ChargeFields, customer_id: str | None, route: str) -> Answer:
    """Carry out the charge that a request is. `route` is where its idempotency keys count."""
    command = command_of(request)
    return await command.psp.charging.charge(
        command.caller,
        body,
        customer_id,
        route=route,
        idempotency_key=command.idempotency_key,
        wait_s=command.wait_s,
        base_url=lambda: str(request.base_url),
    )


def _caller_with_id(request: Request) -> Caller:
    return replace(caller_of(request), request_id=request_id_to_keep(request.scope))


async def _caller(request: Request) -> Caller:
    return _caller_with_id(request)


async def _origin(request: Request) -> Origin:
    return origin_of(request)


async def _actor(request: Request) -> Actor:
    return origin_of(request).of(caller_of(request))


async def _psp(request: Request) -> Psp:
    return psp_of(request)


def command_of(request: Request) -> Command:
    """The command that a request is, without its body.

    A plain call and no dependency: charges are the hot path, and what FastAPI does for one dependency with two
    headers is a tenth of a whole charge.
    """
    headers = request.headers
    key, preference = headers.get("idempotency-key"), headers.get("prefer")
    return Command(
        psp_of(request),
        _caller_with_id(request),
        None if key is None else _idempotency_key(key),
        _wait_s(preference) if preference else 0.0,
    )


def _idempotency_key(key: str) -> str:
    """The key, bare or in the quotes of a structured header (RFC 8941)."""
    bare = key[1:-1] if len(key) >= 2 and key[0] == key[-1] == '"' else key
    if not _PRINTABLE.fullmatch(bare):
        problem = {"type": "value_error", "loc": ("header", "Idempotency-Key"), "input": key}
        raise InvalidRequest([{**problem, "msg": "Value error, 1 to 255 printable ASCII characters are needed"}])
    return bare


def _wait_s(preference: str) -> float:
    # A preference that is not understood is ignored (RFC 7240, section 2).
    wait = _WAIT.search(preference)
    return min(float(wait[1]), MAX_WAIT_S) if wait else 0.0


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    described = {"type": "string", **schema}
    return {"in": "header", "name": name, "required": False, "schema": described, "description": description}


IDEMPOTENCY_KEY_HEADER = _header(
    "Idempotency-Key",
    "1–255 printable characters: repeat a request safely",
    # One more on either side for the quotes.
    maxLength=257,
    pattern="^[ -~]+$",
)
PREFER_HEADER = _header(
    "Prefer", f"`wait=N` (RFC 7240) waits up to N seconds, at most {MAX_WAIT_S}, for the final state"
)
IF_NONE_MATCH_HEADER = _header("If-None-Match", "An `ETag` of this object: 304 while nothing has changed since")

ActorDep = Annotated[Actor, Depends(_actor)]
OriginDep = Annotated[Origin, Depends(_origin)]
CallerDep = Annotated[Caller, Depends(_caller)]
PspDep = Annotated[Psp, Depends(_psp)]
