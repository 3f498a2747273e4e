"""Outboxes: events that stand in the document whose change caused them, until the publisher takes them out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.database import Collection, Document, Pipeline, UpdateOne

WAITING: Document = {"outbox.0": {"$exists": True}}
_LOOK: Pipeline = [{"$match": WAITING}, {"$sort": {"created_at": 1}}, {"$limit": 1}, {"$project": {"_id": 1}}]


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """An event that is written with the change that caused it, and waits for the publisher."""

    id: str
    type: str
    sequence: int
    occurred_at: datetime
    data: bytes
    """The object's JSON as the API showed it right after the change."""
    object_id: str | None = None
    """The object that the event is about, where that is another than the one whose sequence numbers it."""
    request_id: str | None = None
    """Of the request that caused it; None where none did."""


@dataclass(frozen=True, slots=True)
class Unpublished:
    """One object's events that nobody has published yet, oldest first."""

    stream_id: str
    """The object whose sequence numbers these events."""
    owner_id: str
    webhook_url: str | None
    events: tuple[OutboxEvent, ...]


@dataclass(frozen=True, slots=True)
class Backlog:
    count: int
    """Objects with events that wait, up to the limit that was asked for."""
    oldest_at: datetime | None
    """When the oldest of these events happened."""


class Outbox:
    """The outboxes of one collection, whose documents have `owner_id`, `created_at` and `outbox`."""

    def __init__(self, collection: Collection):
        self._collection = collection

    @property
    def name(self) -> str:
        return str(self._collection.name)

    async def anything_waits(self, *others: "Outbox") -> bool:
        """Whether this one or one of the others has events that wait. One look at all of them: a look at each would be
        most of what an idle worker asks the database."""
        pipeline: Pipeline = [
            *_LOOK,
            *({"$unionWith": {"coll": other._collection.name, "pipeline": _LOOK}} for other in others),
        ]
        return bool(await self._collection.aggregate(pipeline).to_list(1))

    async def backlog(self, at_most: int) -> Backlog:
        """What waits. It is read in the order in which it is published, so where more than that waits, the oldest event
        may be another one."""
        first_at = {"$min": "$outbox.at"}
        pipeline: Pipeline = [
            {"$match": WAITING},
            {"$sort": {"created_at": 1}},
            {"$limit": at_most},
            {"$group": {"_id": None, "count": {"$sum": 1}, "oldest_at": {"$min": first_at}}},
        ]
        for row in await self._collection.aggregate(pipeline, hint="outbox").to_list(1):
            return Backlog(row["count"], row["oldest_at"])
        return Backlog(0, None)

    async def unpublished(self, limit: int) -> list[Unpublished]:
        """Objects with events that wait, the oldest object first: its age, unlike its last change, keeps its place in
        the index however often it changes."""
        rows = (
            self._collection.find(WAITING, {"outbox": 1, "owner_id": 1, "webhook_url": 1})
            .sort("created_at", 1)
            .limit(limit)
        )
        return [
            Unpublished(
                row["_id"],
                row["owner_id"],
                row.get("webhook_url"),
                tuple(_from_document(event) for event in row["outbox"]),
            )
            for row in await rows.to_list(limit)
        ]

    async def mark_published(self, published: Sequence[Unpublished]) -> None:
        """Take published events out of their outboxes. What was added meanwhile stays."""
        updates = [
            UpdateOne(
                {"_id": one.stream_id}, {"$pull": {"outbox": {"id": {"$in": [event.id for event in one.events]}}}}
            )
            for one in published
        ]
        if updates:
            await self._collection.bulk_write(updates, ordered=False)


def outbox_document(event: OutboxEvent) -> Document:
    """An event as it stands in its outbox."""
    document: Document = {
        "id": event.id,
        "type": event.type,
        "sequence": event.sequence,
        "at": event.occurred_at,
        "data": event.data,
    }
    if event.object_id is not None:
        document["object_id"] = event.object_id
    if event.request_id is not None:
        document["request_id"] = event.request_id
    return document


def _from_document(row: Document) -> OutboxEvent:
    return OutboxEvent(
        row["id"],
        row["type"],
        row["sequence"],
        row["at"],
        bytes(row["data"]),
        row.get("object_id"),
        row.get("request_id"),
    )
