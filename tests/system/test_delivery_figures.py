"""The dashboard's figures of webhooks: what became of the newest deliveries, at a cost that does not grow."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from core import clock
from core.database import Database
from repositories.deliveries import DeliveryRepository
from repositories.events import EventHead
from repositories.indexes import create_indexes
from services.event_targets import Target, new_delivery


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    database = Database(mongo_uri, "delivery_figures")
    await create_indexes(database)
    yield database
    await database.drop()
    database.close()


async def test_so_many_newest_deliveries_are_counted_and_no_more_are_read(database: Database, mongo: Any) -> None:
    deliveries, now = DeliveryRepository(database), clock.now()
    for begin, state in ((0, "dead"), (300, "delivered"), (900, "dead"), (950, "pending")):
        heads = [EventHead(f"evt_{n}", "payment.created", "user_1", f"txn_{n}", 1, now) for n in range(begin, 1000)]
        # Due long before or after the others: what counts as new is what was made last.
        made = [new_delivery(head, Target("https://x.example"), now - timedelta(days=begin)) for head in heads]
        await database["deliveries"].delete_many({"_id": {"$in": [one.id for one in made]}})
        await deliveries.insert_missing(made)
        await database["deliveries"].update_many({"_id": {"$in": [one.id for one in made]}}, {"$set": {"state": state}})
    mongo["delivery_figures"].command("profile", 2)

    assert await deliveries.count_by_state(500) == {"pending": 50, "delivered": 400, "dead": 50}

    mongo["delivery_figures"].command("profile", 0)
    (read,) = mongo["delivery_figures"]["system.profile"].find({"command.aggregate": "deliveries"})
    assert read["docsExamined"] == 500
    assert await deliveries.count_by_state(5000) == {"pending": 50, "delivered": 600, "dead": 350}
