"""Sending one HTTP request to an address that a stranger may have named."""

import socket
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_exceptions import ClientConnectorError

from core import clock
from domain import retry
from domain.targets import forbidden

TIMEOUT_S = 15.0
"""From looking up the name to the last byte of the answer."""
MAX_RESPONSE_BYTES = 16 * 1024
_LIBRARY_HEADERS = ("Accept-Encoding", "User-Agent", "Accept")


class ForbiddenTarget(OSError):
    """The name leads to an address that may not be dialled."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: a status and the beginning of the body, or the error that kept it from coming."""

    duration_ms: int
    status: int | None = None
    error: str | None = None
    text: str | None = None
    permanent: bool = False
    """No later attempt can succeed."""
    retry_after_s: float | None = None
    """How long it asked to be left alone."""

    @property
    def success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

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
            connector=aiohttp.TCPConnector(
                limit=0,
                limit_per_host=0,
                resolver=resolver,
                socket_factory=None if allow_private_networks else _checked_socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_LIBRARY_HEADERS,
        )

    async def post(self, url: str, body: bytes, headers: dict[str, str], *, timeout_s: float = TIMEOUT_S) -> Reply:
        """Send once, within this time as a whole. Never raises for what the target does."""
        timeout = aiohttp.ClientTimeout(total=min(timeout_s, TIMEOUT_S))
        started = time.monotonic()
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                text = await _beginning(response)
                return Reply(
                    _ms_since(started),
                    status=response.status,
                    text=text,
                    permanent=response.status == HTTPStatus.GONE,
                    retry_after_s=_retry_after_s(response),
                )
        except ClientConnectorError as error:
            if isinstance(error.os_error, ForbiddenTarget):
                return Reply(_ms_since(started), error="target_forbidden", permanent=True)
            return Reply(_ms_since(started), error="connection_failed")
        except aiohttp.InvalidURL:
            return Reply(_ms_since(started), error="invalid_url", permanent=True)
        except TimeoutError:
            return Reply(_ms_since(started), error="timeout")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(_ms_since(started), error=f"request_failed: {type(error).__name__}")

    async def close(self) -> None:
        await self._session.close()


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


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """At most 16 KiB of the body; what follows is never read."""
    chunks, size = [], 0
    while size < MAX_RESPONSE_BYTES and (chunk := await response.content.read(MAX_RESPONSE_BYTES - size)):
        chunks.append(chunk)
        size += len(chunk)
    if size >= MAX_RESPONSE_BYTES:
        response.close()
    return b"".join(chunks).decode("utf-8", "replace").replace("\0", "\ufffd")


def _ms_since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)
