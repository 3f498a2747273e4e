"""Webhooks that arrived and were verified: stored once each."""

from datetime import datetime

from core.database import Database, DuplicateKey


class IncomingWebhookRepository:
    def __init__(self, database: Database):
        self._webhooks = database["incoming_webhooks"]

    async def insert(
        self, webhook_id: str, *, owner_id: str, message_id: str, event: str, body: bytes, received_at: datetime
    ) -> bool:
        """Store it. False where it is here already."""
        try:
            await self._webhooks.insert_one(
                {
                    "_id": webhook_id,
                    "owner_id": owner_id,
                    "message_id": message_id,
                    "event": event,
                    "body": body,
                    "received_at": received_at,
                }
            )
        except DuplicateKey:
            return False
        return True
