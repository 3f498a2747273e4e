"""Customers: making, listing, reading, replacing, changing, deleting."""

from collections.abc import Callable
from typing import Any

from core import clock, ids, json_codec
from core.database import Database, Session
from core.errors import NotFound
from domain import customers as rules
from domain.customers import Change, Customer
from domain.phones import PhoneInvalid, e164
from repositories.cards import CardRepository
from repositories.claims import Claim
from repositories.customers import CustomerFilter, CustomerRepository
from repositories.outbox import OutboxEvent
from repositories.pages import CursorInvalid, Page
from schemas.customers import CustomerPatch, CustomerQuery, CustomerRequest, customer_view
from services.caller import Caller
from services.idempotency import Answer, fingerprint_of, replay
from services.races import until_won
from services.signals import Signals
from services.validation import invalid


class Customers:
    def __init__(
        self,
        database: Database,
        customers: CustomerRepository,
        cards: CardRepository,
        signals: Signals,
        hash_key: bytes,
    ):
        self._database = database
        self._customers = customers
        self._cards = cards
        self._signals = signals
        self._hash_key = hash_key

    async def create(self, caller: Caller, request: CustomerRequest, *, idempotency_key: str | None) -> Answer:
        """Make a customer: one insert, which is at the same time the claim of its idempotency key."""
        fields, now = _fields(request.model_dump()), clock.now()
        if idempotency_key is None:
            customer_id, fingerprint = ids.fresh("cus"), None
        else:
            customer_id = ids.derived("cus", caller.account_id, "POST /customers", idempotency_key)
            fingerprint = fingerprint_of(self._hash_key, request.fingerprint_source())
        change = rules.create(
            Customer(id=customer_id, owner_id=caller.account_id, created_at=now, updated_at=now, **fields)
        )
        event = _event(change, caller)
        claim = Claim(customer_id, fingerprint, 201, event.data) if fingerprint is not None else None
        if await self._customers.insert(change.customer, event, claim):
            self._signals.outbox_filled(self._customers.outbox)
            return Answer(201, event.data)
        assert fingerprint is not None, "a random id exists twice"
        return replay(await self._customers.claim_of(customer_id), fingerprint)

    async def get(self, caller: Caller, customer_id: str, session: Session | None = None) -> Customer:
        """Raises NotFound."""
        customer = await self._customers.get(caller.account_id, customer_id, session)
        if customer is None:
            raise _missing(customer_id)
        return customer

    async def hold(self, caller: Caller, customer_id: str, session: Session) -> None:
        """Keep a customer from being deleted until the transaction ends. Raises NotFound."""
        if not await self._customers.hold(caller.account_id, customer_id, session):
            raise _missing(customer_id)

    async def replace(self, caller: Caller, customer_id: str, request: CustomerRequest) -> Customer:
        """Give every field the value that was sent; what was not sent is cleared."""
        fields = _fields(request.model_dump())
        return await self._change(caller, customer_id, lambda customer: rules.update(customer, clock.now(), **fields))

    async def amend(self, caller: Caller, customer_id: str, patch: CustomerPatch) -> Customer:
        """Change what was sent. A phone number without + is read as one of the country that the customer then has."""

        def decide(customer: Customer) -> Change | None:
            changes = {"country": customer.country, **patch.changes()}
            return rules.update(customer, clock.now(), **_fields(changes))

        return await self._change(caller, customer_id, decide)

    async def delete(self, caller: Caller, customer_id: str) -> None:
        """Hide a customer from lists and reads, and forget their cards' numbers. What was charged to them stays.

        Raises NotFound.
        """

        async def work(session: Session) -> None:
            before = await self.get(caller, customer_id, session)
            change = rules.delete(before, clock.now())
            await self._customers.save(before, change.customer, _event(change, caller), session)
            await self._cards.delete_all(caller.account_id, customer_id, session)

        await self._database.in_transaction(work)
        self._signals.outbox_filled(self._customers.outbox)

    async def page(self, caller: Caller, query: CustomerQuery) -> Page[Customer]:
        """The caller's own customers, newest first."""
        phone = None if query.phone is None else _international(query.phone)
        wanted = CustomerFilter(caller.account_id, query.name, query.email, phone)
        try:
            return await self._customers.page(wanted, limit=query.limit, cursor=query.cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None

    async def _change(self, caller: Caller, customer_id: str, decide: Callable[[Customer], Change | None]) -> Customer:
        """The customer as it is then. Raises NotFound, Contention."""

        async def turn() -> Customer | None:
            before = await self.get(caller, customer_id)
            change = decide(before)
            if change is None:
                return before
            if not await self._customers.save(before, change.customer, _event(change, caller)):
                return None
            self._signals.outbox_filled(self._customers.outbox)
            return change.customer

        return await until_won(turn)


def _missing(customer_id: str) -> NotFound:
    return NotFound(f"Customer '{customer_id}' not found.")


def _fields(sent: dict[str, Any]) -> dict[str, Any]:
    """What a customer keeps of what was sent: a phone number in two forms, and no metadata where it is empty."""
    fields = dict(sent)
    if "phone" in sent:
        typed = sent["phone"]
        fields["phone"] = None if typed is None else _e164(typed, sent["country"])
        fields["phone_as_typed"] = typed
    if "metadata" in sent:
        fields["metadata"] = sent["metadata"] or None
    return fields


def _e164(typed: str, country: str | None) -> str:
    try:
        return e164(typed, country)
    except PhoneInvalid as error:
        raise invalid(("body", "phone"), str(error), typed) from None


def _international(typed: str) -> str:
    """A number in a URL. Its + arrives as a space where it was not escaped, and nothing else can be meant."""
    number = typed.strip()
    try:
        return e164(number if number.startswith("+") else f"+{number}", None)
    except PhoneInvalid:
        reason = "not a possible phone number with its country's code"
        raise invalid(("query", "phone"), reason, typed) from None


def _event(change: Change, caller: Caller) -> OutboxEvent:
    customer = change.customer
    return OutboxEvent(
        ids.fresh("evt"),
        change.event_type,
        customer.sequence,
        customer.updated_at,
        json_codec.dumps(customer_view(customer)),
        request_id=caller.request_id,
    )
