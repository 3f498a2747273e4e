"""The HTTP API as commands use it, and what they say when it does not go well.

Exit codes: 0 it is done, 1 the server says no or it did not come about, 2 it cannot be asked (arguments, key, server).
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any, NoReturn

import aiohttp
import typer

from core.config import load_address
from core.errors import ConfigurationError

API_PATH = "/api/v1"
WAIT_S = 30
"""How long a command waits for what a worker has to do."""
_NO_SUCH_PATH = "Not Found"
_TIMEOUT = aiohttp.ClientTimeout(total=WAIT_S + 15, sock_connect=10)


class CommandFailed(Exception):
    """One sentence for the person who gave the command."""

    exit_code = 1


class Refused(CommandFailed):
    """The server understood and says no."""


class Misdirected(CommandFailed):
    """The arguments, the key or the URL are wrong."""

    exit_code = 2


class Unavailable(CommandFailed):
    """Nobody answers, or only that it cannot be done just now: later it may."""

    exit_code = 2


class Api:
    """A server's routes below /api/v1, with an account's API key. Every call raises CommandFailed."""

    def __init__(self, session: aiohttp.ClientSession, url: str):
        self.url = url
        self._session = session

    async def get(self, path: str, **query: str | int) -> dict[str, Any]:
        return self._object(await self._send("GET", path, params=query))

    async def get_bytes(self, path: str) -> bytes:
        return await self._send("GET", path)

    async def post(self, path: str, body: Mapping[str, Any] | None = None, *, wait_s: int = 0) -> dict[str, Any]:
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        return self._object(await self._send("POST", path, json=body or {}, headers=headers))

    async def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._object(await self._send("PATCH", path, json=body))

    async def delete(self, path: str) -> None:
        await self._send("DELETE", path)

    async def _send(self, method: str, path: str, **options: Any) -> bytes:
        try:
            # A redirect is not followed: the key is for this server and for no other.
            async with self._session.request(
                method, f"{self.url}{API_PATH}{path}", allow_redirects=False, **options
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                f"No server answers at {self.url} ({_reason(error)}). `make run` starts one here, and --url or "
                "MOCK_PSP_URL names another."
            ) from None
        except ValueError:  # a name that is too long, or has an empty part
            raise Misdirected(f"{self.url} names no host that there could be.") from None
        if not 200 <= response.status < 300:
            self._refuse(response.status, content)
        return content

    def _refuse(self, status: int, content: bytes) -> NoReturn:
        told = _told(content)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Unavailable(f"{self.url} answers {status}{f': {told}' if told else '.'}")
        if told in (None, _NO_SUCH_PATH):
            raise self._elsewhere()
        if status == HTTPStatus.UNAUTHORIZED:
            raise Misdirected(
                f"{self.url} does not know this API key. Give one of an account there (MOCK_PSP_API_KEY)."
            )
        raise Misdirected(told) if status == HTTPStatus.UNPROCESSABLE_ENTITY else Refused(told)

    def _object(self, content: bytes) -> dict[str, Any]:
        with suppress(ValueError):
            value = json.loads(content)
            if isinstance(value, dict):
                return value
        raise self._elsewhere()

    def _elsewhere(self) -> Misdirected:
        return Misdirected(f"{self.url} does not answer as Mock PSP does. Is the URL right?")


def run(
    api_key: str | None, url: str | None, work: Callable[[Api], Awaitable[None]], *, until_interrupted: bool = False
) -> None:
    """Do something with the API; what fails is one sentence on standard error and the exit code.

    With `until_interrupted` Ctrl-C is the way to end it, and no failure.
    """

    async def connected() -> None:
        async with _connected(api_key, url) as api:
            await (_until_interrupted(work(api)) if until_interrupted else work(api))

    try:
        asyncio.run(connected())
    except CommandFailed as error:
        fail(str(error), error.exit_code)
    except ConfigurationError as error:
        fail(str(error))


def fail(sentence: str, exit_code: int = 2) -> NoReturn:
    typer.echo(f"Error: {sentence}", err=True)
    raise typer.Exit(exit_code)


@asynccontextmanager
async def _connected(api_key: str | None, url: str | None) -> AsyncIterator[Api]:
    if api_key is None:
        raise ConfigurationError(
            "An API key is needed, in MOCK_PSP_API_KEY or as --api-key. POST /api/v1/users/register answers one."
        )
    async with aiohttp.ClientSession(headers={"X-API-Key": api_key}, timeout=_TIMEOUT, trust_env=True) as session:
        yield Api(session, (url or load_address().url).rstrip("/").removesuffix(API_PATH))


async def _until_interrupted(work: Awaitable[None]) -> None:
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0
        return os.strerror(number) if number > 0 else error.os_error.strerror or str(error.os_error)
    return "timeout" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


def _told(content: bytes) -> str | None:
    """What the server has to say about an error, as one text; None where it does not speak like this API."""
    try:
        detail = json.loads(content)["detail"]
        return _all_of(detail) if isinstance(detail, list) else str(detail)
    except (ValueError, TypeError, KeyError):
        return None


def _all_of(problems: list[dict[str, Any]]) -> str:
    """Everything that validation finds wrong; where it is, without saying that it is in the body."""
    told = [(".".join(map(str, one["loc"][1:])), one["msg"].removeprefix("Value error, ")) for one in problems]
    return "; ".join(f"{where}: {reason}" for where, reason in told) + "."
