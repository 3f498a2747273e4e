"""Published events: the body as it is sent, kept once for every target and every attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.database import Database, Document, insert_missing
from repositories.pages import Page, Sort, read_page

_NEWEST_FIRST = Sort("created_at", descending=True)
_OLDEST_FIRST = Sort("created_at", descending=False)


@dataclass(frozen=True, slots=True)
class EventRecord:
    id: str
    type: str
    owner_id: str
    object_id: str
    """What the event is about."""
    stream_id: str
    """The object that numbers it: itself, or what it belongs to."""
    sequence: int
    created_at: datetime
    body: bytes
    request_id: str | None = None
    """Of the request that caused it; None where none did."""

    @property
    def message(self) -> "EventMessage":
        return EventMessage(self.body, self.request_id)

    @property
    def head(self) -> "EventHead":
        return EventHead(self.id, self.type, self.owner_id, self.stream_id, self.sequence, self.created_at)


@dataclass(frozen=True, slots=True)
class EventMessage:
    """What receivers are sent of an event."""

    body: bytes
    request_id: str | None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which of an account's events a list shows; a field that is None filters nothing."""

    owner_id: str
    types: tuple[str, ...]
    object_id: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventHead:
    """An event without its body."""

    id: str
    type: str
    owner_id: str
    stream_id: str
    sequence: int
    created_at: datetime

    @property
    def position(self) -> "Position":
        return Position(self.created_at, self.id)


@dataclass(frozen=True, slots=True)
class Position:
    """Where an event stands among its account's, oldest first."""

    at: datetime
    event_id: str


class EventRepository:
    def __init__(self, database: Database):
        self._events = database["events"]

    async def insert_missing(self, events: Sequence[EventRecord]) -> None:
        """Insert those that are not there yet: publishing again what was published is harmless."""
        await insert_missing(
            self._events,
            [
                {
                    "_id": event.id,
                    "type": event.type,
                    "owner_id": event.owner_id,
                    "object_id": event.object_id,
                    "stream_id": event.stream_id,
                    "sequence": event.sequence,
                    "created_at": event.created_at,
                    "body": event.body,
                    **({} if event.request_id is None else {"request_id": event.request_id}),
                }
                for event in events
            ],
        )

    async def messages(self, event_ids: Sequence[str]) -> dict[str, EventMessage]:
        wanted = {"_id": {"$in": list(set(event_ids))}}
        rows = self._events.find(wanted, {"body": 1, "request_id": 1}, batch_size=max(len(event_ids), 2))
        return {row["_id"]: EventMessage(bytes(row["body"]), row.get("request_id")) for row in await rows.to_list(None)}

    async def body(self, owner_id: str, event_id: str) -> bytes | None:
        """The bytes of the owner's event."""
        row = await self._events.find_one({"_id": event_id, "owner_id": owner_id}, {"body": 1})
        return bytes(row["body"]) if row else None

    async def head(self, owner_id: str, event_id: str) -> EventHead | None:
        """The owner's event."""
        row = await self._events.find_one({"_id": event_id, "owner_id": owner_id}, {"body": 0})
        return _head(row) if row else None

    async def heads_after(self, wanted: EventFilter, after: Position | None, limit: int) -> list[EventHead]:
        """The next events after this position, or the first ones, oldest first."""
        conditions = _conditions(wanted)
        if after is not None:
            # The plain bound lets the index begin at the right place; the rest settles equal times.
            conditions.setdefault("created_at", {})["$gte"] = after.at
            conditions["$or"] = [{"created_at": {"$gt": after.at}}, {"_id": {"$gt": after.event_id}}]
        rows = self._events.find(conditions, {"body": 0}, hint="owner").sort(_OLDEST_FIRST.keys).limit(limit)
        return [_head(row) for row in await rows.to_list(None)]

    async def count(self, wanted: EventFilter, limit: int) -> int:
        """How many there are, counted up to the limit."""
        return await self._events.count_documents(_conditions(wanted), limit=limit, hint="owner")

    async def page(self, wanted: EventFilter, *, limit: int, cursor: str | None) -> Page[bytes]:
        """The bytes of each event, newest first. Raises CursorInvalid."""
        return await read_page(
            self._events,
            _conditions(wanted),
            _NEWEST_FIRST,
            limit=limit,
            cursor=cursor,
            build=_body,
            projection={"body": 1, "created_at": 1},
            # MongoDB would keep the plan of one question for the next, of another type and another account.
            index="owner" if wanted.object_id is None else "by_object",
        )


def _conditions(wanted: EventFilter) -> Document:
    conditions: Document = {"owner_id": wanted.owner_id, "type": {"$in": list(wanted.types)}}
    if wanted.object_id is not None:
        conditions["object_id"] = wanted.object_id
    for operator, bound in (("$gte", wanted.created_from), ("$lte", wanted.created_to)):
        if bound is not None:
            conditions.setdefault("created_at", {})[operator] = bound
    return conditions


def _head(row: Document) -> EventHead:
    return EventHead(
        id=row["_id"],
        type=row["type"],
        owner_id=row["owner_id"],
        # Where an older version published it, it names its object only.
        stream_id=row.get("stream_id") or row["object_id"],
        sequence=row["sequence"],
        created_at=row["created_at"],
    )


def _body(row: Document) -> bytes:
    return bytes(row["body"])
