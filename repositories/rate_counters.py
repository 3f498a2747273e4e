"""Counters of requests: one document for each window of each that is counted, gone when the window is long over."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from limits.aio.storage import MongoDBStorage

from core.coalesce import Coalescer
from core.database import Collection, Database

_CLOCKS_APART_S = 3600
"""The library starts a count anew where our clock says that it is over and MongoDB's agrees. Its key names the window
already, so it may last longer: a clock that is wrong by less lets nobody through."""

Hit = tuple[str, int]
"""What is counted, and the length of its window in seconds."""


class _Storage(MongoDBStorage):
    """The library's counters over the product's own connection, with its time limits, and the indexes of indexes.py."""

    def __init__(self, counters: Collection):
        # Its own client is never used, and connects to nothing before it is.
        super().__init__("async+mongodb://unused", counter_collection_name=counters.name)
        self._counters = counters

    @property
    def database(self) -> Any:
        return {self._counters.name: self._counters}

    async def create_indices(self) -> None:
        """They are there since the start."""


class RateCounterRepository:
    def __init__(self, database: Database):
        self._storage = _Storage(database.acknowledged_by_one("rate_limits"))
        self._count = Coalescer(self._count_together)

    async def count(self, key: str, window_s: int) -> int:
        """Count one more, and return how many there are with it: of any number at once each is another one."""
        return await self._count((key, window_s))

    async def _count_together(self, hits: list[Hit]) -> Sequence[int | Exception]:
        together = Counter(hits)
        totals = await asyncio.gather(
            *(self._storage.incr(key, window_s + _CLOCKS_APART_S, many) for (key, window_s), many in together.items()),
            return_exceptions=True,
        )
        found = dict(zip(together, totals, strict=True))
        results: list[int | Exception] = []
        for hit in hits:
            total = found[hit]
            if isinstance(total, int):
                together[hit] -= 1
                results.append(total - together[hit])
            else:
                assert isinstance(total, Exception)
                results.append(total)
        return results
