"""Signs of life of workers: one document each, with the time of the last one on the server's clock."""

from core.database import Database, Document, Pipeline

_FORGOTTEN_AFTER_S = 3600
"""Then MongoDB deletes it (the index `expiry`): it says when there last was a worker."""
_AGE_S: Document = {"$dateDiff": {"startDate": "$beat_at", "endDate": "$$NOW", "unit": "second"}}


class HeartbeatRepository:
    def __init__(self, database: Database):
        self._heartbeats = database["heartbeats"]
        self._acknowledged_by_one = database.acknowledged_by_one("heartbeats")

    async def beat(self, worker_id: str) -> None:
        """This worker lives now."""
        expires_at = {"$dateAdd": {"startDate": "$$NOW", "unit": "second", "amount": _FORGOTTEN_AFTER_S}}
        change: Pipeline = [{"$set": {"beat_at": "$$NOW", "expires_at": expires_at}}]
        await self._acknowledged_by_one.update_one({"_id": worker_id}, change, upsert=True)

    async def count_recent(self, recent_s: int) -> int:
        """Workers that have shown a sign of life within so many seconds."""
        since = {"$dateSubtract": {"startDate": "$$NOW", "unit": "second", "amount": recent_s}}
        return int(await self._heartbeats.count_documents({"$expr": {"$gte": ["$beat_at", since]}}, hint="newest"))

    async def age_s(self) -> int | None:
        """Seconds since the last sign of life of any worker; None where there never was one, or not for an hour."""
        newest: Pipeline = [{"$sort": {"beat_at": -1}}, {"$limit": 1}, {"$project": {"age_s": _AGE_S}}]
        for row in await self._heartbeats.aggregate(newest).to_list(1):
            return int(row["age_s"])
        return None
