"""Filling a database with merchants, customers, and months of payments, refunds and webhooks that look like real ones.

What is written is what the product itself would have left: events are published, and the bank's books equal ours.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Final

from bank.books import Books
from bank.rules import Authorisation
from core import ids, json_codec
from core.database import Database, DriverError, Session, outage
from core.errors import EmailTaken
from core.security import PasswordHasher, new_webhook_secret
from domain import customers as customer_rules
from domain.accounts import Account
from domain.attempts import Attempt, Phases
from domain.audit import Action
from domain.customers import Customer
from domain.payments import Payment, PaymentEvent
from domain.roles import Role
from domain.webhook_endpoints import EndpointStatus, WebhookEndpoint, wants
from repositories.accounts import AccountRepository, EmailInUse
from repositories.customers import CustomerRepository
from repositories.deliveries import DeliveryRepository
from repositories.delivery_documents import DeadReason, DeliveryState, NewDelivery, Outcome
from repositories.events import EventRecord, EventRepository
from repositories.payments import PaymentRepository
from repositories.refunds import RefundRepository, RefundSeen
from repositories.webhook_endpoints import WebhookEndpointRepository
from schemas.customers import customer_view
from schemas.events import event_body
from services.audit import COMMAND_LINE, Audit
from services.event_targets import Target, new_delivery
from services.payment_changes import shown_json
from services.seed_lives import SPAN, TRADES, Life, Merchant, buyer, buyers_of, in_order, live
from services.vault import CardVault
from services.webhook_endpoints import MAX_ENDPOINTS
from services.webhook_secrets import AccountSecrets, EndpointSecrets

PASSWORD: Final = "correct-horse-battery"  # noqa: S105 - known to all, and never in production
BATCH = 500
_PAUSES_S = (1, 2, 4, 8)
_SUBSCRIBED = ("payment.completed", "payment.failed", "refund.*")
_BEFORE: Final = timedelta(days=40)
"""How long before the first payment accounts and customers were there."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """A merchant, to log in as."""

    account_id: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class _Shop:
    merchant: Merchant
    endpoint: WebhookEndpoint


@dataclass(frozen=True, slots=True)
class _Batch:
    """Customers, or payments with all that has come of them."""

    customers: list[Customer]
    payments: list[Payment]
    authorisations: list[Authorisation]
    events: list[EventRecord]
    refunds: list[RefundSeen]
    deliveries: list[tuple[NewDelivery, list[Outcome]]]


class Seeding:
    """Every id follows from the seed: a second run adds what is missing, and changes nothing that is there."""

    def __init__(
        self,
        database: Database,
        accounts: AccountRepository,
        customers: CustomerRepository,
        payments: PaymentRepository,
        refunds: RefundRepository,
        events: EventRepository,
        deliveries: DeliveryRepository,
        endpoints: WebhookEndpointRepository,
        hasher: PasswordHasher,
        account_secrets: AccountSecrets,
        endpoint_secrets: EndpointSecrets,
        vault: CardVault,
        audit: Audit,
    ):
        self._database = database
        self._accounts = accounts
        self._customers = customers
        self._payments = payments
        self._refunds = refunds
        self._events = events
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._hasher = hasher
        self._account_secrets = account_secrets
        self._endpoint_secrets = endpoint_secrets
        self._vault = vault
        self._audit = audit
        self._books = Books(database)

    async def seed(self, seed: int, payments: int, until: datetime) -> AsyncIterator[int]:
        """Make it, batch by batch; of each how many payments it had. Raises EmailTaken.

        Where the seed is there already, its first run has said until when.
        """
        await self._books.create_indexes()
        until = await self._open(seed, until)
        batches = self._batches(seed, payments, until)
        # The next batch is made while MongoDB writes this one.
        made = await asyncio.to_thread(next, batches, None)
        while made is not None:
            following, _ = await asyncio.gather(asyncio.to_thread(next, batches, None), self._write(made))
            yield len(made.payments)
            made = following

    def merchants(self, seed: int) -> list[Seeded]:
        return [
            Seeded(_account_id(seed, number), trade.name, _email(seed, number)) for number, trade in enumerate(TRADES)
        ]

    async def _open(self, seed: int, until: datetime) -> datetime:
        """Make those of its merchants that were never there, all at once. Until when their payments go."""
        account_ids = [_account_id(seed, number) for number in range(len(TRADES))]
        known = await self._accounts.created_at(account_ids)
        until = _until(known) or until
        if len(known) == len(TRADES):
            return until
        password_hash = await self._hasher.hash(PASSWORD)

        async def insert(session: Session) -> None:
            for number, account_id in enumerate(account_ids):
                if account_id not in known:
                    await self._insert(seed, number, until, password_hash, session)

        try:
            await self._database.in_transaction(insert)
        except EmailInUse:
            # Another run made them at the same moment, or somebody else has one of their addresses.
            made = await self._accounts.created_at(account_ids)
            if len(made) < len(TRADES):
                raise EmailTaken(
                    f"Another account has an e-mail address that a merchant of seed {seed} needs "
                    f"({_email(seed, 0)} to {_email(seed, len(TRADES) - 1)}). Take another seed."
                ) from None
            return _until(made) or until
        return until

    async def _insert(self, seed: int, number: int, until: datetime, password_hash: str, session: Session) -> None:
        shop = self._shop(seed, number, until)
        account_id = shop.merchant.account_id
        account = Account(
            id=account_id,
            name=shop.merchant.trade.name,
            email=_email(seed, number),
            role=Role.MERCHANT,
            password_hash=password_hash,
            sealed_webhook_secret=self._account_secrets.seal(account_id, new_webhook_secret()),
            api_keys=(),
            created_at=shop.endpoint.created_at,
            updated_at=shop.endpoint.created_at,
        )
        await self._accounts.insert(account, session)
        await self._endpoints.insert(shop.endpoint, session, most=MAX_ENDPOINTS)
        after = {"role": account.role.value}
        await self._audit.record(COMMAND_LINE, Action.ACCOUNT_REGISTERED, account_id, after=after, session=session)

    def _shop(self, seed: int, number: int, until: datetime) -> _Shop:
        """A merchant, with an endpoint that took webhooks and was disabled: its host does not exist."""
        trade, account_id = TRADES[number], _account_id(seed, number)
        endpoint_id = ids.derived("we", account_id, "seed")
        endpoint = WebhookEndpoint(
            id=endpoint_id,
            owner_id=account_id,
            url=f"https://{trade.name.lower().replace(' ', '-')}.example/webhooks",
            events=_SUBSCRIBED,
            sealed_secrets=self._endpoint_secrets.seal(endpoint_id, new_webhook_secret()),
            created_at=until - SPAN - _BEFORE,
            updated_at=until,
            description="Seeded. Its host does not exist, so it is disabled.",
            status=EndpointStatus.DISABLED,
        )
        return _Shop(Merchant(account_id, trade), endpoint)

    def _batches(self, seed: int, payments: int, until: datetime) -> Iterator[_Batch]:
        """The customers first, and then the payments, the oldest first."""
        shops = [self._shop(seed, number, until) for number in range(len(TRADES))]
        buyers = ((shop, number) for shop in shops for number in range(buyers_of(payments)))
        while some := list(islice(buyers, BATCH)):
            yield _batch([], [_customer(seed, shop.merchant, number, until) for shop, number in some])
        numbers = in_order(payments)
        while chosen := [(number, shops[number % len(shops)]) for number in islice(numbers, BATCH)]:
            lives = [(live(seed, number, shop.merchant, until, self._vault), shop) for number, shop in chosen]
            yield _batch(lives, [])

    async def _write(self, batch: _Batch) -> None:
        """Also where MongoDB does not answer for a while: what is there already is not written again."""
        for pause_s in _PAUSES_S:
            try:
                return await self._insert_missing(batch)
            except DriverError as error:
                if not outage(error):
                    raise
            await asyncio.sleep(pause_s)
        return await self._insert_missing(batch)

    async def _insert_missing(self, batch: _Batch) -> None:
        """Events first, and payments last: whoever sees one sees all of it."""
        await asyncio.gather(
            self._books.add(batch.authorisations),
            self._events.insert_missing(batch.events),
            self._refunds.insert_missing(batch.refunds),
            self._deliveries.insert_told(batch.deliveries),
        )
        await self._customers.insert_published(batch.customers)
        await self._payments.insert_published(batch.payments)


def _batch(lives: Sequence[tuple[Life, _Shop]], customers: list[Customer]) -> _Batch:
    told = [(event, _of_payment(event), shop) for one, shop in lives for event in one.events]
    return _Batch(
        customers=customers,
        payments=[one.payment for one, _ in lives],
        authorisations=[one.authorisation for one, _ in lives if one.authorisation is not None],
        events=[*map(_of_customer, customers), *(record for _, record, _ in told)],
        refunds=[_seen(event) for event, _, _ in told if event.refund is not None],
        deliveries=[
            _delivered(record, shop.endpoint) for _, record, shop in told if wants(shop.endpoint.events, record.type)
        ],
    )


def _until(created_at: Mapping[str, datetime]) -> datetime | None:
    """What the first run has said, by when it let the merchants begin."""
    return next((at + SPAN + _BEFORE for at in created_at.values()), None)


def _account_id(seed: int, number: int) -> str:
    return ids.derived("user", "seed", str(seed), str(number))


def _email(seed: int, number: int) -> str:
    return f"merchant-{number + 1}@seed-{seed}.example.com"


def _customer(seed: int, merchant: Merchant, number: int, until: datetime) -> Customer:
    known = buyer(seed, merchant, number)
    created_at = until - SPAN - _BEFORE * Random(known.id).random()  # noqa: S311 - made-up data
    created_at = created_at.replace(microsecond=0)
    email = f"{known.name.lower().replace(' ', '.')}.{number}@example.com"
    return customer_rules.create(
        Customer(known.id, merchant.account_id, known.name, created_at, created_at, email=email)
    ).customer


def _of_customer(one: Customer) -> EventRecord:
    shown = json_codec.dumps(customer_view(one))
    return _record(one.id, one.id, 1, "customer.created", one.created_at, shown, one.owner_id)


def _of_payment(event: PaymentEvent) -> EventRecord:
    payment = event.payment
    object_id = event.refund.id if event.refund else payment.id
    return _record(
        payment.id, object_id, event.sequence, event.type, payment.updated_at, shown_json(event), payment.owner_id
    )


def _record(
    stream_id: str, object_id: str, sequence: int, event_type: str, at: datetime, data: bytes, owner_id: str
) -> EventRecord:
    event_id = ids.derived_at("evt", at, stream_id, str(sequence))
    body = event_body(event_id, event_type, at, data)
    return EventRecord(event_id, event_type, owner_id, object_id, stream_id, sequence, at, body)


def _seen(event: PaymentEvent) -> RefundSeen:
    assert event.refund is not None
    return RefundSeen(event.refund.id, event.payment.owner_id, event.sequence, shown_json(event))


def _delivered(event: EventRecord, endpoint: WebhookEndpoint) -> tuple[NewDelivery, list[Outcome]]:
    """Most arrived at once, some after a 503, and of a few nobody wanted to hear."""
    delivery = new_delivery(event.head, Target.of(endpoint), event.created_at)
    luck = Random(event.id).random()  # noqa: S311 - made-up data
    if luck < 0.9:
        return delivery, [_attempt(delivery, event, 0, 200)]
    if luck < 0.98:
        return delivery, [_attempt(delivery, event, 0, 503), _attempt(delivery, event, 5, 200)]
    return delivery, [_attempt(delivery, event, after_s, 500) for after_s in (0, 5, 65)]


def _attempt(delivery: NewDelivery, event: EventRecord, after_s: int, status: int) -> Outcome:
    arrived, gives_up = status == 200, status == 500
    state = DeliveryState.DELIVERED if arrived else DeliveryState.DEAD
    attempt = Attempt(
        at=event.created_at + timedelta(seconds=1 + after_s),
        url=delivery.url,
        duration_ms=40 + len(event.body) % 90,
        phases=Phases(wait_ms=35, receive_ms=1),
        status=status,
        error=None,
        request_headers=(("content-type", "application/json"),),
        response_headers=(("content-type", "text/plain"),),
        response="" if arrived else "Something went wrong.",
    )
    return Outcome(delivery.id, "", attempt, state, dead_reason=DeadReason.ATTEMPTS_EXHAUSTED if gives_up else None)


def today() -> datetime:
    """The last midnight, in UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
