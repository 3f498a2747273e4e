"""Databases of a test's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pymongo

from core.database import Database
from repositories.indexes import INDEXES, create_indexes


@asynccontextmanager
async def own_database(mongo_uri: str, name: str) -> AsyncIterator[Database]:
    """Empty, with its indexes, and gone afterwards."""
    database = Database(mongo_uri, name)
    await create_indexes(database)
    try:
        yield database
    finally:
        await database.drop()
        database.close()


async def emptied(database: Database) -> Database:
    """It without a row: to make its indexes anew for each test takes half a second."""
    for name in INDEXES:
        await database[name].delete_many({})
    return database


def end_abandoned(mongo: pymongo.MongoClient[dict[str, Any]]) -> None:
    """Abort the transactions that killed processes have left open: whoever writes the same documents, or drops their
    database, would wait for MongoDB to do it, ten seconds."""
    open_and_idle = {"transaction": {"$exists": True}, "active": False}
    found = mongo.admin.aggregate([{"$currentOp": {"allUsers": True, "idleSessions": True}}, {"$match": open_and_idle}])
    sessions = [{"id": one["lsid"]["id"]} for one in found]
    if sessions:  # none would mean all
        mongo.admin.command("killSessions", sessions)
