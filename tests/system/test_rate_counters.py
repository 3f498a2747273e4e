"""Counters of requests: exact in a race, over processes and in one, and gone when their window is."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pymongo
import pytest

from core.database import Database
from core.errors import RateLimited
from domain.rate_limits import By, Policy
from repositories.indexes import INDEXES
from repositories.rate_counters import RateCounterRepository
from services.rate_limits import RateLimits

NAME = "rate_counters"


@pytest.fixture
async def databases(mongo_uri: str) -> AsyncIterator[list[Database]]:
    """Of several processes."""
    several = [Database(mongo_uri, NAME) for _ in range(3)]
    await several[0].ensure_indexes("rate_limits", INDEXES["rate_limits"])
    yield several
    await several[0].drop()
    for one in several:
        one.close()


async def test_of_all_that_count_at_once_each_has_another_place(databases: list[Database]) -> None:
    counters = [RateCounterRepository(database) for database in databases]

    places = await asyncio.gather(*(counters[number % 3].count(f"{number % 2}", 60) for number in range(600)))

    assert sorted(places) == sorted(2 * list(range(1, 301)))


async def test_of_as_many_as_there_may_be_none_is_refused(databases: list[Database]) -> None:
    limits = [RateLimits(RateCounterRepository(database), b"key") for database in databases]
    policy = Policy("test", quota=50, window_s=24 * 3600, by=By.ADDRESS)

    async def passes(number: int) -> bool:
        try:
            await limits[number % 3].count(policy, "somebody")
        except RateLimited:
            return False
        return True

    assert all(await asyncio.gather(*(passes(number) for number in range(50))))
    assert not any(await asyncio.gather(*(passes(number) for number in range(20))))


async def test_a_new_window_is_a_new_start(databases: list[Database]) -> None:
    limits = RateLimits(RateCounterRepository(databases[0]), b"key")
    policy = Policy("test", quota=1, window_s=2, by=By.ADDRESS)
    await asyncio.sleep(2 - time.time() % 2)

    first = await limits.count(policy, "somebody")
    with pytest.raises(RateLimited) as refused:
        await limits.count(policy, "somebody")
    await asyncio.sleep(int(refused.value.headers["Retry-After"]))
    again = await limits.count(policy, "somebody")

    assert (first.counted, again.counted) == (1, 1)


async def test_mongodb_forgets_a_counter_when_its_window_is_over(databases: list[Database], mongo_uri: str) -> None:
    await RateCounterRepository(databases[0]).count("somebody", 60)

    with pymongo.MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as mongo:
        counters = mongo[NAME]["rate_limits"]
        (kept,) = counters.find()
        indexes = counters.index_information()
        collections = mongo[NAME].list_collection_names()
    assert 3600 < kept["expireAt"].timestamp() - time.time() < 3700
    assert indexes.keys() == {"_id_", "expiry"}
    assert (indexes["expiry"]["key"], indexes["expiry"]["expireAfterSeconds"]) == ([("expireAt", 1)], 0)
    assert not {"counters", "windows", "limits"} & set(collections)
