"""Sending one HTTP request to an address that a stranger may have named."""

import logging
import socket
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from core import clock
from domain import http_headers, retry
from domain.attempts import ErrorCode, Phases
from domain.targets import forbidden

TIMEOUT_S = 15.0
"""From looking up the name to the last byte of the answer."""
MAX_RESPONSE_BYTES = 16 * 1024
_CODES: Mapping[type[Exception], ErrorCode] = {
    TimeoutError: "timeout",
    aiohttp.ClientConnectorDNSError: "dns_failed",
    aiohttp.ClientSSLError: "tls_failed",
    aiohttp.ClientConnectorError: "connection_failed",
    aiohttp.InvalidURL: "invalid_url",
    aiohttp.ServerDisconnectedError: "connection_closed",
    aiohttp.ClientOSError: "connection_closed",
    aiohttp.ClientPayloadError: "connection_closed",
}
"""By error, the narrower before the wider."""
_LIBRARY_HEADERS = ("Accept-Encoding", "User-Agent", "Accept")
_LOG = logging.getLogger(__name__)


class ForbiddenTarget(OSError):
    """The name leads to an address that may not be dialled."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: a status and the beginning of the body, or the error that kept it from coming."""

    duration_ms: int = 0
    status: int | None = None
    error: ErrorCode | None = None
    """A redirect has a status as well."""
    text: str | None = None
    headers: http_headers.Headers = ()
    phases: Phases = field(default_factory=Phases)
    permanent: bool = False
    """No later attempt can succeed."""
    retry_after_s: float | None = None
    """How long it asked to be left alone."""

    @property
    def success(self) -> bool:
        return self.error is None and self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """It wants nothing more, ever."""
        return self.status == HTTPStatus.GONE

    @property
    def overloaded(self) -> bool:
        """It asked for less, or did not answer in time."""
        return self.status == HTTPStatus.TOO_MANY_REQUESTS or self.error == "timeout"


class WebhookSender:
    """Posts bytes. Redirects are not followed, proxies of the environment not used, answers bounded and never
    decompressed; with private networks off, each address is checked at the moment it is dialled."""

    def __init__(self, *, allow_private_networks: bool, resolver: AbstractResolver | None = None):
        """`resolver` looks names up; the system's does where none is given."""
        self._session = aiohttp.ClientSession(
            connector=_TimedConnector(
                limit=0,
                limit_per_host=0,
                resolver=_TimedResolver(resolver or aiohttp.DefaultResolver()),
                socket_factory=None if allow_private_networks else _checked_socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_LIBRARY_HEADERS,
        )

    async def post(self, url: str, body: bytes, headers: dict[str, str], *, timeout_s: float = TIMEOUT_S) -> Reply:
        """Send once, within this time as a whole. Never raises, whatever the target does."""
        timeout = _within(min(timeout_s, TIMEOUT_S))
        watch = _Stopwatch()
        _watch.set(watch)
        head: Reply | None = None
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                watch.answered_s = time.monotonic()
                head = _head(response)
                text = await _beginning(response)
                return replace(head, duration_ms=watch.duration_ms(), phases=watch.phases(), text=text)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            code = _error(error)
            permanent = code in ("target_forbidden", "invalid_url")
            # An answer that broke off is no answer, but what there was of it is kept.
            return replace(
                head or Reply(permanent=permanent), error=code, duration_ms=watch.duration_ms(), phases=watch.phases()
            )
        except Exception:
            # Were it raised, nothing would be recorded, and the same sent again without end.
            _LOG.exception("a webhook's attempt failed unexpectedly")
            return Reply(watch.duration_ms(), error="internal_error", phases=watch.phases())

    async def close(self) -> None:
        await self._session.close()


class _Stopwatch:
    """The moments of one attempt, in seconds of the monotonic clock."""

    __slots__ = ("answered_s", "connected_s", "dialling_s", "looked_up_s", "looking_up_s", "started_s")

    def __init__(self) -> None:
        self.started_s = time.monotonic()
        self.looking_up_s: float | None = None
        self.looked_up_s: float | None = None
        self.dialling_s: float | None = None
        self.connected_s: float | None = None
        self.answered_s: float | None = None

    def duration_ms(self) -> int:
        return _ms(self.started_s, time.monotonic())

    def phases(self) -> Phases:
        """Up to now: the phase that is not over ends here."""
        now_s = time.monotonic()
        dialled = self.dialling_s is not None
        waits = self.connected_s is not None or not dialled
        return Phases(
            dns_ms=None if self.looking_up_s is None else _ms(self.looking_up_s, self.looked_up_s or now_s),
            connect_ms=_ms(self.looked_up_s or self.dialling_s or now_s, self.connected_s or now_s)
            if dialled and (self.looking_up_s is None or self.looked_up_s is not None)
            else None,
            wait_ms=_ms(self.connected_s or self.started_s, self.answered_s or now_s) if waits else None,
            receive_ms=None if self.answered_s is None else _ms(self.answered_s, now_s),
        )


_watch: ContextVar[_Stopwatch] = ContextVar("stopwatch of the attempt")


class _TimedResolver(AbstractResolver):
    """Notes on the attempt's stopwatch when a name was looked up."""

    def __init__(self, resolver: AbstractResolver):
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        watch = _watch.get()
        watch.looking_up_s = time.monotonic()
        found = await self._resolver.resolve(host, port, family)
        watch.looked_up_s = time.monotonic()
        return found

    async def close(self) -> None:
        await self._resolver.close()


class _TimedConnector(aiohttp.TCPConnector):
    """Notes when a connection was dialled. (The library's own tracing would cost every request a tenth of its time;
    this is called for new connections only.)"""

    async def _create_connection(self, *request: Any) -> Any:
        watch = _watch.get()
        watch.dialling_s = time.monotonic()
        connection = await super()._create_connection(*request)
        watch.connected_s = time.monotonic()
        return connection


def _error(error: Exception) -> ErrorCode:
    """The code of what kept an answer from coming."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ForbiddenTarget):
        return "target_forbidden"
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), "request_failed")


@cache
def _within(timeout_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=timeout_s)


def _checked_socket(address: tuple[Any, ...]) -> socket.socket:
    """Called by the connector with the very address it is about to dial: DNS cannot change it in between."""
    family, kind, protocol, _, target = address
    if forbidden(str(target[0])):
        raise ForbiddenTarget("the target's address is not public")
    return socket.socket(family, kind, protocol)


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """The seconds of `Retry-After` (RFC 9110, section 10.2.3), where the status gives them a meaning; dates as well."""
    if response.status not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return None
    return retry.after_s(response.headers.get("Retry-After", ""), clock.now())


def _head(response: aiohttp.ClientResponse) -> Reply:
    return Reply(
        status=response.status,
        error="redirect_not_followed" if 300 <= response.status < 400 else None,
        headers=http_headers.kept(response.headers.items()),
        permanent=response.status == HTTPStatus.GONE,
        retry_after_s=_retry_after_s(response),
    )


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """At most 16 KiB of the body, both as it came and in UTF-8; what follows is never read."""
    chunks, size = [], 0
    while size < MAX_RESPONSE_BYTES and (chunk := await response.content.read(MAX_RESPONSE_BYTES - size)):
        chunks.append(chunk)
        size += len(chunk)
    if size >= MAX_RESPONSE_BYTES:
        response.close()
    text = b"".join(chunks).decode("utf-8", "replace").replace("\0", "\ufffd")
    # What stands for a byte that is no text takes three.
    return text.encode()[:MAX_RESPONSE_BYTES].decode("utf-8", "ignore")


def _ms(from_s: float, to_s: float) -> int:
    return round((to_s - from_s) * 1000)
