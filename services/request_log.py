"""The request log: each account's own requests. They are written down off the requests' way, in batches, or dropped and
counted: neither a full queue nor a MongoDB that is away slows a request or fails one."""

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from core import ids, json_codec, metrics
from core.database import DriverError
from core.errors import NotFound
from domain.redaction import redact, redact_text, shown_at_a_glance
from repositories.pages import CursorInvalid
from repositories.request_logs import LoggedRequest, RequestFilter, RequestLogRepository
from schemas.request_logs import RequestLogOut, RequestLogPage, RequestLogQuery, RequestLogWithBodies
from services.caller import Caller
from services.validation import invalid

_LOG = logging.getLogger(__name__)
MOST_WAITING = 2000
MOST_OF_A_BODY, MOST_OF_A_TARGET, MOST_OF_A_KEY = 8 * 1024, 2064, 257
"""Bytes of each that wait, so that the queue is bounded by its length. One more tells that something was cut off."""
SHOWN_OF_A_BODY = 4 * 1024
"""Characters of each body that are kept."""
_MAYBE_CUT_IN_TWO = 64
"""Characters at the end of what was cut: half of a card number cannot be told from other digits."""
_LONGEST_PATH = 2000
_PAUSE_S = 0.25
"""What is answered within it shares a write."""
_BATCH = 100
_TURN_S = 0.002
"""Then others have theirs: to redact one takes a twentieth of a millisecond, or twenty where it is all digits."""
_CLOSE_S = 3.0
_TOLD_EVERY_S = 60.0


@dataclass(slots=True)  # not frozen: that would take as long as all the rest of noting it
class NotedRequest:
    """A request and its answer as they were, secrets included: it never leaves the memory of this process."""

    caller: Caller
    arrived_at: datetime
    duration_s: float
    method: str
    route: str
    target: bytes
    """Path and query, or their beginning."""
    status: int
    request_id: str
    idempotency_key: bytes | None
    address: str | None
    request_body: bytes
    response_body: bytes


class RequestLog:
    def __init__(self, rows: RequestLogRepository, *, most_waiting: int = MOST_WAITING):
        self._rows = rows
        self._waiting = deque[NotedRequest]()
        self._most_waiting = most_waiting
        self._writer: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self.dropped = 0
        """Requests of this process that are in no log, since it began."""
        self._told = 0
        self._told_at_s = -_TOLD_EVERY_S

    def note(self, request: NotedRequest) -> None:
        """A request was answered. Never fails, never waits."""
        if len(self._waiting) < self._most_waiting:
            self._waiting.append(request)
        else:
            self._drop(1)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write down what waits, for three seconds at most."""
        self._closing.set()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=_CLOSE_S)
            self._writer.cancel()
            await asyncio.wait([self._writer])
        self._drop(len(self._waiting))
        self._tell()

    async def get(self, caller: Caller, log_id: str) -> RequestLogWithBodies:
        """One of the caller's own requests with its bodies. Raises NotFound."""
        found = await self._rows.get(caller.account_id, log_id)
        if found is None:
            raise NotFound(f"Request log '{log_id}' not found.")
        return RequestLogWithBodies.model_validate(found, from_attributes=True)

    async def page(self, caller: Caller, query: RequestLogQuery) -> RequestLogPage:
        """The caller's own requests, newest first."""
        lowest, highest = query.statuses
        wanted = RequestFilter(
            caller.account_id,
            query.method,
            query.route,
            lowest,
            highest,
            query.request_id,
            query.created_from,
            query.created_to,
        )
        try:
            page = await self._rows.page(wanted, limit=query.limit, cursor=query.cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
        return RequestLogPage(
            request_logs=[RequestLogOut.model_validate(one, from_attributes=True) for one in page.items],
            total_request_logs=page.total,
            total_is_lower_bound=page.total_is_lower_bound,
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    async def _write(self) -> None:
        while self._waiting:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _PAUSE_S)
            while self._waiting:
                await self._write_batch()
            if time.monotonic() - self._told_at_s >= _TOLD_EVERY_S:
                self._tell()

    async def _write_batch(self) -> None:
        batch: list[LoggedRequest] = []
        taken, turn_s = 0, time.perf_counter()
        try:
            while self._waiting and taken < _BATCH:
                taken += 1
                batch.append(_without_secrets(self._waiting.popleft()))
                if time.perf_counter() - turn_s > _TURN_S:
                    await asyncio.sleep(0)
                    turn_s = time.perf_counter()
            await self._rows.insert(batch)
        except DriverError:
            # Whether some of them are there nobody knows. They are not tried again: what comes meanwhile has no less
            # right to the room that they would take.
            self._drop(taken)
        except BaseException:
            self._drop(taken)
            raise

    def _drop(self, count: int) -> None:
        self.dropped += count
        metrics.DROPPED.labels("requests").inc(count)

    def _tell(self) -> None:
        if self.dropped > self._told:
            _LOG.warning(
                "%d requests are in no request log: they came faster than it is written, or MongoDB was away",
                self.dropped,
            )
            self._told, self._told_at_s = self.dropped, time.monotonic()


def _without_secrets(request: NotedRequest) -> LoggedRequest:
    caller, key = request.caller, request.idempotency_key
    return LoggedRequest(
        id=ids.fresh("rql"),
        owner_id=caller.account_id,
        created_at=request.arrived_at,
        duration_ms=round(request.duration_s * 1000),
        method=request.method,
        route=request.route,
        path=_shown_text(request.target, MOST_OF_A_TARGET)[:_LONGEST_PATH],
        status=request.status,
        request_id=redact_text(request.request_id),
        idempotency_key=None if key is None else _shown_text(key, MOST_OF_A_KEY),
        api_key_id=caller.api_key_id,
        session_id=caller.session_id,
        payment_key_id=None if caller.payment_key is None else caller.payment_key.id,
        address=request.address,
        request_body=_shown_body(request.request_body),
        response_body=_shown_body(request.response_body),
    )


def _shown_body(raw: bytes) -> str:
    at_a_glance = shown_at_a_glance(raw)
    if at_a_glance is not None:
        return at_a_glance[:SHOWN_OF_A_BODY].decode()
    if len(raw) > MOST_OF_A_BODY:
        return _shown_text(raw, MOST_OF_A_BODY)[:SHOWN_OF_A_BODY]
    try:
        shown = json_codec.dumps(redact(json_codec.loads_own(raw))).decode()
    except ValueError:
        shown = redact_text(raw.decode("utf-8", "replace"))
    return shown[:SHOWN_OF_A_BODY]


def _shown_text(raw: bytes, most: int) -> str:
    text = redact_text(raw[:most].decode("utf-8", "replace"))
    return text if len(raw) <= most else text[:-_MAYBE_CUT_IN_TWO]
