"""Payments: one document each, changed by compare-and-set on its version.

The document holds the payment, the events that its changes caused and that are not published yet (`outbox`), and what
idempotency needs: the first answer of the charge (`claim`) and of later commands (`claims`).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.coalesce import Coalescer
from core.database import (
    DESCENDING,
    Database,
    Document,
    DuplicateKey,
    Pipeline,
    Session,
    UpdateOne,
    insert_each,
    insert_missing,
)
from domain.payments import Payment, Status
from repositories import leases
from repositories.claims import Claim, claim_document, claim_from
from repositories.outbox import Outbox, OutboxEvent, outbox_document
from repositories.pages import Page, RivalIndexes, Sort, read_page
from repositories.payment_documents import from_document, to_document

ASKED: Document = {"intents.attempts": {"$gt": 0}}
"""Payments of which the bank was told something that it has not answered: it may still carry it out."""
_PAYMENT_FIELDS = {"outbox": 0, "claim": 0, "claims": 0}


@dataclass(frozen=True, slots=True)
class Write:
    """One change to be written: from what was read, to what it becomes."""

    before: Payment
    after: Payment
    outbox: tuple[OutboxEvent, ...] = ()
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Leased:
    """A payment that is ours to go on with while the lease's token stands."""

    payment: Payment
    token: str


@dataclass(frozen=True, slots=True)
class LeasedWrite:
    """A change to a payment that is ours, and whether it stays ours after it."""

    write: Write
    token: str
    keeps_lease: bool


@dataclass(frozen=True, slots=True)
class PaymentFilter:
    """Which payments a list shows; a field that is None filters nothing."""

    owner_id: str | None
    status: Status | None = None
    currency: str | None = None
    customer_name: str | None = None
    reference: str | None = None
    customer_id: str | None = None
    min_comparable: int | None = None
    max_comparable: int | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class PaymentFigure:
    """How many payments are in one state and one currency, and what was captured of them."""

    status: Status
    currency: str
    count: int
    captured_count: int
    """How many of them anything was captured of."""
    captured_minor: int


class ClaimTaken(Exception):
    """This idempotency key was already used, for this payment or for another one of the account."""


class KeyUseTaken(Exception):
    """Another payment has used this one of a payment key's limited uses."""


class CardTokenTaken(Exception):
    """Another payment has used this card token up."""


class PaymentRepository:
    def __init__(self, database: Database):
        self._payments = database["payments"]
        self.outbox = Outbox(self._payments)
        self._insert = Coalescer(self._insert_batch)
        self._by_id = Coalescer(self._read_batch)

    async def insert_published(self, payments: Sequence[Payment]) -> None:
        """Insert those that are not there yet, of which nothing is to be told any more."""
        await insert_missing(self._payments, [{**to_document(payment), "outbox": []} for payment in payments])

    async def insert(self, payment: Payment, outbox: tuple[OutboxEvent, ...], claim: Claim | None) -> bool:
        """Insert, sharing the round trip with others. False where this id (and so its claim) exists already.

        Raises KeyUseTaken, CardTokenTaken.
        """
        document = to_document(payment)
        document["outbox"] = [outbox_document(event) for event in outbox]
        if claim is not None:
            document["claim"] = claim_document(claim)
        try:
            return await self._insert(document)
        except DuplicateKey as error:
            taken = (error.details or {}).get("keyPattern", {})
            if "payment_key_use" in taken:
                raise KeyUseTaken from None
            if "card_token_id" in taken:
                raise CardTokenTaken from None
            return False

    async def claim_of(self, payment_id: str) -> Claim | None:
        """The claim that a charge's idempotency key made."""
        document = await self._payments.find_one({"_id": payment_id}, {"claim": 1})
        return claim_from(document["claim"]) if document and "claim" in document else None

    async def command_claim(self, owner_id: str, claim_id: str) -> Claim | None:
        """The claim of a command (a cancellation, say), whichever payment it was for."""
        row = await self._payments.find_one(
            {"owner_id": owner_id, "claims.id": claim_id, "claims.0": {"$exists": True}},
            {"claims": {"$elemMatch": {"id": claim_id}}},
        )
        return claim_from(row["claims"][0]) if row else None

    async def latest(self, payment_id: str) -> Payment | None:
        """The payment as it is now, hidden or not. Shares its round trip with others that wait."""
        return await self._by_id(payment_id)

    async def get(self, owner_id: str, payment_id: str) -> Payment | None:
        """The owner's payment, unless it is deleted."""
        return await self._find({"_id": payment_id, "owner_id": owner_id, "deleted": False})

    async def get_of_anyone(self, payment_id: str, session: Session | None = None) -> Payment | None:
        """Whoever's payment, unless it is deleted: for those who may act on every account's."""
        return await self._find({"_id": payment_id, "deleted": False}, session)

    async def of_refund(self, owner_id: str, refund_id: str) -> Payment | None:
        """The payment that has this refund, hidden or not."""
        return await self._find({"owner_id": owner_id, "refunds.id": refund_id, "refunds.0": {"$exists": True}})

    async def uses_of_key(self, owner_id: str, payment_key_id: str) -> int:
        """How many of a payment key's limited uses are used up: the number of the last one, since none is left out."""
        used = {"owner_id": owner_id, "payment_key_id": payment_key_id, "payment_key_use": {"$gt": 0}}
        row = await self._payments.find_one(used, {"payment_key_use": 1}, sort=[("payment_key_use", -1)])
        return int(row["payment_key_use"]) if row else 0

    async def save(self, write: Write, session: Session | None = None) -> bool:
        """Write a change on condition that nobody else changed the payment since it was read.

        Raises ClaimTaken where the change carries an idempotency claim that exists.
        """
        condition, update = _compare_and_set(write)
        if write.before.status is Status.PENDING and write.after.status is not Status.PENDING:
            # The worker that has it may have asked the bank already, and writes the state together with the answer.
            condition["lease_token"] = None
        try:
            result = await self._payments.update_one(condition, update, session=session)
        except DuplicateKey:
            raise ClaimTaken from None
        return bool(result.matched_count)

    async def lease_due(self, now: datetime, *, limit: int, lease_s: int) -> list[Leased]:
        """Lease payments that are due, the longest due first."""
        due: Document = {"due_at": {"$lte": now}}
        rows = self._payments.find({**due, **leases.FREE}, {"lease_until": 1}).sort("due_at", 1).limit(limit)
        candidates = [row async for row in rows]
        taken = await leases.take(self._payments, [row["_id"] for row in candidates], due, lease_s)
        leases.count_takeovers(self._payments, candidates, [row["_id"] for row in taken])
        return [Leased(from_document(row), row["lease_token"]) for row in taken]

    async def next_due_at(self) -> datetime | None:
        """When the next payment that nobody holds is due."""
        row = await self._payments.find_one(
            {"due_at": {"$exists": True}, **leases.FREE}, {"due_at": 1}, sort=[("due_at", 1)]
        )
        return row["due_at"] if row else None

    async def save_leased(self, writes: Sequence[LeasedWrite]) -> set[str]:
        """Write a batch of changes, each only while its lease's token stands; end the leases that are not kept.

        Returns the ids of those that were written. The lease of one that was not (somebody else has changed the
        payment meanwhile) is ended, so that it is taken on again as it is now; it stays in hand until then.
        """
        if not writes:
            return set()
        # A batch tells only how many were written. The mark tells which: another's change leaves none of ours, however
        # much it looks like ours (a changed description may give the same version).
        mark = secrets.token_hex(8)
        updates = []
        for one in writes:
            condition, update = _compare_and_set(one.write)
            update["$set"]["written_by"] = mark
            if not one.keeps_lease:
                update["$unset"] = {**update.get("$unset", {}), **leases.RELEASE}
            updates.append(UpdateOne({**condition, "lease_token": one.token}, update))
        result = await self._payments.bulk_write(updates, ordered=False)
        ids = [one.write.after.id for one in writes]
        if result.matched_count == len(updates):
            return set(ids)
        rows = self._payments.find({"_id": {"$in": ids}, "written_by": mark}, {"_id": 1})
        written = {row["_id"] for row in await rows.to_list(None)}
        lost = [(one.write.after.id, one.token) for one in writes if one.write.after.id not in written]
        await leases.end(self._payments, lost)
        return written

    async def page(self, wanted: PaymentFilter, sort: Sort, *, limit: int, cursor: str | None) -> Page[Payment]:
        return await read_page(
            self._payments,
            _conditions(wanted),
            sort,
            limit=limit,
            cursor=cursor,
            build=from_document,
            projection=_PAYMENT_FIELDS,
            rival_indexes=_rival_indexes(wanted, sort),
        )

    async def estimated_count(self) -> int:
        """From the collection's own statistics: costs nothing, and counts deleted payments too."""
        return int(await self._payments.estimated_document_count())

    async def figures(self, newest: int) -> list[PaymentFigure]:
        """What the newest payments are, of any account. It costs the same in a collection of any size."""
        has_captured = {"$gt": ["$amount_captured_minor", 0]}
        pipeline: Pipeline = [
            {"$match": {"deleted": False}},
            {"$sort": {"created_at": DESCENDING, "_id": DESCENDING}},
            {"$limit": newest},
            {
                "$group": {
                    "_id": {"status": "$status", "currency": "$currency"},
                    "count": {"$sum": 1},
                    "captured_count": {"$sum": {"$cond": [has_captured, 1, 0]}},
                    "captured_minor": {"$sum": "$amount_captured_minor"},
                }
            },
        ]
        rows = await self._payments.aggregate(pipeline, hint="all_by_time").to_list(None)
        return [
            PaymentFigure(
                Status(row["_id"]["status"]),
                row["_id"]["currency"],
                row["count"],
                row["captured_count"],
                row["captured_minor"],
            )
            for row in rows
        ]

    async def count_created(self, since: datetime, before: datetime, limit: int) -> int:
        """How many payments of any account were made then, counted up to the limit in the index alone."""
        made: Document = {"deleted": False, "created_at": {"$gte": since, "$lt": before}}
        return await self._payments.count_documents(made, limit=limit, hint="all_by_time")

    async def _find(self, conditions: Document, session: Session | None = None) -> Payment | None:
        document = await self._payments.find_one(conditions, _PAYMENT_FIELDS, session=session)
        return from_document(document) if document else None

    async def _insert_batch(self, documents: list[Document]) -> list[bool | Exception]:
        return await insert_each(self._payments, documents)

    async def _read_batch(self, payment_ids: list[str]) -> list[Payment | None]:
        rows = await self._payments.find({"_id": {"$in": list(set(payment_ids))}}, _PAYMENT_FIELDS).to_list(None)
        found = {row["_id"]: from_document(row) for row in rows}
        return [found.get(payment_id) for payment_id in payment_ids]


def _conditions(wanted: PaymentFilter) -> Document:
    conditions: Document = {"deleted": False}
    equal = {
        "owner_id": wanted.owner_id,
        "status": wanted.status.value if wanted.status else None,
        "currency": wanted.currency,
        "customer_name_folded": wanted.customer_name.casefold() if wanted.customer_name else None,
        "reference": wanted.reference,
        "customer_id": wanted.customer_id,
    }
    conditions.update({field: value for field, value in equal.items() if value is not None})
    ranges = (
        ("amount_comparable", "$gte", wanted.min_comparable),
        ("amount_comparable", "$lte", wanted.max_comparable),
        ("created_at", "$gte", wanted.created_from),
        ("created_at", "$lte", wanted.created_to),
    )
    for field, operator, bound in ranges:
        if bound is not None:
            conditions.setdefault(field, {})[operator] = bound
    return conditions


def _rival_indexes(wanted: PaymentFilter, sort: Sort) -> RivalIndexes | None:
    """An account's payments with a range over one sort key in the order of the other, and no other filter."""
    others = (wanted.status, wanted.currency, wanted.customer_name, wanted.reference, wanted.customer_id)
    if wanted.owner_id is None or any(other is not None for other in others):
        return None
    by_amount = wanted.min_comparable is not None or wanted.max_comparable is not None
    by_time = wanted.created_from is not None or wanted.created_to is not None
    if by_amount and not by_time and sort.field == "created_at":
        return RivalIndexes(of_filter="by_amount", of_sort="by_time")
    if by_time and not by_amount and sort.field == "amount_comparable":
        return RivalIndexes(of_filter="by_time", of_sort="by_amount")
    return None


def _compare_and_set(write: Write) -> tuple[Document, Document]:
    before, after = to_document(write.before), to_document(write.after)
    changed = {field: value for field, value in after.items() if before.get(field) != value}
    removed = dict.fromkeys(before.keys() - after.keys(), "")
    update: Document = {"$set": changed}
    if removed:
        update["$unset"] = removed
    condition: Document = {"_id": write.before.id, "version": write.before.version}
    pushes: Document = {}
    if write.outbox:
        pushes["outbox"] = {"$each": [outbox_document(event) for event in write.outbox]}
    if write.claim is not None:
        pushes["claims"] = claim_document(write.claim)
        # The unique index tells claims of two payments apart, and nothing inside of one.
        condition["claims.id"] = {"$ne": write.claim.id}
    if pushes:
        update["$push"] = pushes
    return condition, update
