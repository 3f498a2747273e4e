"""Transactions: rivals get through one after the other, and one that cannot succeed is given up."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pymongo
import pytest

from core.database import Database, DriverError, Session, outage

DATABASE = "transactions"


@pytest.fixture
async def database(mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]]) -> AsyncIterator[Database]:
    mongo[DATABASE]["rows"].insert_one({"_id": "one", "count": 0})
    database = Database(mongo_uri, DATABASE)
    yield database
    database.close()
    mongo.drop_database(DATABASE)


async def test_rivals_do_not_overwrite_each_other(
    database: Database, mongo: pymongo.MongoClient[dict[str, Any]]
) -> None:
    async def count_up(session: Session) -> None:
        row = await database["rows"].find_one({"_id": "one"}, session=session)
        assert row is not None
        await database["rows"].update_one({"_id": "one"}, {"$set": {"count": row["count"] + 1}}, session=session)

    await asyncio.gather(*(database.in_transaction(count_up) for _ in range(20)))

    assert mongo[DATABASE]["rows"].find_one() == {"_id": "one", "count": 20}


async def test_what_always_fails_is_not_tried_for_minutes(
    database: Database, mongo: pymongo.MongoClient[dict[str, Any]]
) -> None:
    async def change(session: Session) -> None:
        await database["rows"].update_one({"_id": "one"}, {"$inc": {"count": 1}}, session=session)

    # InterruptedAtShutdown, which the driver repeats in a transaction.
    failing = {"failCommands": ["update"], "namespace": f"{DATABASE}.rows", "errorCode": 11600}
    mongo.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=failing)
    try:
        async with asyncio.timeout(60):
            with pytest.raises(DriverError) as caught:
                await database.in_transaction(change)
    finally:
        mongo.admin.command("configureFailPoint", "failCommand", mode="off")

    assert outage(caught.value)


@pytest.mark.long
def test_what_somebody_left_in_the_middle_of_a_transaction_is_not_blocked_for_a_minute(
    database: Database, mongo: pymongo.MongoClient[dict[str, Any]]
) -> None:
    """A process that is killed there ends nothing, and MongoDB doesn't notice that it has gone."""
    rows, change = mongo[DATABASE]["rows"], {"$inc": {"count": 1}}
    with mongo.start_session() as left:
        left.start_transaction()
        rows.update_one({"_id": "one"}, change, session=left)

        # Outside of a transaction it waits for its turn.
        with pymongo.timeout(40):
            rows.update_one({"_id": "one"}, change)

        assert rows.find_one() == {"_id": "one", "count": 1}
