"""What a route can ask for, as types: the caller, the services, the headers."""

import re
from typing import Annotated

from fastapi import Depends, Header, Request

from core.errors import InvalidRequest
from routers.route import caller_of
from services.caller import Caller
from services.payments import MAX_WAIT_S
from services.psp import Psp

_PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE | re.ASCII)


async def _caller(request: Request) -> Caller:
    return caller_of(request)


async def _psp(request: Request) -> Psp:
    psp: Psp = request.app.state.psp
    return psp


async def _idempotency_key(
    key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="1–255 printable characters: repeat a request safely"),
    ] = None,
) -> str | None:
    if key is None:
        return None
    bare = key[1:-1] if len(key) >= 2 and key[0] == key[-1] == '"' else key
    if not _PRINTABLE.fullmatch(bare):
        problem = {"type": "value_error", "loc": ("header", "Idempotency-Key"), "input": key}
        raise InvalidRequest([{**problem, "msg": "Value error, 1 to 255 printable ASCII characters are needed"}])
    return bare


async def _wait_s(
    prefer: Annotated[
        str | None,
        Header(description=f"`wait=N` (RFC 7240) waits up to N seconds, at most {MAX_WAIT_S}, for the final state"),
    ] = None,
) -> float:
    # A preference that is not understood is ignored (RFC 7240, section 2).
    wait = _WAIT.search(prefer) if prefer else None
    return min(float(wait[1]), MAX_WAIT_S) if wait else 0.0


CallerDep = Annotated[Caller, Depends(_caller)]
PspDep = Annotated[Psp, Depends(_psp)]
IdempotencyKeyDep = Annotated[str | None, Depends(_idempotency_key)]
WaitDep = Annotated[float, Depends(_wait_s)]
