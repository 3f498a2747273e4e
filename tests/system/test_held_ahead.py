"""What a worker has leased ahead of its slots is not sent when it has waited too long: by then another may have it."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pymongo
import pytest

from services.delivery import Delivery
from tests.chaos.lanes import PATIENCE_S, lane
from workers.dispatcher import HELD_AT_MOST_S, Dispatcher

pytestmark = pytest.mark.long
EVENTS = 40


class SlowDelivery:
    """The deliveries of a MongoDB that takes its time for a sweep: until the gate is open."""

    def __init__(self, delivery: Delivery):
        self._delivery = delivery
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()

    async def first_due(self) -> dict[str, datetime]:
        if not self.gate.is_set():
            self.waiting.set()
        await self.gate.wait()
        return await self._delivery.first_due()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)


async def test_what_was_held_while_mongodb_was_slow_is_not_sent_under_a_lease_that_is_anothers(
    mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    async with lane(mongo_uri, mongo, tmp_path / "held") as one:
        hangs, answers = Event(), Event()
        one.receiver.answers = lambda number, _: (answers.wait(PATIENCE_S) if hangs.is_set() else True) and 200
        caller = await one.merchant(0)
        endpoint_id = await one.endpoint(caller, f"{one.receiver.url}/hook")
        delivery = SlowDelivery(one.psp.delivery)
        dispatcher = Dispatcher(delivery, one.psp.signals, None)  # type: ignore[arg-type]

        async def publish() -> None:
            for _ in range(EVENTS):
                await one.psp.webhook_endpoints.send_test(caller, endpoint_id)
            await one.psp.publishing.publish_batch(one.psp.publishing.outboxes)

        worker = asyncio.create_task(dispatcher.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await publish()
                await asyncio.to_thread(one.receiver.wait_for, EVENTS, PATIENCE_S)
                # It has answered so quickly that it is trusted with more than it can be sent at once; now it hangs.
                hangs.set()
                await publish()
                while not dispatcher._count_held():
                    await asyncio.sleep(0.01)
                delivery.gate.clear()
                await delivery.waiting.wait()
            await asyncio.sleep(HELD_AT_MOST_S)
            # Had it taken longer, the leases would have ended, and another worker would have taken what is held.
            anothers = {"lease_token": "another's", "lease_until": datetime.now(UTC) + timedelta(hours=1)}
            one.database["deliveries"].update_many({"state": "pending"}, {"$set": anothers})
            before = len(one.receiver.requests)
            answers.set()  # whose slots are free at once
            await asyncio.sleep(1)
            delivery.gate.set()
            await asyncio.sleep(1)
            assert len(one.receiver.requests) == before
        finally:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
            await dispatcher.stop()
