"""Hints between processes: "there is new work". Never the truth, which is in the work's own collection.

An API process without a worker counts up one small document; workers watch it through a change stream. Watching the
payments themselves would send every change through every worker's Python.
"""

from collections.abc import AsyncIterator

from core.database import Database


class SignalRepository:
    def __init__(self, database: Database):
        self._signals = database["signals"]
        # A hint that is lost costs a second, so nobody waits for its acknowledgement.
        self._unacknowledged = database.unacknowledged("signals")

    async def send(self) -> None:
        await self._unacknowledged.update_one({"_id": "work"}, {"$inc": {"count": 1}}, upsert=True)

    async def watch(self) -> AsyncIterator[None]:
        """Yields whenever a signal came, until the connection fails."""
        async with self._signals.watch([{"$project": {"_id": 1}}], max_await_time_ms=1000) as stream:
            async for _ in stream:
                yield
