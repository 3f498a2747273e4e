"""The feed behind `cli.py listen`: each event once, in bursts as well, and at little cost while nothing happens."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pymongo.database
import pytest

from commands.api import Api
from commands.event_feed import EXACT_TOTAL, EventFeed
from core import ids
from core.clock import rfc3339
from schemas.events import event_body
from tests.conftest import Server
from tests.factories import Account, Psp

Row = dict[str, Any]
Publish = Callable[[int, datetime], list[str]]
NOW = datetime.now(UTC).replace(microsecond=0)


class CountedApi(Api):
    """The API, with the queries that were asked."""

    queries: list[dict[str, str | int]]

    async def get(self, path: str, **query: str | int) -> Row:
        self.queries.append(query)
        return await super().get(path, **query)


@pytest.fixture
def account(psp: Psp) -> Account:
    return psp.register()


@pytest.fixture
async def api(server: Server, account: Account) -> AsyncIterator[CountedApi]:
    async with aiohttp.ClientSession(headers=account.key) as session:
        api = CountedApi(session, server.url)
        api.queries = []
        yield api


@pytest.fixture
def publish(account: Account, database: pymongo.database.Database[Row]) -> Publish:
    """Events of the account, a millisecond apart from this moment on, as a worker publishes them."""

    def publish(count: int, first: datetime) -> list[str]:
        rows = [_row(account.id, first + timedelta(milliseconds=number)) for number in range(count)]
        database["events"].insert_many(rows)
        return [row["_id"] for row in rows]

    return publish


def _row(owner_id: str, moment: datetime) -> Row:
    event_id, object_id = ids.fresh("evt"), ids.fresh("cus")
    return {
        "_id": event_id,
        "type": "customer.created",
        "owner_id": owner_id,
        "object_id": object_id,
        "stream_id": object_id,
        "sequence": 1,
        "created_at": moment,
        "body": event_body(event_id, "customer.created", moment, f'{{"id":"{object_id}"}}'.encode()),
    }


async def seen(feed: EventFeed) -> list[str]:
    events = await feed.unseen()
    for event in events:
        feed.see(event)
    return [event.id for event in events]


async def test_an_idle_look_is_one_small_request(api: CountedApi, publish: Publish) -> None:
    publish(5, NOW - timedelta(minutes=5))
    feed = EventFeed(api)
    await feed.begin()
    assert await seen(feed) == []
    api.queries.clear()

    for _ in range(3):
        assert await seen(feed) == []

    assert [query["limit"] for query in api.queries] == [1, 1, 1]


async def test_a_burst_is_seen_whole_and_in_order(api: CountedApi, publish: Publish) -> None:
    feed = EventFeed(api)
    await feed.begin()

    for wave in range(3):
        made = publish(EXACT_TOTAL, NOW + timedelta(seconds=wave))
        assert await seen(feed) == made
    assert await seen(feed) == []
    (late,) = publish(1, NOW + timedelta(seconds=2.0005))
    assert await seen(feed) == [late]


async def test_the_window_moves_on_and_an_idle_look_stays_small(api: CountedApi, publish: Publish) -> None:
    feed = EventFeed(api)
    await feed.begin()
    for wave in range(3):
        made = publish(EXACT_TOTAL - 1, NOW + timedelta(minutes=2 * wave))
        assert await seen(feed) == made
    assert await seen(feed) == []
    api.queries.clear()

    assert await seen(feed) == []

    assert [query["limit"] for query in api.queries] == [1]
    assert str(api.queries[0]["createdFrom"]) > rfc3339(NOW + timedelta(minutes=2))
    # A minute is what a late one may be behind, and five hundred events.
    (late,) = publish(1, NOW + timedelta(minutes=3, seconds=1))
    assert await seen(feed) == [late]


async def test_what_is_not_dealt_with_is_found_again(api: CountedApi, publish: Publish) -> None:
    feed = EventFeed(api)
    await feed.begin()
    first, second = publish(2, NOW)

    for event in (await feed.unseen())[:1]:
        feed.see(event)

    assert [event.id for event in await feed.unseen()] == [second] != [first]


async def test_an_account_to_which_nothing_has_happened_is_listened_to(api: CountedApi, publish: Publish) -> None:
    feed = EventFeed(api)
    await feed.begin()

    assert await seen(feed) == []
    made = publish(1, NOW - timedelta(days=1))
    assert await seen(feed) == made
