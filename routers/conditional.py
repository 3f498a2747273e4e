"""Conditional requests (RFC 9110, section 13): one object's GET carries an ETag, and If-None-Match a 304."""

from hashlib import sha256

from fastapi import Request, Response


def conditional(request: Request, body: bytes) -> Response:
    """The body with its ETag, or 304 where the client has just that already."""
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    known = request.headers.get("if-none-match", "")
    if known.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers={"ETag": etag})
    return Response(body, headers={"ETag": etag}, media_type="application/json")
