"""Deliveries that send an event again: their idempotency claims, how many of them wait, and calling them off."""

from collections.abc import Sequence

from core.database import Database, Document, DuplicateKey, Pipeline, Session
from repositories.claims import Claim, claim_from
from repositories.deliveries import bury_free
from repositories.delivery_documents import DeadReason, DeliveryState, NewDelivery, new_document

_PENDING = {"state": DeliveryState.PENDING.value}


class ResentDeliveryRepository:
    def __init__(self, database: Database):
        self._database = database
        self._deliveries = database["deliveries"]

    async def insert(self, first: NewDelivery, others: Sequence[NewDelivery]) -> bool:
        """All of them or none. False where the first one's id is taken: see claim_of."""

        async def work(session: Session) -> None:
            await self._deliveries.insert_one(new_document(first), session=session)
            await self._deliveries.insert_many([new_document(one) for one in others], session=session)

        try:
            if others:
                await self._database.in_transaction(work)
            else:
                await self._deliveries.insert_one(new_document(first))
        except DuplicateKey:
            return False
        return True

    async def claim_of(self, delivery_id: str) -> Claim | None:
        """The claim with which a delivery was made."""
        row = await self._deliveries.find_one({"_id": delivery_id}, {"claim": 1})
        return claim_from(row["claim"]) if row and "claim" in row else None

    async def most_waiting(self, resend_id: str) -> int:
        """How many of a resend's deliveries wait for the target for which most of them do."""
        pipeline: Pipeline = [
            {"$match": {**_PENDING, "resend_id": resend_id}},
            {"$group": {"_id": "$target", "waiting": {"$sum": 1}}},
            {"$sort": {"waiting": -1}},
            {"$limit": 1},
        ]
        rows = await self._deliveries.aggregate(pipeline, hint="resends").to_list(None)
        return int(rows[0]["waiting"]) if rows else 0

    async def bury(self, resend_id: str, reason: DeadReason) -> bool:
        """Make dead letters of what waits of a resend. False where some is under way, and may have to wait again."""
        waiting: Document = {**_PENDING, "resend_id": resend_id}
        await bury_free(self._deliveries, waiting, reason, index="resends")
        return await self._deliveries.find_one(waiting, {"_id": 1}, hint="resends") is None
