"""A bank that is a process of its own: spoken to over HTTP, and left alone for a while when it does not answer."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import replace

import aiohttp
from pydantic import ValidationError

from bank.messages import MAX_BATCH, BatchOut
from core import json_codec, metrics
from core.logs import structured_logger
from domain.acquiring import Answer, Operation

_LOG = structured_logger(__name__)
TIMEOUT_S = 3.0
"""Of one attempt, from connecting to the last byte."""
MAX_ATTEMPTS = 3
"""Where the connection failed. What timed out is not sent again from here: it is looked up first."""
BACKOFF_S = 0.1
MAX_ANSWER_BYTES = 1024 * 1024
"""Several times what MAX_BATCH answers take."""
FAILURES_TO_OPEN = 5
OPEN_S = 2.0


class NoAnswer(Exception):
    """The bank answered with an error of its own."""


class Unreadable(Exception):
    """The bank refused a batch because of its contents."""


class Breaker:
    """Stops calls after FAILURES_TO_OPEN failures in a row; every OPEN_S after that one call tries (half-open)."""

    def __init__(self) -> None:
        self._failures = 0
        self._next_try_at = 0.0
        self._tell()

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES_TO_OPEN

    def lets_through(self) -> bool:
        """Whether a call may be made now. While open, the first to ask is the one that tries."""
        if not self.is_open:
            return True
        if time.monotonic() < self._next_try_at:
            return False
        self._next_try_at = time.monotonic() + OPEN_S
        return True

    def succeeded(self) -> None:
        if self.is_open:
            _LOG.warning("the bank answers again")
        self._failures = 0
        self._tell()

    def failed(self, reason: str) -> None:
        self._failures += 1
        self._next_try_at = time.monotonic() + OPEN_S
        if self._failures == FAILURES_TO_OPEN:
            _LOG.warning("the bank does not answer (%s): asking once every %g s", reason, OPEN_S)
        self._tell()

    def _tell(self) -> None:
        metrics.BREAKER.labels("open").set(self.is_open)
        metrics.BREAKER.labels("closed").set(not self.is_open)


class HttpBank:
    """Submits and looks up in batches. Raises nothing for what the bank or the network does."""

    def __init__(self, url: str):
        self._url = url
        self.breaker = Breaker()
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            headers={"Content-Type": "application/json"},
        )

    async def submit(self, operations: Sequence[Operation]) -> list[Answer | None]:
        return await self._exchange("/operations", operations)

    async def look_up(self, operations: Sequence[Operation]) -> list[Answer | None]:
        return await self._exchange("/operations/look-up", [replace(one, pan=None) for one in operations])

    async def close(self) -> None:
        await self._session.close()

    async def _exchange(self, path: str, operations: Sequence[Operation]) -> list[Answer | None]:
        if len(operations) > MAX_BATCH:
            return await self._exchange_halves(path, operations)
        if not operations or not self.breaker.lets_through():
            return [None] * len(operations)
        try:
            body = json_codec.dumps({"operations": [_message(one) for one in operations]})
            received = await self._ask(path, body, _headers(operations))
        except Unreadable:
            self.breaker.succeeded()
            if len(operations) > 1:
                return await self._exchange_halves(path, operations)
            (one,) = operations
            _LOG.error(
                "the bank cannot read an operation; its payment waits", request_id=one.request_id, operation_id=one.id
            )
            return [None]
        except (NoAnswer, aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
            self.breaker.failed(str(error) if isinstance(error, NoAnswer) else type(error).__name__)
            return [None] * len(operations)
        self.breaker.succeeded()
        answers = {one.operation_id: one.answer() for one in received.answers}
        return [answers.get(operation.id) for operation in operations]

    async def _exchange_halves(self, path: str, operations: Sequence[Operation]) -> list[Answer | None]:
        """Down to single ones where need be, so that an operation that cannot be read keeps no other from the bank."""
        middle = len(operations) // 2
        halves = (operations[:middle], operations[middle:])
        return [answer for half in halves for answer in await self._exchange(path, half)]

    async def _ask(self, path: str, body: bytes, headers: dict[str, str]) -> BatchOut:
        """One batch. Tried again where the connection fails: each operation has its id, so twice is harmless."""
        for attempt in range(1, MAX_ATTEMPTS):
            try:
                return await self._post(path, body, headers)
            except aiohttp.ClientConnectionError as error:
                if isinstance(error, TimeoutError):
                    raise
                # Full jitter: those who failed together do not come back together.
                await asyncio.sleep(random.uniform(0, BACKOFF_S * 2**attempt))  # noqa: S311 - guards nothing
        return await self._post(path, body, headers)

    async def _post(self, path: str, body: bytes, headers: dict[str, str]) -> BatchOut:
        async with self._session.post(self._url + path, data=body, headers=headers, allow_redirects=False) as response:
            if response.status == 422:
                raise Unreadable
            if response.status != 200:
                raise NoAnswer(f"it answered {response.status}")
            received = bytearray()
            async for chunk in response.content.iter_any():
                received += chunk
                if len(received) > MAX_ANSWER_BYTES:
                    raise NoAnswer("its answer has no end")
            return BatchOut.model_validate_json(received)


def _headers(operations: Sequence[Operation]) -> dict[str, str]:
    """Where all of them are of one request, its id. (Each has its own in the body as well.)"""
    request_ids = {one.request_id for one in operations}
    request_id = request_ids.pop()
    return {} if request_id is None or request_ids else {"X-Request-ID": request_id}


def _message(operation: Operation) -> dict[str, object]:
    """An operation in the form of bank.messages.OperationIn."""
    message: dict[str, object] = {
        "id": operation.id,
        "kind": operation.kind.value,
        "authorisationId": operation.authorisation_id,
        "merchantId": operation.merchant_id,
        "amountMinor": operation.amount_minor,
        "currency": operation.currency,
        "capture": operation.capture,
    }
    optional = {"pan": operation.pan, "requestId": operation.request_id}
    return message | {name: value for name, value in optional.items() if value is not None}
