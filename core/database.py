"""The one file that knows the driver. To exchange it (Motor for PyMongo's own async client), change this file."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

# Motor runs each operation in a thread. With its default of five a core, a few operations that wait for a MongoDB
# that is away would make all others queue past their own time limit. (Read by Motor when it is imported.)
os.environ.setdefault("MOTOR_MAX_WORKERS", "64")

from bson.codec_options import CodecOptions, DatetimeConversion
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)
from pymongo import ASCENDING, DESCENDING, CursorType, IndexModel, ReplaceOne, ReturnDocument, UpdateOne, timeout
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.errors import (
    ConfigurationError as ConfigurationFailure,
)
from pymongo.write_concern import WriteConcern

from core.database_metrics import CommandTimes, PoolFigures

__all__ = [
    "ASCENDING",
    "DESCENDING",
    "DUPLICATE_KEY",
    "BulkWriteError",
    "Collection",
    "CursorType",
    "Database",
    "Document",
    "DriverError",
    "DuplicateKey",
    "IndexModel",
    "Pipeline",
    "ReplaceOne",
    "ReturnDocument",
    "Session",
    "UpdateOne",
    "document_is_full",
    "insert_each",
    "insert_missing",
    "nothing_was_sent",
    "outage",
]

Document = dict[str, Any]
Pipeline = list[dict[str, Any]]
Collection = AsyncIOMotorCollection[Document]
Session = AsyncIOMotorClientSession
DriverError = PyMongoError
T = TypeVar("T")
DuplicateKey = DuplicateKeyError

# A request must have its 503 within five seconds of MongoDB going away; this bounds each operation as a whole
# (selecting a server, sending, retrying, waiting for the majority).
OPERATION_TIMEOUT_S = 4.0
INDEX_BUILD_TIMEOUT_S = 3600.0
"""A version that brings a new index to a large collection takes its time to start, rather than never starting."""
DUPLICATE_KEY = 11000
NAMESPACE_EXISTS = 48
NOT_THERE = (26, 27)
"""NamespaceNotFound and IndexNotFound."""
DOCUMENT_TOO_LARGE = (10334, 17419)
INDEX_CONFLICTS = (85, 86)
"""IndexOptionsConflict and IndexKeySpecsConflict."""
PASSING = {24, 46, 112, 262, 365, 14031}
"""LockTimeout, LockBusy, WriteConflict, ExceededTimeLimit, TemporarilyUnavailable (its cache is full) and
OutOfDiskSpace: of those that are MongoDB's fault and not ours, the ones that the driver has no class or label for."""


class Database:
    """A connection to one database, with the guarantees that the whole product relies on.

    Writes are acknowledged by a majority and journalled; datetimes are aware and in UTC.
    """

    def __init__(self, uri: str, name: str, *, timeout_s: float = OPERATION_TIMEOUT_S):
        self.client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            uri,
            tz_aware=True,
            timeoutMS=int(timeout_s * 1000),
            serverSelectionTimeoutMS=int(timeout_s * 1000),
            connectTimeoutMS=2000,
            appname="mock-psp",
            retryWrites=True,
            retryReads=True,
            event_listeners=[CommandTimes(), PoolFigures()],
        )
        self._database: AsyncIOMotorDatabase[Document] = self.client.get_database(
            name,
            codec_options=CodecOptions(tz_aware=True),
            write_concern=WriteConcern(w="majority"),
        )

    def __getitem__(self, collection: str) -> Collection:
        return self._database[collection]

    @property
    def name(self) -> str:
        return str(self._database.name)

    def whatever_it_holds(self, collection: str) -> Collection:
        """The collection, to be read where others may have written what no product writes: times out of range come as
        numbers, and bytes that are no UTF-8 as surrogates."""
        options = CodecOptions[Document](
            tz_aware=True,
            datetime_conversion=DatetimeConversion.DATETIME_AUTO,
            unicode_decode_error_handler="surrogateescape",
        )
        return self._database.get_collection(collection, codec_options=options)

    def unacknowledged(self, collection: str) -> Collection:
        """The collection, for writes whose outcome nobody waits for."""
        return self._database.get_collection(collection, write_concern=WriteConcern(w=0))

    def acknowledged_by_one(self, collection: str) -> Collection:
        """The collection, for writes that nobody misses where the primary is lost with them: no wait for the disk."""
        return self._database.get_collection(collection, write_concern=WriteConcern(w=1))

    async def ping(self) -> None:
        """Return when MongoDB answers as a primary. Raises DriverError when it does not in time."""
        await self._database.command("ping")

    async def require_replica_set(self) -> None:
        """Raises DriverError where this MongoDB is a standalone: transactions need a replica set."""
        hello = await self._database.command("hello")
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise ConfigurationFailure("it is a standalone server, and a replica set is needed (one node is enough)")

    async def ensure_indexes(self, collection: str, indexes: Sequence[IndexModel]) -> None:
        """Make what is missing; an index of the same name that is defined otherwise (by an older version) is replaced.

        Safe to run in several processes at once.
        """
        try:
            with timeout(INDEX_BUILD_TIMEOUT_S):
                await self._database[collection].create_indexes(indexes)
        except OperationFailure as error:
            if error.code not in INDEX_CONFLICTS:
                raise
            for index in indexes:
                await self._replace_index(self._database[collection], index)

    async def ensure_expiry(
        self, collection: str, field: str, after_s: int | None, *, name: str, only: Document | None = None
    ) -> None:
        """Have MongoDB itself delete documents so many seconds after the time in a field, `only` those of that kind;
        with None, no more. Safe to run in several processes at once.
        """
        rows = self._database[collection]
        partial: Document = {} if only is None else {"partialFilterExpression": only}
        try:
            if after_s is None:
                await rows.drop_index(name)
            else:
                with timeout(INDEX_BUILD_TIMEOUT_S):
                    await rows.create_indexes([IndexModel(field, name=name, expireAfterSeconds=after_s, **partial)])
        except OperationFailure as error:
            if error.code in INDEX_CONFLICTS:
                # It is there with another time: building it anew would take long.
                await self._database.command("collMod", collection, index={"name": name, "expireAfterSeconds": after_s})
            elif error.code not in NOT_THERE:
                raise

    async def ensure_capped(self, collection: str, size_bytes: int) -> None:
        """Make a collection that keeps its newest documents only, or turn an older version's into one."""
        try:
            await self._database.create_collection(collection, check_exists=False, capped=True, size=size_bytes)
        except OperationFailure as error:
            if error.code != NAMESPACE_EXISTS:
                raise
            if not (await self._database[collection].options()).get("capped"):
                await self._database.command("convertToCapped", collection, size=size_bytes)

    async def empty(self, collection: str, kept: Document | None = None) -> int:
        """Delete all documents but those that match, however many there are; how many it were."""
        with timeout(INDEX_BUILD_TIMEOUT_S):
            result = await self._database[collection].delete_many({} if kept is None else {"$nor": [kept]})
        return int(result.deleted_count)

    async def holds_any(self, collections: Sequence[str]) -> bool:
        """Whether there is a document in one of them."""
        return any([await self._database[name].find_one({}, {"_id": 1}) for name in collections])

    async def index_names(self, collection: str) -> set[str]:
        return set(await self._database[collection].index_information())

    async def collection_names(self) -> list[str]:
        return await self._database.list_collection_names()

    async def in_transaction(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Run `work(session)` in a transaction, again from the start on a write conflict (cold paths only).

        The driver's own `with_transaction` would go on for two minutes while MongoDB is away.
        """
        deadline = time.monotonic() + OPERATION_TIMEOUT_S
        async with await self.client.start_session() as session:
            while True:
                try:
                    async with session.start_transaction(write_concern=WriteConcern(w="majority")):
                        return await work(session)
                except PyMongoError as error:
                    if not error.has_error_label("TransientTransactionError") or time.monotonic() > deadline:
                        raise
                await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311 - spreads rivals, guards nothing

    async def _replace_index(self, collection: Collection, index: IndexModel) -> None:
        try:
            with timeout(INDEX_BUILD_TIMEOUT_S):
                await collection.create_indexes([index])
        except OperationFailure as error:
            if error.code not in INDEX_CONFLICTS:
                raise
            with suppress(OperationFailure):  # where another process that starts now was first
                await collection.drop_index(index.document["name"])
            with timeout(INDEX_BUILD_TIMEOUT_S):
                await collection.create_indexes([index])

    async def drop(self) -> None:
        await self.client.drop_database(self._database.name)

    def close(self) -> None:
        self.client.close()


async def insert_each(collection: Collection, documents: Sequence[Document]) -> list[bool | Exception]:
    """Insert all in one unordered batch. For each: True, or the DuplicateKey that kept it out."""
    if not documents:
        return []
    try:
        await collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        return _by_document(error, len(documents))
    return [True] * len(documents)


async def insert_missing(collection: Collection, documents: Sequence[Document]) -> list[bool]:
    """Insert those whose `_id` is not there yet; for each whether it was missing. Doing it twice is harmless."""
    results = await insert_each(collection, documents)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, DuplicateKey):
            raise result
    return [not isinstance(result, DuplicateKey) for result in results]


def _by_document(error: BulkWriteError, count: int) -> list[bool | Exception]:
    details = error.details or {}
    if details.get("writeConcernErrors"):
        # Written here, but not known to have reached a majority: nobody may be told that it has.
        return [WriteConcernError("the majority did not acknowledge in time")] * count
    results: list[bool | Exception] = [True] * count
    for failure in details.get("writeErrors", []):
        if failure["code"] == DUPLICATE_KEY:
            results[failure["index"]] = DuplicateKey(failure["errmsg"], DUPLICATE_KEY, failure)
        else:
            results[failure["index"]] = OperationFailure(failure["errmsg"], failure["code"], failure)
    return results


def outage(error: DriverError) -> bool:
    """Whether the error means that MongoDB is away, stepping down or too slow, and not that we asked wrongly."""
    return (
        isinstance(error, ConnectionFailure | ExecutionTimeout | NetworkTimeout | WriteConcernError)
        or error.timeout
        or error.has_error_label("RetryableWriteError")
        or error.has_error_label("TransientTransactionError")
        or not PASSING.isdisjoint(_codes(error))
    )


def _codes(error: DriverError) -> list[int | None]:
    """Why MongoDB refused: of a batch, for each row that it refused."""
    if isinstance(error, BulkWriteError):
        return [failure["code"] for failure in (error.details or {}).get("writeErrors", [])]
    return [error.code] if isinstance(error, OperationFailure) else []


def document_is_full(error: DriverError) -> bool:
    """Whether the document would have outgrown MongoDB's 16 MB, so that nothing was written."""
    return isinstance(error, OperationFailure) and error.code in DOCUMENT_TOO_LARGE


def nothing_was_sent(error: DriverError) -> bool:
    """Whether no server was found at all, so that nothing can have been written."""
    return isinstance(error, ServerSelectionTimeoutError)
