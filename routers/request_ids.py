"""The id of a request: its own `X-Request-ID` where that is a plain word, and else a fresh one."""

import re

from starlette.types import Scope

from core import ids

_ACCEPTED = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_KEPT_AS = "psp.request_id"


def give_request_id(scope: Scope) -> str:
    request_id: str = _given(scope) or ids.fresh("req")
    scope[_KEPT_AS] = request_id
    return request_id


def request_id_of(scope: Scope) -> str:
    request_id: str = scope[_KEPT_AS]
    return request_id


def _given(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ACCEPTED.fullmatch(value):
            return str(value.decode("ascii"))
    return None
