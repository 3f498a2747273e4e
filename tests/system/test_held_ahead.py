"""What a worker has leased ahead of its slots goes back when it waited too long: somebody else may have it by then."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymongo
import pytest

from services.delivery import Delivery
from tests.chaos.lanes import PATIENCE_S, lane
from workers.dispatcher import HELD_AT_MOST_S, Dispatcher

EVENTS = 100


class Stalling:
    """The deliveries of a MongoDB that takes long for one look for work."""

    def __init__(self, delivery: Delivery):
        self._delivery = delivery
        self.stalls = asyncio.Event()
        self.stalled = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def first_due(self) -> dict[str, datetime]:
        if self.stalls.is_set() and not self.goes_on.is_set():
            self.stalled.set()
            await self.goes_on.wait()
        return await self._delivery.first_due()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)


@pytest.mark.long
async def test_what_was_held_while_mongodb_was_slow_is_not_sent_under_a_lease_that_is_anothers(
    mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    async with lane(mongo_uri, mongo, tmp_path / "held") as one:
        one.receiver.answers = lambda number, _: time.sleep(0.3) or 200  # type: ignore[func-returns-value]
        caller = await one.merchant(0)
        endpoint_id = await one.endpoint(caller, f"{one.receiver.url}/hook")
        for _ in range(EVENTS):
            await one.psp.webhook_endpoints.send_test(caller, endpoint_id)
        await one.psp.publishing.publish_batch()
        delivery = Stalling(one.psp.delivery)

        worker = asyncio.create_task(Dispatcher(delivery, one.psp.signals, None).run())  # type: ignore[arg-type]
        try:
            await asyncio.to_thread(one.receiver.wait_for, 10, PATIENCE_S)
            delivery.stalls.set()
            async with asyncio.timeout(PATIENCE_S):
                await delivery.stalled.wait()
                held = await idle(one.database, one.receiver)
            assert held, "nothing was held ahead"
            await asyncio.sleep(HELD_AT_MOST_S + 0.5)
            # Its leases have ended, and another worker has everything now.
            anothers = {"lease_token": "another's", "lease_until": datetime.now(UTC) + timedelta(hours=1)}
            one.database["deliveries"].update_many({"state": "pending"}, {"$set": anothers})
            before = len(one.receiver.requests)
            delivery.goes_on.set()
            await asyncio.sleep(2)
            assert len(one.receiver.requests) == before
        finally:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker


async def idle(database: Any, receiver: Any) -> int:
    """Once nothing is under way any more: how many are leased and not yet sent."""
    seen = -1
    while seen != len(receiver.requests):
        seen = len(receiver.requests)
        await asyncio.sleep(1)
    return int(database["deliveries"].count_documents({"lease_token": {"$exists": True}}))
