"""What became of deliveries, for whoever looks: lists, one with its attempts, and how an event fared."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.database import Database, Document
from domain.attempts import Attempt, ErrorCode, Phases
from domain.http_headers import Headers
from repositories.delivery_documents import DeadReason, DeliveryState
from repositories.pages import Page, Sort, read_page

_NEWEST_FIRST = Sort("created_at", descending=True)
_SUMMARY: Document = {
    "event_id": 1,
    "event_type": 1,
    "endpoint_id": 1,
    "url": 1,
    "state": 1,
    "dead_reason": 1,
    "due_at": 1,
    "resend_id": 1,
    "created_at": 1,
    "updated_at": 1,
    "attempt_count": {"$size": "$attempts"},
    "last_status": {"$arrayElemAt": ["$attempts.status", -1]},
    "last_error": {"$arrayElemAt": ["$attempts.error", -1]},
}


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which of an account's deliveries a list shows; a field that is None filters nothing."""

    owner_id: str
    state: DeliveryState | None = None
    event_id: str | None = None
    endpoint_id: str | None = None
    resend_id: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class LoggedDelivery:
    id: str
    event_id: str
    event_type: str
    endpoint_id: str | None
    """None where it goes to a payment's own webhookUrl."""
    url: str
    state: DeliveryState
    dead_reason: DeadReason | None
    attempt_count: int
    last_status: int | None
    """Of the newest attempt; None, too, before the first."""
    last_error: ErrorCode | None
    due_at: datetime
    resend_id: str | None
    created_at: datetime
    updated_at: datetime
    attempts: tuple[Attempt, ...] = ()
    """Oldest first; empty in lists."""


@dataclass(frozen=True, slots=True)
class EventDelivery:
    """How an event fared at one target."""

    event_id: str
    endpoint_id: str | None
    url: str
    state: DeliveryState
    resend_id: str | None


class DeliveryLogRepository:
    def __init__(self, database: Database):
        self._deliveries = database["deliveries"]

    async def get(self, owner_id: str, delivery_id: str) -> LoggedDelivery | None:
        """The owner's delivery with its attempts."""
        row = await self._deliveries.find_one({"_id": delivery_id, "owner_id": owner_id}, {**_SUMMARY, "attempts": 1})
        return _from_document(row) if row else None

    async def page(self, wanted: DeliveryFilter, *, limit: int, cursor: str | None) -> Page[LoggedDelivery]:
        """Newest first, without attempts. Raises CursorInvalid."""
        return await read_page(
            self._deliveries,
            _conditions(wanted),
            _NEWEST_FIRST,
            limit=limit,
            cursor=cursor,
            build=_from_document,
            projection=_SUMMARY,
            # MongoDB would keep the plan of one question for the next, of another kind and another account.
            index=_index(wanted),
        )

    async def of_events(self, event_ids: Sequence[str]) -> list[EventDelivery]:
        """How these events fared, in no order."""
        rows = self._deliveries.find(
            {"event_id": {"$in": list(event_ids)}},
            {"event_id": 1, "endpoint_id": 1, "url": 1, "state": 1, "resend_id": 1},
            hint="event",
        )
        return [
            EventDelivery(
                row["event_id"], row.get("endpoint_id"), row["url"], DeliveryState(row["state"]), row.get("resend_id")
            )
            for row in await rows.to_list(None)
        ]


def _index(wanted: DeliveryFilter) -> str:
    if wanted.event_id is not None:
        return "event"
    if wanted.resend_id is not None:
        return "by_resend"
    return "by_owner" if wanted.endpoint_id is None else "by_endpoint"


def _conditions(wanted: DeliveryFilter) -> Document:
    # Without a filter every state is named: MongoDB reads each one's newest and merges them, so that no delivery pays
    # for an index more.
    states: Sequence[DeliveryState] = list(DeliveryState) if wanted.state is None else [wanted.state]
    conditions: Document = {"owner_id": wanted.owner_id, "state": {"$in": [state.value for state in states]}}
    equal = {"event_id": wanted.event_id, "endpoint_id": wanted.endpoint_id, "resend_id": wanted.resend_id}
    conditions.update({field: value for field, value in equal.items() if value is not None})
    for operator, bound in (("$gte", wanted.created_from), ("$lte", wanted.created_to)):
        if bound is not None:
            conditions.setdefault("created_at", {})[operator] = bound
    return conditions


def _from_document(row: Document) -> LoggedDelivery:
    return LoggedDelivery(
        id=row["_id"],
        event_id=row["event_id"],
        event_type=row["event_type"],
        endpoint_id=row.get("endpoint_id"),
        url=row["url"],
        state=DeliveryState(row["state"]),
        dead_reason=DeadReason(row["dead_reason"]) if row.get("dead_reason") else None,
        attempt_count=row["attempt_count"],
        last_status=row.get("last_status"),
        last_error=row.get("last_error"),
        due_at=row["due_at"],
        resend_id=row.get("resend_id"),
        created_at=row["created_at"],
        # Older versions did not write it.
        updated_at=row.get("updated_at") or row["created_at"],
        attempts=tuple(_attempt(attempt) for attempt in row.get("attempts", ())),
    )


def _attempt(row: Document) -> Attempt:
    # Older versions kept neither URL nor phases nor headers.
    return Attempt(
        at=row["at"],
        url=row.get("url"),
        duration_ms=row["duration_ms"],
        phases=Phases(**row.get("phases", {})),
        status=row["status"],
        error=row["error"],
        request_headers=_headers(row.get("request_headers", [])),
        response_headers=_headers(row.get("response_headers", [])),
        response=row["response"],
    )


def _headers(pairs: list[list[str]]) -> Headers:
    return tuple((name, value) for name, value in pairs)
