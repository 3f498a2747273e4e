"""The chain of the audit log as it is stored: the rows' links, and one head that only its leaseholder moves."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from core.database import (
    ASCENDING,
    DUPLICATE_KEY,
    BulkWriteError,
    Database,
    Document,
    DuplicateKey,
    Session,
    UpdateOne,
)
from domain.audit_chain import ChainRow, Head, canonical
from repositories import leases

_ID = "chain"
_UNLINKED: Document = {"linked": False}
_REFUSED = {"$set": {"linked": "refused"}}
"""Out of the way of those that wait."""
_OLDEST_FIRST = [("at", ASCENDING), ("_id", ASCENDING)]


class PlaceTaken(Exception):
    """Another row has a place that was to be given."""


@dataclass(frozen=True, slots=True)
class SealedHead:
    head: Head
    seal: str


class AuditChainRepository:
    def __init__(self, database: Database):
        self._rows = database.whatever_it_holds("audit")
        self._heads = database["audit_head"]

    async def has_unlinked(self) -> bool:
        return await self._rows.find_one(_UNLINKED, {"_id": 1}, hint="unlinked") is not None

    async def lease(self, beginning: SealedHead, lease_s: int) -> str | None:
        """The lease's token; None while another one holds the chain. The first makes its head."""
        with suppress(DuplicateKey):  # where another process that begins now was first
            await self._heads.update_one({"_id": _ID}, {"$setOnInsert": _to_document(beginning)}, upsert=True)
        token, taken = await leases.take_ids(self._heads, [_ID], {}, lease_s)
        return token if taken else None

    async def leased_head(self, token: str, session: Session) -> SealedHead | None:
        """None where the lease was lost."""
        row = await self._heads.find_one({"_id": _ID, "lease_token": token}, session=session)
        return _from_document(row) if row else None

    async def unlinked(self, limit: int, session: Session) -> list[ChainRow]:
        """The oldest rows that have no place in the chain yet."""
        rows = self._rows.find(_UNLINKED, session=session, hint="unlinked").sort(_OLDEST_FIRST).limit(limit)
        return [_waiting(row) for row in await rows.to_list(limit)]

    async def link(
        self, token: str, rows: Sequence[ChainRow], refused: Sequence[ChainRow], head: SealedHead, session: Session
    ) -> None:
        """Give these rows their places, move the head behind them and end the lease: all of it, or nothing.

        The refused wait no longer, and are left where they are. Raises PlaceTaken.
        """
        links = [
            UpdateOne(
                {"_id": row.id, **_UNLINKED},
                {
                    "$set": {
                        "linked": True,
                        "sequence": row.sequence,
                        "previous_hash": row.previous_hash,
                        "hash": row.hash,
                    },
                    "$unset": {"seal": ""},
                },
            )
            for row in rows
        ] + [UpdateOne({"_id": row.id, **_UNLINKED}, _REFUSED) for row in refused]
        if links:
            try:
                await self._rows.bulk_write(links, session=session)
            except BulkWriteError as error:
                if any(one["code"] == DUPLICATE_KEY for one in (error.details or {}).get("writeErrors", [])):
                    raise PlaceTaken from None
                raise
        moved = {"$set": _to_document(head), "$unset": dict(leases.RELEASE)}
        await self._heads.update_one({"_id": _ID, "lease_token": token}, moved, session=session)

    async def head(self) -> SealedHead | None:
        row = await self._heads.find_one({"_id": _ID})
        return _from_document(row) if row else None

    async def linked_after(self, sequence: float, limit: int) -> list[ChainRow]:
        """The next rows of the chain, in its order."""
        after = {"sequence": {"$gt": sequence}}
        rows = self._rows.find(after, hint="chain").sort("sequence", ASCENDING).limit(limit)
        return [_chain_row(row) for row in await rows.to_list(limit)]

    async def has_successor(self, previous_hash: str) -> bool:
        """Whether a row anywhere was linked to this hash. Reads the whole log: for when it is known to be broken."""
        return await self._rows.find_one({"previous_hash": previous_hash}, {"_id": 1}) is not None

    async def without_place(self) -> AsyncIterator[ChainRow]:
        """What is not in the chain; with a seal only where it waits to be. Reads the whole log."""
        async for row in self._rows.find({"sequence": {"$not": {"$gte": 1}}}):
            yield _waiting(row)

    async def count_unlinked(self) -> int:
        return await self._rows.count_documents(_UNLINKED, hint="unlinked")


def _waiting(row: Document) -> ChainRow:
    seal = row.pop("seal", None)
    return ChainRow(
        row["_id"], canonical(row), seal=seal if row.get("linked") is False and isinstance(seal, str) else None
    )


def _chain_row(row: Document) -> ChainRow:
    previous_hash, own_hash = row.get("previous_hash"), row.get("hash")
    return ChainRow(
        str(row["_id"]),
        canonical(row),
        row["sequence"],
        previous_hash if isinstance(previous_hash, str) else None,
        own_hash if isinstance(own_hash, str) else None,
    )


def _to_document(sealed: SealedHead) -> Document:
    return {"sequence": sealed.head.sequence, "hash": sealed.head.hash, "seal": sealed.seal}


def _from_document(row: Document) -> SealedHead:
    # Whatever somebody made of it, its seal tells.
    return SealedHead(Head(row.get("sequence", 0), str(row.get("hash"))), str(row.get("seal")))
