"""Published events: the body as it is sent, kept once for every target and every attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.database import Database, Document, insert_missing
from repositories.pages import Page, Sort, read_page

_NEWEST_FIRST = Sort("created_at", descending=True)


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


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which of an account's events a list shows; a field that is None filters nothing."""

    owner_id: str
    types: tuple[str, ...]
    object_id: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


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
                }
                for event in events
            ],
        )

    async def bodies(self, event_ids: Sequence[str]) -> dict[str, bytes]:
        rows = self._events.find({"_id": {"$in": list(set(event_ids))}}, {"body": 1})
        return {row["_id"]: bytes(row["body"]) for row in await rows.to_list(None)}

    async def body(self, owner_id: str, event_id: str) -> bytes | None:
        """The bytes of the owner's event."""
        row = await self._events.find_one({"_id": event_id, "owner_id": owner_id}, {"body": 1})
        return bytes(row["body"]) if row else None

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


def _body(row: Document) -> bytes:
    return bytes(row["body"])
