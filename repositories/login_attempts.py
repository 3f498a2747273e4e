"""Attempts to log in, counted by whom and by where they come from: one document for each, gone when it says nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from core.database import Database, Document, Pipeline, ReturnDocument

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Patience:
    """How many attempts may fail, in which time, before each further one has to wait; twice as long each time."""

    attempts: int
    window: timedelta
    longest_wait: timedelta


class LoginAttemptRepository:
    def __init__(self, database: Database):
        self._attempts = database["login_attempts"]

    async def begin(self, source: bytes, patience: Patience, now: datetime) -> datetime | None:
        """Count an attempt as failed before anybody knows: of many at once, no more than may fail get through. Until
        when it has to wait, in which case it is not counted; None where it may be made."""
        found = await self._attempts.find_one_and_update(
            {"_id": source}, _counted(patience, now), upsert=True, return_document=ReturnDocument.AFTER
        )
        waits_until: datetime | None = found["blocked_until"] if found["refused"] else None
        return waits_until

    async def forget(self, source: bytes) -> None:
        """An attempt succeeded: those before it count no more."""
        await self._attempts.delete_one({"_id": source})

    async def take_back(self, source: bytes) -> None:
        """An attempt succeeded: it counts no more, nor does the wait that it has begun. Those before it still count."""
        await self._attempts.update_one(
            {"_id": source, "failures": {"$gt": 0}}, {"$inc": {"failures": -1}, "$set": {"blocked_until": _LONG_AGO}}
        )


def _counted(patience: Patience, now: datetime) -> Pipeline:
    longest_ms = patience.longest_wait.total_seconds() * 1000
    blocked: Document = {"$gt": [{"$ifNull": ["$blocked_until", _LONG_AGO]}, now]}
    is_over: Document = {"$lte": [{"$ifNull": ["$attempted_at", _LONG_AGO]}, now - patience.window]}
    one_more: Document = {"$cond": [is_over, 1, {"$add": ["$failures", 1]}]}
    doublings: Document = {"$min": [{"$subtract": ["$failures", patience.attempts]}, 30]}
    wait_ms: Document = {"$min": [{"$multiply": [1000, {"$pow": [2, doublings]}]}, longest_ms]}
    begins_to_wait: Document = {"$and": [{"$not": "$refused"}, {"$gte": ["$failures", patience.attempts]}]}
    return [
        {"$set": {"refused": blocked}},
        {
            "$set": {
                "failures": {"$cond": ["$refused", "$failures", one_more]},
                "attempted_at": {"$cond": ["$refused", "$attempted_at", now]},
            }
        },
        {
            "$set": {
                "blocked_until": {
                    "$cond": [begins_to_wait, {"$add": [now, wait_ms]}, {"$ifNull": ["$blocked_until", _LONG_AGO]}]
                },
                # Both the window and the wait are over by then.
                "expires_at": now + patience.window + patience.longest_wait,
            }
        },
    ]
