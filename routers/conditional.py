"""Conditional requests (RFC 9110, section 13): one object's GET carries an ETag, and If-None-Match a 304."""

from hashlib import sha256
from typing import Any

from fastapi import Request, Response

from core.errors import PspError
from routers.dependencies import IF_NONE_MATCH_HEADER
from routers.route import documented

_ETAG = {"description": "What `If-None-Match` may name later", "schema": {"type": "string"}}


def documented_conditional(*errors: type[PspError]) -> dict[str, Any]:
    """What such a route says of its headers and of the errors of its own."""
    return {
        "responses": {
            **documented(*errors),
            200: {"headers": {"ETag": _ETAG}},
            304: {"description": "Nothing has changed"},
        },
        "openapi_extra": {"parameters": [IF_NONE_MATCH_HEADER]},
    }


def conditional(request: Request, body: bytes) -> Response:
    """The body with its ETag, or 304 where the client has just that already."""
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    known = request.headers.get("if-none-match", "")
    if known.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers={"ETag": etag})
    return Response(body, headers={"ETag": etag}, media_type="application/json")
