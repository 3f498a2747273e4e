"""What a worker does with payments that are out of the ordinary."""

from collections.abc import AsyncIterator

import pytest

from bank.books import Books
from bank.engine import BankEngine
from core import clock
from core.crypto import Sealer
from core.database import Database
from domain import payments as rules
from domain.payments import MAX_REFUNDS, Change, Payment, Status
from repositories.payments import PaymentRepository, Write
from repositories.signals import SignalRepository
from services.bank import InProcessBank
from services.payment_changes import outbox
from services.processing import Processing
from services.signals import Signals
from services.vault import CardVault

HASH_KEY = bytes(range(32))


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    database = Database(mongo_uri, "processing_test")
    yield database
    await database.drop()
    database.close()


async def test_the_largest_payment_gets_all_of_its_refunds_at_once(database: Database) -> None:
    payments, now = PaymentRepository(database), clock.now()
    bank = InProcessBank(BankEngine(Books(database), HASH_KEY, magic_amounts=False))
    vault = CardVault(Sealer([HASH_KEY]), HASH_KEY)
    processing = Processing(payments, bank, vault, Signals(SignalRepository(database), tell_others=False))

    async def processed(change: Change) -> Payment:
        """The payment when nothing more is due. Each event shows all of it, and is published at once."""
        while await processing.process_batch():
            await database["payments"].update_one({"_id": change.payment.id}, {"$set": {"outbox": []}})
        latest = await payments.latest(change.payment.id)
        assert latest is not None
        return latest

    large = Payment(
        id="txn_1",
        owner_id="user_1",
        customer_name="Grace",
        amount_minor=MAX_REFUNDS,
        currency="USD",
        status=Status.PENDING,
        created_at=now,
        updated_at=now,
        acts_at=now,
        metadata={f"key {number}": "\U0001f600" * 300 for number in range(50)},
    )
    created = rules.create(large)
    assert await payments.insert(created.payment, outbox(created), None)
    paid = await processed(created)
    asked = Change(paid)
    for number in range(MAX_REFUNDS):
        asked = rules.request_refund(asked.payment, now, f"re_{number}", 1, None)
    assert await payments.save(Write(paid, asked.payment, outbox(asked)))

    assert (await processed(asked)).status is Status.REFUNDED
