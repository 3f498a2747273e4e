"""Indexes are made at the start, whatever an earlier version has left."""

import asyncio
from typing import Any

import pymongo
import pytest

from core.database import Database
from repositories.indexes import INDEXES, create_indexes

DATABASE = "indexes"


@pytest.mark.parametrize("starters", [1, 4])
async def test_an_index_of_an_older_version_is_replaced(mongo_uri: str, starters: int) -> None:
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as mongo:
        mongo.drop_database(DATABASE)
        payments = mongo[DATABASE]["payments"]
        payments.create_index([("deleted", 1), ("owner_id", 1)], name="by_time")
        payments.create_index("updated_at", name="outbox")
        processes = [Database(mongo_uri, DATABASE) for _ in range(starters)]
        await asyncio.gather(*(create_indexes(database) for database in processes))
        made = payments.index_information()
        for database in processes:
            database.close()
        mongo.drop_database(DATABASE)
    for index in INDEXES["payments"]:
        wanted = index.document
        assert made[wanted["name"]]["key"] == list(wanted["key"].items())
        assert made[wanted["name"]].get("partialFilterExpression") == wanted.get("partialFilterExpression")
