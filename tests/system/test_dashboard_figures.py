"""The dashboard's figures: of the newest payments and deliveries, at a cost that does not grow."""

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from core import clock
from core.database import Database
from domain.payments import Payment, Status
from repositories.deliveries import DeliveryRepository
from repositories.events import EventHead
from repositories.payment_documents import to_document
from repositories.payments import PaymentFigure, PaymentRepository
from services.event_targets import Target, new_delivery
from tests.databases import own_database

DATABASE = "dashboard_figures"


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    async with own_database(mongo_uri, DATABASE) as database:
        yield database


async def test_so_many_newest_deliveries_are_counted_and_no_more_are_read(database: Database, mongo: Any) -> None:
    deliveries, now = DeliveryRepository(database), clock.now()
    for begin, state in ((0, "dead"), (300, "delivered"), (900, "dead"), (950, "pending")):
        heads = [EventHead(f"evt_{n}", "payment.created", "user_1", f"txn_{n}", 1, now) for n in range(begin, 1000)]
        # Due long before or after the others: what counts as new is what was made last.
        made = [new_delivery(head, Target("https://x.example"), now - timedelta(days=begin)) for head in heads]
        await database["deliveries"].delete_many({"_id": {"$in": [one.id for one in made]}})
        await deliveries.insert_missing(made)
        await database["deliveries"].update_many({"_id": {"$in": [one.id for one in made]}}, {"$set": {"state": state}})
    mongo[DATABASE].command("profile", 2)

    assert await deliveries.count_by_state(500) == {"pending": 50, "delivered": 400, "dead": 50}

    mongo[DATABASE].command("profile", 0)
    (read,) = mongo[DATABASE]["system.profile"].find({"command.aggregate": "deliveries"})
    assert read["docsExamined"] == 500
    assert await deliveries.count_by_state(5000) == {"pending": 50, "delivered": 600, "dead": 350}


def payment(number: int, at: datetime, status: Status, currency: str, captured_minor: int, deleted: bool) -> Payment:
    return Payment(
        id=f"txn_{number}",
        owner_id=f"user_{number % 3}",
        customer_name="Ada",
        amount_minor=500,
        currency=currency,
        status=status,
        created_at=at,
        updated_at=at,
        amount_captured_minor=captured_minor,
        deleted=deleted,
    )


async def test_so_many_newest_payments_are_counted_and_no_more_are_read(database: Database, mongo: Any) -> None:
    payments, now = PaymentRepository(database), clock.now()
    kinds = [
        *[(Status.EXPIRED, "JPY", 0, False)] * 1000,
        *[(Status.COMPLETED, "EUR", 500, True)] * 20,
        *[(Status.COMPLETED, "EUR", 500, False)] * 200,
        *[(Status.FAILED, "USD", 0, False)] * 200,
        *[(Status.COMPLETED, "USD", 300, False)] * 100,
    ]
    made = [payment(number, now - timedelta(minutes=2000 - number), *kind) for number, kind in enumerate(kinds)]
    random.shuffle(made)
    await database["payments"].insert_many([to_document(one) for one in made])
    mongo[DATABASE].command("profile", 2)

    figures = await payments.figures(400)
    counts = [await payments.count_created(now - timedelta(minutes=700), now, limit) for limit in (50, 1000)]

    mongo[DATABASE].command("profile", 0)
    assert sorted(figures, key=lambda one: (one.currency, one.count)) == [
        PaymentFigure(Status.COMPLETED, "EUR", 100, 100, 50_000),
        PaymentFigure(Status.COMPLETED, "USD", 100, 100, 30_000),
        PaymentFigure(Status.FAILED, "USD", 200, 0, 0),
    ]
    assert counts == [50, 220]
    looks = list(mongo[DATABASE]["system.profile"].find({"command.aggregate": "payments"}).sort("ts", 1))
    assert [look["docsExamined"] for look in looks] == [400, 0, 0]
    assert all(look["keysExamined"] <= 401 for look in looks)
    assert not any(look.get("hasSortStage") for look in looks)
