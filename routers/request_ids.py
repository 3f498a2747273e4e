"""The id of a request: its own `X-Request-ID` where that is a plain word, and else a fresh one."""

import re

from starlette.types import Scope

from core import ids
from domain.redaction import redact_text

_ACCEPTED = re.compile(rb"[A-Za-z0-9._:=+/@~-]{1,128}")
_KEPT_AS = "psp.request_id"
_LONGEST = 128


def give_request_id(scope: Scope) -> str:
    request_id: str = _given(scope) or ids.fresh("req")
    scope[_KEPT_AS] = request_id
    return request_id


def request_id_of(scope: Scope) -> str:
    request_id: str = scope[_KEPT_AS]
    return request_id


def request_id_to_keep(scope: Scope) -> str:
    """The same as it may be written down and sent on: clients choose theirs, and a secret in one is kept no more than
    anywhere else. Printable ASCII without spaces, 128 characters at most."""
    given = _given(scope)
    return request_id_of(scope) if given is None else redact_text(given)[:_LONGEST]


def _given(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ACCEPTED.fullmatch(value):
            return str(value.decode("ascii"))
    return None
