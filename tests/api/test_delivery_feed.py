"""The feed behind `cli.py deliveries tail`: each change once, and at little cost while nothing happens."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pymongo.database
import pytest

from commands.api import Api
from commands.delivery_feed import DeliveryFeed
from core import ids
from tests.conftest import Server
from tests.factories import Account, Psp

Row = dict[str, Any]
Database = pymongo.database.Database[Row]
Make = Callable[..., str]
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def account(psp: Psp) -> Account:
    return psp.register()


@pytest.fixture
async def feed(server: Server, account: Account) -> AsyncIterator[DeliveryFeed]:
    async with aiohttp.ClientSession(headers=account.key) as session:
        yield DeliveryFeed(Api(session, server.url))


@pytest.fixture
def make(account: Account, database: Database) -> Make:
    """A delivery of this time and state, which is due when no test runs any more."""

    def make(created_at: datetime, state: str = "delivered") -> str:
        row = {
            "_id": ids.fresh("dlv"),
            "event_id": ids.fresh("evt"),
            "event_type": "customer.created",
            "owner_id": account.id,
            "target": "http://127.0.0.1:9",
            "url": "http://127.0.0.1:9/hook",
            "state": state,
            "failures": 0,
            "attempts": [],
            "created_at": created_at,
            "updated_at": created_at,
            "due_at": NOW + timedelta(days=30),
            "stream_id": ids.fresh("cus"),
            "sequence": 1,
        }
        database["deliveries"].insert_one(row)
        return str(row["_id"])

    return make


async def changed(feed: DeliveryFeed) -> list[str]:
    return [one["id"] for one in await feed.changed()]


async def test_a_delivery_is_told_once_for_each_change(feed: DeliveryFeed, make: Make, database: Database) -> None:
    old = make(NOW - timedelta(hours=1))
    assert await changed(feed) == [old]
    assert await changed(feed) == []

    pending = make(NOW, "pending")
    assert await changed(feed) == [pending]
    make_many = [make(NOW + timedelta(milliseconds=number)) for number in range(250)]
    assert await changed(feed) == make_many
    database["deliveries"].update_one({"_id": pending}, {"$set": {"state": "dead"}})

    assert await changed(feed) == [pending]
    assert await changed(feed) == []


async def test_one_that_is_made_late_is_told_and_nothing_is_told_again(feed: DeliveryFeed, make: Make) -> None:
    make(NOW - timedelta(hours=2))
    waiting = make(NOW - timedelta(hours=1), "pending")
    await changed(feed)
    make(NOW)
    await changed(feed)

    late = make(NOW - timedelta(seconds=59))
    assert await changed(feed) == [late]
    latest = make(NOW + timedelta(minutes=30))
    assert await changed(feed) == [latest]
    assert waiting not in await changed(feed)
    assert await changed(feed) == []


async def test_an_account_without_deliveries_is_followed(feed: DeliveryFeed, make: Make) -> None:
    assert await changed(feed) == []
    first = make(NOW)

    assert await changed(feed) == [first]
