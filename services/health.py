"""Whether this process can do its work now, and the signs of life by which workers are known to do theirs."""

import asyncio
import os
import socket
import time

from core import ids
from core.database import Database, DriverError
from core.version import VERSION
from domain.heartbeats import Heartbeat
from repositories.heartbeats import HeartbeatRepository
from repositories.indexes import missing_indexes

BEAT_EVERY_S = 10.0
RECENT_S = 30
"""Three signs of life that did not come."""
_MOST_SHOWN = 100
_ANSWER_LASTS_S = 1.0
"""Anybody may ask, as often as they like: so often at most is MongoDB asked."""
_INDEXES_STAY_S = 60.0
"""Looking at them all is a question for each collection, and only somebody's hand removes one."""


class Health:
    def __init__(self, database: Database, heartbeats: HeartbeatRepository):
        self._database = database
        self._heartbeats = heartbeats
        self._worker_id = ids.fresh("wrk")
        self._asking = asyncio.Lock()
        self._reasons: list[str] = []
        self._asked_at_s = self._indexes_seen_at_s = -_INDEXES_STAY_S

    async def beat(self) -> None:
        """The worker in this process lives. Raises DriverError."""
        await self._heartbeats.beat(self._worker_id, socket.gethostname(), os.getpid(), VERSION)

    async def workers(self) -> list[Heartbeat]:
        """Those that live, a hundred at most. Raises DriverError."""
        return await self._heartbeats.recent(RECENT_S, _MOST_SHOWN)

    async def reasons_against(self) -> list[str]:
        """Why this process is not ready, in sentences; none where it is."""
        async with self._asking:
            if time.monotonic() - self._asked_at_s >= _ANSWER_LASTS_S:
                self._reasons = await self._ask()
                self._asked_at_s = time.monotonic()
            return self._reasons

    async def _ask(self) -> list[str]:
        try:
            await self._database.ping()
            missing, age_s = await asyncio.gather(self._missing_indexes(), self._heartbeats.age_s())
        except DriverError:
            return ["MongoDB does not answer."]
        reasons = []
        if missing:
            reasons.append(f"Indexes are missing: {', '.join(missing)}.")
        if age_s is None or age_s > RECENT_S:
            reasons.append(f"No worker has shown a sign of life for {RECENT_S} seconds.")
        return reasons

    async def _missing_indexes(self) -> list[str]:
        if time.monotonic() - self._indexes_seen_at_s < _INDEXES_STAY_S:
            return []
        missing = await missing_indexes(self._database)
        if not missing:
            self._indexes_seen_at_s = time.monotonic()
        return missing
