"""Customers: one document each, changed by compare-and-set on its version, with its outbox and the claim of its
creation (as in repositories/payments.py)."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.database import Database, Document, DuplicateKey, Session, insert_missing
from domain.accounts import fold_email
from domain.customers import Customer
from domain.names import fold_name
from repositories.claims import Claim, claim_document, claim_from
from repositories.outbox import Outbox, OutboxEvent, outbox_document
from repositories.pages import Page, RivalIndexes, Sort, read_page

_CUSTOMER_FIELDS = {"outbox": 0, "claim": 0}
_NEWEST_FIRST = Sort("created_at", descending=True)
_LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    """Which of an account's customers a list shows; a field that is None filters nothing."""

    owner_id: str
    name_prefix: str | None = None
    email: str | None = None
    phone: str | None = None
    """In E.164."""


class CustomerRepository:
    def __init__(self, database: Database):
        self._customers = database["customers"]
        self.outbox = Outbox(self._customers)

    async def insert(self, customer: Customer, event: OutboxEvent, claim: Claim | None) -> bool:
        """False where this id (and so its claim) exists already."""
        document = {**_to_document(customer), "outbox": [outbox_document(event)]}
        if claim is not None:
            document["claim"] = claim_document(claim)
        try:
            await self._customers.insert_one(document)
        except DuplicateKey:
            return False
        return True

    async def insert_published(self, customers: Sequence[Customer]) -> None:
        """Insert those that are not there yet, of which nothing is to be told any more."""
        await insert_missing(self._customers, [{**_to_document(customer), "outbox": []} for customer in customers])

    async def claim_of(self, customer_id: str) -> Claim | None:
        """The claim that the idempotency key of a creation made, whatever has become of the customer."""
        document = await self._customers.find_one({"_id": customer_id}, {"claim": 1})
        return claim_from(document["claim"]) if document and "claim" in document else None

    async def get(self, owner_id: str, customer_id: str, session: Session | None = None) -> Customer | None:
        """The owner's customer, unless deleted."""
        document = await self._customers.find_one(_own(owner_id, customer_id), _CUSTOMER_FIELDS, session=session)
        return _from_document(document) if document else None

    async def hold(self, owner_id: str, customer_id: str, session: Session) -> bool:
        """Keep the owner's customer from being deleted until the transaction ends. False where there is none."""
        result = await self._customers.update_one(
            _own(owner_id, customer_id), {"$inc": {"version": 1}}, session=session
        )
        return bool(result.matched_count)

    async def save(self, before: Customer, after: Customer, event: OutboxEvent, session: Session | None = None) -> bool:
        """Write a change on condition that nobody else changed the customer since they were read."""
        known = _to_document(before)
        changed = {field: value for field, value in _to_document(after).items() if value != known[field]}
        result = await self._customers.update_one(
            {"_id": before.id, "version": before.version},
            {"$set": changed, "$push": {"outbox": outbox_document(event)}},
            session=session,
        )
        return bool(result.matched_count)

    async def page(self, wanted: CustomerFilter, *, limit: int, cursor: str | None) -> Page[Customer]:
        """Newest first. Raises CursorInvalid."""
        return await read_page(
            self._customers,
            _conditions(wanted),
            _NEWEST_FIRST,
            limit=limit,
            cursor=cursor,
            build=_from_document,
            projection=_CUSTOMER_FIELDS,
            rival_indexes=_rival_indexes(wanted),
        )


def _own(owner_id: str, customer_id: str) -> Document:
    return {"_id": customer_id, "owner_id": owner_id, "deleted": False}


def _conditions(wanted: CustomerFilter) -> Document:
    conditions: Document = {"deleted": False, "owner_id": wanted.owner_id}
    if wanted.name_prefix is not None:
        # A range and no pattern: it is read off the index, and nothing in the text can have a meaning of its own.
        prefix = fold_name(wanted.name_prefix)
        conditions["name_folded"] = {"$gte": prefix, "$lt": prefix + _LAST_CHARACTER}
    if wanted.email is not None:
        conditions["email_folded"] = fold_email(wanted.email)
    if wanted.phone is not None:
        conditions["phone"] = wanted.phone
    return conditions


def _rival_indexes(wanted: CustomerFilter) -> RivalIndexes | None:
    """Names that begin alike, in the order of creation: the one filter whose index has another order."""
    only_by_name = wanted.name_prefix is not None and wanted.email is None and wanted.phone is None
    return RivalIndexes(of_filter="by_name", of_sort="by_time") if only_by_name else None


def _to_document(customer: Customer) -> Document:
    return {
        "_id": customer.id,
        "owner_id": customer.owner_id,
        "deleted": customer.deleted,
        "name": customer.name,
        "name_folded": fold_name(customer.name),
        "email": customer.email,
        "email_folded": fold_email(customer.email) if customer.email else None,
        "phone": customer.phone,
        "phone_as_typed": customer.phone_as_typed,
        "country": customer.country,
        "description": customer.description,
        # Pairs, because names of the client's choosing have no place among field names.
        "metadata": [list(pair) for pair in customer.metadata.items()] if customer.metadata else None,
        "created_at": customer.created_at,
        "updated_at": customer.updated_at,
        "sequence": customer.sequence,
        "version": customer.version,
    }


def _from_document(row: Document) -> Customer:
    return Customer(
        id=row["_id"],
        owner_id=row["owner_id"],
        deleted=row["deleted"],
        name=row["name"],
        email=row["email"],
        phone=row["phone"],
        phone_as_typed=row["phone_as_typed"],
        country=row["country"],
        description=row["description"],
        metadata=dict(row["metadata"]) if row["metadata"] else None,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        sequence=row["sequence"],
        version=row["version"],
    )
