"""Published events: the body as it is sent, kept once for every target and every attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.database import Database, insert_missing


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
