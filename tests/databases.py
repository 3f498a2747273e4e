"""Databases of a test's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.database import Database
from repositories.indexes import create_indexes


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
