"""Leases on payments: a worker writes only what is still its own, and knows what it has written."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bank.books import Books
from bank.engine import BankEngine
from core import clock
from core.crypto import Sealer
from core.database import Database, DuplicateKey
from core.metrics import REGISTRY
from domain import payments as rules
from domain.payments import Payment, Status
from repositories.deliveries import DeliveryRepository
from repositories.events import EventRepository
from repositories.indexes import create_indexes
from repositories.outbox import OutboxEvent
from repositories.payments import Leased, LeasedWrite, PaymentRepository, Write
from repositories.refunds import RefundRepository
from repositories.signals import SignalRepository
from repositories.webhook_endpoints import WebhookEndpointRepository
from services.bank import InProcessBank
from services.processing import Processing
from services.publishing import Publishing
from services.signals import Signals
from services.vault import CardVault

HASH_KEY = bytes(range(32))


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    database = Database(mongo_uri, "leases_test")
    yield database
    await database.drop()
    database.close()


@pytest.fixture
def payments(database: Database) -> PaymentRepository:
    return PaymentRepository(database)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def due_payment(payments: PaymentRepository, number: int = 1) -> Payment:
    now = clock.now() - timedelta(seconds=1)
    payment = Payment(
        id=f"txn_{number}",
        owner_id="user_1",
        customer_name="Grace",
        amount_minor=100,
        currency="USD",
        status=Status.PENDING,
        created_at=now,
        updated_at=now,
        acts_at=now,
    )
    assert await payments.insert(payment, (OutboxEvent(f"evt_{number}", "payment.created", 1, now, b"{}"),), None)
    return payment


async def lease(payments: PaymentRepository) -> list[Leased]:
    return await payments.lease_due(clock.now(), limit=100, lease_s=30)


async def begin(payments: PaymentRepository, leased: list[Leased]) -> set[str]:
    return await payments.save_leased(
        [
            LeasedWrite(Write(one.payment, rules.begin(one.payment, clock.now()).payment), one.token, keeps_lease=True)
            for one in leased
        ]
    )


async def test_a_payment_that_a_worker_has_is_not_cancelled(payments: PaymentRepository) -> None:
    seen_before = await due_payment(payments)
    leased = await lease(payments)
    seen_since = await payments.latest(seen_before.id)
    assert seen_since is not None

    # The bank may have been asked already: neither who looks now nor who has looked before can call it off.
    assert not await payments.save(Write(seen_before, rules.cancel(seen_before, clock.now()).payment))
    with pytest.raises(rules.NotAccepted, match="is processing; it cannot be cancelled"):
        rules.cancel(seen_since, clock.now())
    assert await begin(payments, leased) == {seen_before.id}


async def test_a_payment_that_a_dead_worker_had_waits_for_another_and_is_not_cancelled(
    payments: PaymentRepository,
) -> None:
    payment = await due_payment(payments)
    await payments.lease_due(clock.now(), limit=10, lease_s=0)
    taken_over = counted("mock_psp_lease_takeovers_total", work="payments")
    (mine,) = await lease(payments)

    assert counted("mock_psp_lease_takeovers_total", work="payments") == taken_over + 1

    assert not await payments.save(Write(payment, rules.cancel(payment, clock.now()).payment))
    assert await begin(payments, [mine]) == {payment.id}


async def test_a_payment_whose_outcome_could_not_be_written_stays_in_hand(payments: PaymentRepository) -> None:
    payment = await due_payment(payments)
    leased = await lease(payments)
    await payments.save(Write(payment, rules.amend(payment, clock.now(), details="x").payment))
    assert await begin(payments, leased) == set()

    amended = await payments.latest(payment.id)
    assert amended is not None
    assert amended.in_hand
    assert not await payments.save(Write(amended, rules.cancel(replace(amended, in_hand=False), clock.now()).payment))


async def test_deleting_a_payment_that_a_worker_has_hides_it(payments: PaymentRepository) -> None:
    payment = await due_payment(payments)
    await lease(payments)
    seen = await payments.latest(payment.id)
    assert seen is not None

    hidden = rules.delete(seen, clock.now())

    assert (hidden.payment.status, hidden.payment.deleted, hidden.events) == (Status.PENDING, True, ())


async def test_in_a_batch_only_what_was_changed_meanwhile_is_not_written(payments: PaymentRepository) -> None:
    changed, unchanged = await due_payment(payments, 1), await due_payment(payments, 2)
    leased = await lease(payments)
    await payments.save(Write(changed, rules.amend(changed, clock.now(), details="x").payment))

    assert await begin(payments, leased) == {unchanged.id}
    # The other one is free again at once, as it is now.
    (again,) = await lease(payments)
    assert (again.payment.id, again.payment.details) == (changed.id, "x")


async def test_a_payment_that_is_changed_all_the_time_completes_all_the_same(
    payments: PaymentRepository, database: Database
) -> None:
    payment = await due_payment(payments)
    bank = InProcessBank(BankEngine(Books(database), HASH_KEY, magic_amounts=False))
    vault = CardVault(Sealer([HASH_KEY]), HASH_KEY)
    processing = Processing(payments, bank, vault, Signals(SignalRepository(database), tell_others=False))
    for number in range(50):
        seen = await payments.latest(payment.id)
        assert seen is not None
        change = rules.amend(seen, clock.now(), details=str(number)).payment
        await asyncio.gather(payments.save(Write(seen, change)), processing.process_batch())

    while await processing.process_batch():
        pass
    latest = await payments.latest(payment.id)
    assert latest is not None
    assert (latest.status, latest.sequence) == (Status.COMPLETED, 3)


def publishing(payments: PaymentRepository, database: Database) -> Publishing:
    return Publishing(
        [payments.outbox],
        EventRepository(database),
        RefundRepository(database),
        DeliveryRepository(database),
        WebhookEndpointRepository(database),
        Signals(SignalRepository(database), tell_others=False),
    )


async def test_an_event_is_stored_under_its_object_and_the_one_that_numbers_it(
    payments: PaymentRepository, database: Database
) -> None:
    await create_indexes(database)
    payment, now = await due_payment(payments), clock.now()
    about_another = OutboxEvent("evt_2", "payment.completed", 2, now, b"{}", "re_1")
    await payments.save(Write(payment, replace(payment, sequence=2, version=2), (about_another,)))

    await publishing(payments, database).publish_batch({payments.outbox.name})

    stored = database["events"].find({"stream_id": "txn_1"}).sort("sequence", 1)
    assert [(row["object_id"], row["sequence"]) async for row in stored] == [("txn_1", 1), ("re_1", 2)]
    with pytest.raises(DuplicateKey):
        await database["events"].insert_one({"_id": "evt_3", "owner_id": "user_1", "stream_id": "txn_1", "sequence": 2})


async def test_an_outbox_that_cannot_be_read_holds_up_nobody_elses(
    payments: PaymentRepository, database: Database
) -> None:

    await due_payment(payments, 1)
    await due_payment(payments, 2)
    await database["payments"].update_one({"_id": "txn_1"}, {"$set": {"webhook_url": "http://[broken"}})
    publisher = publishing(payments, database)

    await publisher.publish_batch(publisher.outboxes)

    assert [one.stream_id for one in await payments.outbox.unpublished(10)] == ["txn_1"]
    assert await publisher.publish_batch(publisher.outboxes) == set()
