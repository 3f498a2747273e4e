"""Signs of life of workers: one document each, with the time of the last one on the server's clock."""

from core.database import Database, Document, Pipeline
from domain.heartbeats import Heartbeat

_FORGOTTEN_AFTER_S = 3600
"""Then MongoDB deletes it (the index `expiry`): it says when there last was a worker."""
_AGE_S: Document = {"$dateDiff": {"startDate": "$beat_at", "endDate": "$$NOW", "unit": "second"}}


class HeartbeatRepository:
    def __init__(self, database: Database):
        self._heartbeats = database["heartbeats"]
        self._acknowledged_by_one = database.acknowledged_by_one("heartbeats")

    async def beat(self, worker_id: str, host: str, process: int, version: str) -> None:
        """This worker lives now, there, and is of this version."""
        expires_at = {"$dateAdd": {"startDate": "$$NOW", "unit": "second", "amount": _FORGOTTEN_AFTER_S}}
        place = {"host": {"$literal": host}, "process": process, "version": version}
        started_at = {"$ifNull": ["$started_at", "$$NOW"]}
        change: Pipeline = [{"$set": {"beat_at": "$$NOW", "expires_at": expires_at, "started_at": started_at, **place}}]
        await self._acknowledged_by_one.update_one({"_id": worker_id}, change, upsert=True)

    async def count_recent(self, recent_s: int) -> int:
        """Workers that have shown a sign of life within so many seconds."""
        return int(await self._heartbeats.count_documents(_recent(recent_s), hint="newest"))

    async def recent(self, recent_s: int, limit: int) -> list[Heartbeat]:
        """The workers themselves, those first that were heard of last."""
        pipeline: Pipeline = [
            {"$match": _recent(recent_s)},
            {"$sort": {"beat_at": -1}},
            {"$limit": limit},
            {"$set": {"age_s": _AGE_S}},
        ]
        rows = await self._heartbeats.aggregate(pipeline, hint="newest").to_list(limit)
        return [
            Heartbeat(
                worker_id=row["_id"],
                host=row.get("host"),
                process=row.get("process"),
                version=row.get("version"),
                started_at=row.get("started_at"),
                age_s=row["age_s"],
            )
            for row in rows
        ]

    async def age_s(self) -> int | None:
        """Seconds since the last sign of life of any worker; None where there never was one, or not for an hour."""
        newest: Pipeline = [{"$sort": {"beat_at": -1}}, {"$limit": 1}, {"$project": {"age_s": _AGE_S}}]
        for row in await self._heartbeats.aggregate(newest).to_list(1):
            return int(row["age_s"])
        return None


def _recent(recent_s: int) -> Document:
    since = {"$dateSubtract": {"startDate": "$$NOW", "unit": "second", "amount": recent_s}}
    return {"$expr": {"$gte": ["$beat_at", since]}}
