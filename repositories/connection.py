"""Connecting to the database that the settings name, ready for use."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from core.config import Settings
from core.database import Database, DriverError, outage
from core.embedded_mongo import start as start_embedded_mongo
from core.errors import ConfigurationError, DatabaseDown
from core.mongo_files import EmbeddedMongoError
from repositories.indexes import create_indexes, keep_for

_REST = re.compile(r" \(configured timeouts:|, Timeout:|\n")


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Database]:
    """The database, with its indexes, behind MONGODB_URI or in the embedded MongoDB. Raises ConfigurationError."""
    with ExitStack() as stack:
        if settings.mongodb_uri is None:
            try:
                mongo = await asyncio.to_thread(start_embedded_mongo, settings.data_dir)
            except EmbeddedMongoError as error:
                raise DatabaseDown(str(error)) from None
            stack.callback(mongo.close)
            uri = mongo.uri
        else:
            uri = settings.mongodb_uri.get_secret_value()
        try:
            database = Database(uri, settings.mongodb_db)
            stack.callback(database.close)
            await database.require_replica_set()
            await create_indexes(database)
            await keep_for(database, settings.retention_days)
        except DriverError as error:
            raise no_answer(error, settings) from None
        yield database


def no_answer(error: DriverError, settings: Settings) -> ConfigurationError:
    """What whoever starts a process or gives a command reads when MongoDB cannot be used, or goes away meanwhile.
    DatabaseDown where it may be back later with the same settings."""
    advice = "check MONGODB_URI, or leave it unset to use the embedded MongoDB."
    if settings.mongodb_uri is None:
        advice = f"its log is {settings.data_dir / 'mongodb.log'}."
    sentence = f"MongoDB does not answer as it should ({_first_line(error)}): {advice}"
    return DatabaseDown(sentence) if outage(error) else ConfigurationError(sentence)


def _first_line(error: Exception) -> str:
    """The driver's own reason without its timeouts and topology dump (nor the password that a URI may hold)."""
    return _REST.split(str(error), maxsplit=1)[0][:200]
