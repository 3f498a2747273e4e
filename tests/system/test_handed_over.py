"""What a worker has just published it sends without looking for it, as long as that changes nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pymongo
import pytest

from services.delivery import Delivery, Found
from tests.chaos.lanes import PATIENCE_S, Lane, lane
from workers.dispatcher import Dispatcher


class CountedLooks:
    """The deliveries, and which targets were looked at. A sweep finds nothing, so that all comes from publishing."""

    def __init__(self, delivery: Delivery):
        self._delivery = delivery
        self.looked_at: list[str] = []

    async def first_due(self) -> dict[str, datetime]:
        return {}

    async def look(self, room: Mapping[str, int]) -> Found:
        self.looked_at += room
        return await self._delivery.look(room)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)


@asynccontextmanager
async def dispatching(one: Lane) -> AsyncIterator[CountedLooks]:
    delivery = CountedLooks(one.psp.delivery)
    dispatcher = Dispatcher(delivery, one.psp.signals, None)  # type: ignore[arg-type]
    worker = asyncio.create_task(dispatcher.run())
    try:
        yield delivery
    finally:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker
        await dispatcher.stop()


async def publish(one: Lane) -> None:
    await one.psp.publishing.publish_batch(one.psp.publishing.outboxes)


async def arrived(one: Lane, count: int) -> None:
    await asyncio.to_thread(one.receiver.wait_for, count, PATIENCE_S)


@pytest.mark.parametrize("to", ["endpoint", "own_url"])
async def test_what_was_just_published_is_sent_without_a_look(
    mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path, to: str
) -> None:
    async with lane(mongo_uri, mongo, tmp_path / "fresh") as one, dispatching(one) as delivery:
        one.receiver.answers = lambda number, _: 200
        caller = await one.merchant(0)
        url = f"{one.receiver.url}/hook"
        if to == "endpoint":
            endpoint_id = await one.endpoint(caller, url)
            await one.psp.webhook_endpoints.send_test(caller, endpoint_id)
        else:
            await one.charge(caller, webhookUrl=url)
        await publish(one)
        await arrived(one, 1)
        assert delivery.looked_at == []


async def test_what_has_no_room_is_looked_for_and_comes(
    mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    async with lane(mongo_uri, mongo, tmp_path / "many") as one, dispatching(one) as delivery:
        one.receiver.answers = lambda number, _: 200
        caller = await one.merchant(0)
        endpoint_id = await one.endpoint(caller, f"{one.receiver.url}/hook")
        for _ in range(20):
            await one.psp.webhook_endpoints.send_test(caller, endpoint_id)
        await publish(one)
        await arrived(one, 20)
        assert endpoint_id in delivery.looked_at


async def test_what_was_published_before_is_not_sent_again(
    mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    """Two workers may publish the same, and one may have stopped before it took out what it had published."""
    async with lane(mongo_uri, mongo, tmp_path / "twice") as one, dispatching(one):
        one.receiver.answers = lambda number, _: 200
        caller = await one.merchant(0)
        endpoint_id = await one.endpoint(caller, f"{one.receiver.url}/hook")
        await one.psp.webhook_endpoints.send_test(caller, endpoint_id)
        before = one.database["webhook_endpoints"].find_one({"_id": endpoint_id})
        assert before is not None
        await publish(one)
        await arrived(one, 1)
        one.database["webhook_endpoints"].update_one({"_id": endpoint_id}, {"$set": {"outbox": before["outbox"]}})
        await publish(one)
        await one.psp.webhook_endpoints.send_test(caller, endpoint_id)
        await publish(one)
        await arrived(one, 2)
        assert len({request.headers["webhook-id"] for request in one.receiver.requests}) == 2
        assert len(one.receiver.requests) == 2
