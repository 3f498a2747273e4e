"""Webhook endpoints: one document each, changed by compare-and-set on its version, with its outbox."""

from collections.abc import Sequence
from datetime import datetime

from core.database import Database, Document, Session
from domain.webhook_endpoints import DisabledReason, EndpointStatus, Ordering, WebhookEndpoint
from repositories.outbox import Outbox, OutboxEvent, outbox_document
from repositories.pages import Page, Sort, read_page
from repositories.places import insert_in_place

LIVE: Document = {"deleted": False}
"""What an endpoint counts by, among those that an account has."""
_ENDPOINT_FIELDS = {"outbox": 0}
_NEWEST_FIRST = Sort("created_at", descending=True)
_MOST_UNPUBLISHED = 100


class WebhookEndpointRepository:
    def __init__(self, database: Database):
        self._endpoints = database["webhook_endpoints"]
        self.outbox = Outbox(self._endpoints)

    async def insert(self, endpoint: WebhookEndpoint, session: Session | None = None, *, most: int) -> None:
        """Insert as one of at most so many of an account's. Raises NoPlaceLeft."""
        document = {**_to_document(endpoint), **LIVE, "outbox": []}
        await insert_in_place(self._endpoints, document, LIVE, most=most, index="by_time", session=session)

    async def get(self, owner_id: str, endpoint_id: str, session: Session | None = None) -> WebhookEndpoint | None:
        """The owner's endpoint, unless deleted."""
        wanted = {"_id": endpoint_id, "owner_id": owner_id, "deleted": False}
        document = await self._endpoints.find_one(wanted, _ENDPOINT_FIELDS, session=session)
        return _from_document(document) if document else None

    async def by_id(self, endpoint_ids: Sequence[str]) -> dict[str, WebhookEndpoint]:
        """Whoever's endpoints, unless deleted."""
        if not endpoint_ids:
            return {}
        wanted = {"_id": {"$in": list(set(endpoint_ids))}, "deleted": False}
        rows = await self._endpoints.find(wanted, _ENDPOINT_FIELDS).to_list(None)
        return {row["_id"]: _from_document(row) for row in rows}

    async def enabled(self, owner_ids: Sequence[str]) -> list[WebhookEndpoint]:
        """The enabled endpoints of these accounts."""
        wanted = {"deleted": False, "owner_id": {"$in": list(set(owner_ids))}, "status": EndpointStatus.ENABLED.value}
        return [_from_document(row) for row in await self._endpoints.find(wanted, _ENDPOINT_FIELDS).to_list(None)]

    async def save(
        self,
        before: WebhookEndpoint,
        after: WebhookEndpoint,
        event: OutboxEvent | None = None,
        session: Session | None = None,
    ) -> bool:
        """Write a change on condition that nobody else changed the endpoint since it was read.

        An event is not written either where too many wait to be published: a document has its limits.
        """
        known = _to_document(before)
        changed = {name: value for name, value in _to_document(after).items() if value != known[name]}
        unchanged: Document = {"_id": before.id, "deleted": False, "version": before.version}
        update: Document = {"$set": changed}
        if event is not None:
            unchanged[f"outbox.{_MOST_UNPUBLISHED - 1}"] = {"$exists": False}
            update["$push"] = {"outbox": outbox_document(event)}
        result = await self._endpoints.update_one(unchanged, update, session=session)
        return bool(result.matched_count)

    async def delete(self, owner_id: str, endpoint_id: str, now: datetime, session: Session) -> bool:
        """Hide an endpoint and forget its secrets. False where the account has no such endpoint."""
        result = await self._endpoints.update_one(
            {"_id": endpoint_id, "owner_id": owner_id, "deleted": False},
            {"$set": {"deleted": True, "updated_at": now}, "$unset": {"sealed_secrets": ""}, "$inc": {"version": 1}},
            session=session,
        )
        return bool(result.matched_count)

    async def latest(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Whoever's endpoint, unless deleted."""
        return (await self.by_id([endpoint_id])).get(endpoint_id)

    async def fails_since(self, endpoint_id: str, moment: datetime) -> None:
        """An attempt failed at this moment; the first since the last success counts."""
        await self._endpoints.update_one(
            {"_id": endpoint_id, "failing_since": None}, {"$set": {"failing_since": moment}}
        )

    async def fails_no_more(self, endpoint_id: str) -> None:
        """An attempt succeeded."""
        await self._endpoints.update_one(
            {"_id": endpoint_id, "failing_since": {"$ne": None}},
            {"$set": {"failing_since": None}, "$inc": {"version": 1}},
        )

    async def page(self, owner_id: str, *, limit: int, cursor: str | None) -> Page[WebhookEndpoint]:
        """An account's endpoints, newest first. Raises CursorInvalid."""
        return await read_page(
            self._endpoints,
            {"deleted": False, "owner_id": owner_id},
            _NEWEST_FIRST,
            limit=limit,
            cursor=cursor,
            build=_from_document,
            projection=_ENDPOINT_FIELDS,
        )


def _to_document(endpoint: WebhookEndpoint) -> Document:
    return {
        "_id": endpoint.id,
        "owner_id": endpoint.owner_id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "description": endpoint.description,
        # Pairs, because names of the client's choosing have no place among field names.
        "metadata": [list(pair) for pair in endpoint.metadata.items()] if endpoint.metadata else None,
        "status": endpoint.status.value,
        "retry_schedule_s": None if endpoint.retry_schedule_s is None else list(endpoint.retry_schedule_s),
        "timeout_s": endpoint.timeout_s,
        "max_in_flight": endpoint.max_in_flight,
        "ordering": endpoint.ordering.value,
        "sealed_secrets": endpoint.sealed_secrets,
        "previous_secret_ends_at": endpoint.previous_secret_ends_at,
        "disabled_reason": None if endpoint.disabled_reason is None else endpoint.disabled_reason.value,
        "failing_since": endpoint.failing_since,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "sequence": endpoint.sequence,
        "version": endpoint.version,
    }


def _from_document(row: Document) -> WebhookEndpoint:
    schedule_s, disabled_reason = row["retry_schedule_s"], row.get("disabled_reason")
    return WebhookEndpoint(
        id=row["_id"],
        owner_id=row["owner_id"],
        url=row["url"],
        events=tuple(row["events"]),
        description=row["description"],
        metadata=dict(row["metadata"]) if row["metadata"] else None,
        status=EndpointStatus(row["status"]),
        retry_schedule_s=None if schedule_s is None else tuple(schedule_s),
        timeout_s=row["timeout_s"],
        max_in_flight=row["max_in_flight"],
        ordering=Ordering(row["ordering"]),
        sealed_secrets=bytes(row["sealed_secrets"]),
        previous_secret_ends_at=row["previous_secret_ends_at"],
        disabled_reason=None if disabled_reason is None else DisabledReason(disabled_reason),
        failing_since=row.get("failing_since"),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        sequence=row["sequence"],
        version=row["version"],
    )
