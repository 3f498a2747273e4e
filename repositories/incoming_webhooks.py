"""Webhooks that arrived and were verified, stored once each; leased work until their effect is written. And how many
did not verify."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.database import Database, Document, DuplicateKey
from domain.signing import Refusal
from repositories import leases
from repositories.pages import Page, Sort, read_page

_NEWEST_FIRST = Sort("received_at", descending=True)
_WAITING: Document = {"state": "received"}


class IncomingState(StrEnum):
    RECEIVED = "received"
    PROCESSED = "processed"


@dataclass(frozen=True, slots=True)
class StoredWebhook:
    id: str
    message_id: str
    event: str
    state: IncomingState
    received_at: datetime
    processed_at: datetime | None
    body: bytes
    """As it arrived; empty in lists."""


@dataclass(frozen=True, slots=True)
class LeasedWebhooks:
    """A batch that is ours while its token stands."""

    ids: list[str]
    token: str


class IncomingWebhookRepository:
    def __init__(self, database: Database):
        self._webhooks = database["incoming_webhooks"]
        self._refusals = database["incoming_refusals"]

    async def insert(
        self, webhook_id: str, *, owner_id: str, message_id: str, event: str, body: bytes, received_at: datetime
    ) -> bool:
        """Store it, and with the same write that its effect is still to come. False where it is here already."""
        try:
            await self._webhooks.insert_one(
                {
                    "_id": webhook_id,
                    "owner_id": owner_id,
                    "message_id": message_id,
                    "event": event,
                    "body": body,
                    "received_at": received_at,
                    "state": IncomingState.RECEIVED.value,
                }
            )
        except DuplicateKey:
            return False
        return True

    async def lease(self, *, limit: int, lease_s: int) -> LeasedWebhooks | None:
        """Lease what waits for its effect, the oldest first. None where nothing is free."""
        rows = self._webhooks.find({**_WAITING, **leases.FREE}, {"lease_until": 1}).sort("received_at", 1).limit(limit)
        candidates = [row async for row in rows]
        taken = await leases.take(self._webhooks, [row["_id"] for row in candidates], _WAITING, lease_s)
        leases.count_takeovers(self._webhooks, candidates, [row["_id"] for row in taken])
        return LeasedWebhooks([row["_id"] for row in taken], taken[0]["lease_token"]) if taken else None

    async def mark_processed(self, leased: LeasedWebhooks, now: datetime) -> int:
        """Write the effect on those that are still ours. How many that were."""
        result = await self._webhooks.update_many(
            {"_id": {"$in": leased.ids}, "lease_token": leased.token},
            {
                "$set": {"state": IncomingState.PROCESSED.value, "processed_at": now},
                "$unset": dict(leases.RELEASE),
            },
        )
        return int(result.modified_count)

    async def get(self, owner_id: str, webhook_id: str) -> StoredWebhook | None:
        row = await self._webhooks.find_one({"_id": webhook_id, "owner_id": owner_id})
        return _from_document(row) if row else None

    async def page(self, owner_id: str, *, limit: int, cursor: str | None) -> Page[StoredWebhook]:
        """What an account received, newest first, without the bodies. Raises CursorInvalid."""
        return await read_page(
            self._webhooks,
            {"owner_id": owner_id},
            _NEWEST_FIRST,
            limit=limit,
            cursor=cursor,
            build=_from_document,
            projection={"body": 0},
        )

    async def count_refusal(self, owner_id: str, refusal: Refusal) -> None:
        """One number more in the account's one document: what does not verify takes no room."""
        await self._refusals.update_one({"_id": owner_id}, {"$inc": {refusal.value: 1}}, upsert=True)

    async def refusals(self, owner_id: str) -> dict[Refusal, int]:
        """How many messages to an account did not verify, for each reason."""
        counts = await self._refusals.find_one({"_id": owner_id}) or {}
        return {refusal: counts.get(refusal.value, 0) for refusal in Refusal}


def _from_document(row: Document) -> StoredWebhook:
    return StoredWebhook(
        id=row["_id"],
        message_id=row["message_id"],
        event=row["event"],
        # Where an older version stored it, there is no state, and nothing was to come.
        state=IncomingState(row.get("state", IncomingState.PROCESSED)),
        received_at=row["received_at"],
        processed_at=row.get("processed_at"),
        body=bytes(row.get("body", b"")),
    )
