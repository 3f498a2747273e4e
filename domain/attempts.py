"""One attempt to deliver a webhook, as it is written down."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from domain.http_headers import Headers

ErrorCode = Literal[
    "timeout",
    "dns_failed",
    "connection_failed",
    "tls_failed",
    "connection_closed",
    "request_failed",
    "redirect_not_followed",
    "secret_unreadable",
    "internal_error",
    "target_forbidden",
    "invalid_url",
]
"""What can go wrong with an attempt, where an HTTP status does not say it."""


@dataclass(frozen=True, slots=True)
class Phases:
    """How long each part took, in milliseconds; None for what it did not come to, or did not need: a connection that
    is used again is neither looked up nor dialled."""

    dns_ms: int | None = None
    connect_ms: int | None = None
    """Dialling, and TLS."""
    wait_ms: int | None = None
    """Sending the request, until the head of the answer was there."""
    receive_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    at: datetime
    url: str | None
    """Where it went: an endpoint's may have changed since the delivery was made."""
    duration_ms: int
    phases: Phases
    status: int | None
    error: ErrorCode | None
    request_headers: Headers
    response_headers: Headers
    response: str | None
    """The beginning of the answer's body."""
