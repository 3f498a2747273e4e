"""The bank's books in MongoDB: one document an authorisation, with everything that followed it.

Nothing here has ever seen a card number: a card with a balance is known by a keyed fingerprint, other cards not at all.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bank.rules import Authorisation, FollowUp
from core.database import (
    ASCENDING,
    Collection,
    Database,
    Document,
    DuplicateKey,
    IndexModel,
    ReplaceOne,
    Session,
    insert_each,
)
from domain.acquiring import Decline, OperationKind

_FOLLOWED = {"follow_ups.0": {"$exists": True}}
INDEXES: Mapping[str, Sequence[IndexModel]] = {
    "bank_authorisations": [
        IndexModel("merchant_id", name="merchant"),
        IndexModel("captured_at", name="captured", sparse=True),
        IndexModel("follow_ups.id", name="follow_up", partialFilterExpression=_FOLLOWED),
        IndexModel("follow_ups.decided_at", name="followed", partialFilterExpression=_FOLLOWED),
    ],
    "bank_accounts": [],
    "bank_attempts": [],
}


@dataclass(frozen=True, slots=True)
class Totals:
    """What was approved, captured, voided and refunded in one currency; pending and refused operations do not count."""

    currency: str
    authorised_minor: int
    captured_minor: int
    voided_minor: int
    refunded_minor: int


class Books:
    def __init__(self, database: Database):
        self._database = database
        self._authorisations: Collection = database["bank_authorisations"]
        self._accounts: Collection = database["bank_accounts"]
        self._attempts: Collection = database["bank_attempts"]
        # Transactions on one account refuse each other; in a queue they take a tenth of the time. The database, and not
        # this lock, is what makes them right.
        self._queue = asyncio.Lock()

    async def create_indexes(self) -> None:
        for name, indexes in INDEXES.items():
            if indexes:
                await self._database.ensure_indexes(name, indexes)

    async def add(self, authorisations: Sequence[Authorisation]) -> list[bool]:
        """Write new ones in one batch. For each whether it was new; where not, the earlier one stands.

        Raises DriverError; what was written then is found at the repeat.
        """
        results = await insert_each(self._authorisations, [_to_document(one) for one in authorisations])
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, DuplicateKey):
                raise result
        return [result is True for result in results]

    async def add_first_attempt(self, operation_id: str) -> bool:
        """Whether this operation has been attempted for the first time."""
        with suppress(DuplicateKey):
            await self._attempts.insert_one({"_id": operation_id})
            return True
        return False

    async def add_within_balance(self, approved: Authorisation, declined: Authorisation, limit_minor: int) -> None:
        """Write the one or the other, as the account has enough left or not; an earlier one of the same id stands."""
        with suppress(DuplicateKey):  # where another began the account at the same moment
            await self._accounts.update_one(
                {"_id": approved.account}, {"$setOnInsert": {"spent_minor": 0}}, upsert=True
            )

        async def work(session: Session) -> None:
            enough = await self._accounts.update_one(
                {"_id": approved.account, "spent_minor": {"$lte": limit_minor - approved.amount_minor}},
                {"$inc": {"spent_minor": approved.amount_minor}},
                session=session,
            )
            decided = approved if enough.matched_count else declined
            await self._authorisations.insert_one(_to_document(decided), session=session)

        with suppress(DuplicateKey):
            async with self._queue:
                await self._database.in_transaction(work)

    async def change(self, changes: Sequence[tuple[Authorisation | None, Authorisation]], now: datetime) -> set[str]:
        """Write each change (None: of one that did not exist) unless somebody else has changed it since it was read.

        The ids of those that are known to have been written; of the others it shows when they are read again.
        """
        new = [after for before, after in changes if before is None]
        replaced: list[tuple[Authorisation, Authorisation]] = []
        written: set[str] = set()
        for before, after in changes:
            if before is None:
                continue
            if after.account is None or after.spent_minor(now) == before.spent_minor(now):
                replaced.append((before, after))
            elif await self._change_with_account(before, after, now):
                written.add(after.id)
        if new:
            written |= {one.id for one, is_new in zip(new, await self.add(new), strict=True) if is_new}
        if replaced:
            result = await self._authorisations.bulk_write(
                [ReplaceOne(_as_read(before), _to_document(after)) for before, after in replaced], ordered=False
            )
            if result.matched_count == len(replaced):
                written |= {after.id for _, after in replaced}
        return written

    async def find(self, ids: Sequence[str]) -> dict[str, Authorisation]:
        """Those that exist, by id."""
        found = self._authorisations.find({"_id": {"$in": list(ids)}})
        return {document["_id"]: _from_document(document) async for document in found}

    async def find_by_operation(self, operation_id: str) -> Authorisation | None:
        """The authorisation with this id, or the one that an operation with this id followed."""
        document = await self._authorisations.find_one({"_id": operation_id})
        if document is None:
            document = await self._authorisations.find_one({"follow_ups.id": operation_id, **_FOLLOWED})
        return _from_document(document) if document else None

    async def moved_between(self, start: datetime, end: datetime) -> AsyncIterator[Authorisation]:
        """Those that had a capture or another follow-up in the time, the end excluded."""
        moment = {"$gte": start, "$lt": end}
        moved = {
            "$or": [
                {"captured_at": moment},
                {"follow_ups": {"$elemMatch": {"decided_at": moment}}, **_FOLLOWED},
            ]
        }
        async for document in self._authorisations.find(moved):
            yield _from_document(document)

    async def totals(self, merchant_id: str | None, now: datetime) -> list[Totals]:
        """A merchant's totals, or everybody's, by currency."""
        approved = [{"$not": ["$decline"]}, {"$lte": ["$decided_at", now]}]
        refunds: Document = {
            "$filter": {
                "input": {"$ifNull": ["$follow_ups", []]},
                "cond": {
                    "$and": [
                        {"$eq": ["$$this.kind", OperationKind.REFUND.value]},
                        {"$not": ["$$this.decline"]},
                        {"$lte": ["$$this.decided_at", now]},
                    ]
                },
            }
        }
        refunded = {
            "$reduce": {"input": refunds, "initialValue": 0, "in": {"$add": ["$$value", "$$this.amount_minor"]}}
        }
        rows = self._authorisations.aggregate(
            [
                {"$match": {} if merchant_id is None else {"merchant_id": merchant_id}},
                {
                    "$group": {
                        "_id": "$currency",
                        "authorised_minor": {"$sum": {"$cond": [{"$and": approved}, "$amount_minor", 0]}},
                        "captured_minor": {
                            "$sum": {"$cond": [{"$and": approved}, {"$ifNull": ["$captured_minor", 0]}, 0]}
                        },
                        "voided_minor": {"$sum": {"$cond": [{"$and": [*approved, "$voided"]}, "$amount_minor", 0]}},
                        "refunded_minor": {"$sum": refunded},
                    }
                },
                {"$sort": {"_id": ASCENDING}},
            ]
        )
        return [
            Totals(
                currency=row["_id"],
                authorised_minor=row["authorised_minor"],
                captured_minor=row["captured_minor"],
                voided_minor=row["voided_minor"],
                refunded_minor=row["refunded_minor"],
            )
            async for row in rows
        ]

    async def _change_with_account(self, before: Authorisation, after: Authorisation, now: datetime) -> bool:
        """Write a change together with what it gives back to the card's account."""

        async def work(session: Session) -> bool:
            result = await self._authorisations.replace_one(_as_read(before), _to_document(after), session=session)
            if result.matched_count:
                change = after.spent_minor(now) - before.spent_minor(now)
                account = {"_id": after.account}
                await self._accounts.update_one(account, {"$inc": {"spent_minor": change}}, session=session)
            return bool(result.matched_count)

        async with self._queue:
            return await self._database.in_transaction(work)


def _as_read(one: Authorisation) -> Document:
    return {"_id": one.id, "version": one.version}


def _to_document(one: Authorisation) -> Document:
    """What is not set is left out: most documents are approved authorisations, and nothing more."""
    document: Document = {
        "_id": one.id,
        "merchant_id": one.merchant_id,
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "decided_at": one.decided_at,
        "version": one.version,
    }
    if one.decline is not None:
        document["decline"] = _decline_document(one.decline)
    if one.captured_at is not None:
        document |= {"captured_minor": one.captured_minor, "captured_at": one.captured_at}
    if one.voided:
        document["voided"] = True
    if one.scenario_id is not None:
        document["scenario"] = one.scenario_id
    if one.account is not None:
        document["account"] = one.account
    if one.follow_ups:
        document["follow_ups"] = [_follow_up_document(follow_up) for follow_up in one.follow_ups]
    return document


def _from_document(document: Mapping[str, Any]) -> Authorisation:
    return Authorisation(
        id=document["_id"],
        merchant_id=document["merchant_id"],
        amount_minor=document["amount_minor"],
        currency=document["currency"],
        decline=_decline(document),
        decided_at=document["decided_at"],
        captured_minor=document.get("captured_minor", 0),
        captured_at=document.get("captured_at"),
        voided=document.get("voided", False),
        scenario_id=document.get("scenario"),
        account=bytes(document["account"]) if "account" in document else None,
        follow_ups=tuple(
            FollowUp(row["id"], OperationKind(row["kind"]), row["amount_minor"], _decline(row), row["decided_at"])
            for row in document.get("follow_ups", ())
        ),
        version=document["version"],
    )


def _follow_up_document(one: FollowUp) -> Document:
    document: Document = {
        "id": one.id,
        "kind": one.kind.value,
        "amount_minor": one.amount_minor,
        "decided_at": one.decided_at,
    }
    return document if one.decline is None else {**document, "decline": _decline_document(one.decline)}


def _decline_document(decline: Decline) -> Document:
    return {
        "code": decline.code,
        "decline_code": decline.decline_code,
        "message": decline.message,
        "network_code": decline.network_code,
    }


def _decline(document: Mapping[str, Any]) -> Decline | None:
    return Decline(**document["decline"]) if "decline" in document else None
