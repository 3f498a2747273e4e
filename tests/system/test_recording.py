"""What attempts came to is written down together, and whatever is wrong with one of them is its own affair."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from core import clock
from core.crypto import Sealer
from core.database import Database
from domain.attempts import Attempt, Phases
from domain.http_headers import MOST_BYTES
from domain.webhook_endpoints import WebhookEndpoint
from repositories.accounts import AccountRepository
from repositories.deliveries import DeliveryRepository
from repositories.delivery_documents import DeliveryState, LeasedDelivery, NewDelivery, Outcome
from repositories.events import EventMessage, EventRepository
from repositories.signals import SignalRepository
from repositories.webhook_endpoints import WebhookEndpointRepository
from services.delivery import Delivery, Sent
from services.endpoint_health import EndpointHealth
from services.parcels import Destination, Parcel
from services.signals import Signals
from services.webhook_sender import MAX_RESPONSE_BYTES, Reply, WebhookSender
from tests.databases import emptied, own_database

URL = "http://receiver.example/hook"
TOO_LARGE = "x" * 17 * 1024 * 1024
"""No document of MongoDB holds as much."""


@pytest.fixture(scope="module")
async def kept(mongo_uri: str) -> AsyncIterator[Database]:
    async with own_database(mongo_uri, "recording") as database:
        yield database


@pytest.fixture
async def database(kept: Database) -> Database:
    return await emptied(kept)


async def lease(database: Database, target: str, count: int) -> list[LeasedDelivery]:
    deliveries, now = DeliveryRepository(database), clock.now()
    await deliveries.insert_missing(
        [
            NewDelivery(
                id=f"dlv_{target}_{number}",
                event_id="evt_1",
                event_type="payment.created",
                owner_id="user_1",
                target=target,
                url=URL,
                due_at=now,
                stream_id="txn_1",
                sequence=number,
            )
            for number in range(count)
        ]
    )
    found = await deliveries.find_due({target: count}, clock.now())
    return await deliveries.lease(found[target], clock.now(), lease_s=60)


def delivered(one: LeasedDelivery, response: str = "", headers: Sequence[tuple[str, str]] = ()) -> Outcome:
    attempt = Attempt(clock.now(), None, 1, Phases(), 200, None, (), tuple(headers), response)
    return Outcome(one.id, one.token, attempt, DeliveryState.DELIVERED)


async def recorded(database: Database) -> set[str]:
    return {row["_id"] async for row in database["deliveries"].find({"state": "delivered"}, {"_id": 1})}


async def test_as_many_attempts_as_end_at_once_are_recorded_each_as_large_as_it_may_be(database: Database) -> None:
    leased = await lease(database, "we_1", 300)
    repository = DeliveryRepository(database)
    headers = [("x" * (MOST_BYTES // 50 - 1), "y")] * 50
    largest = [delivered(one, "x" * MAX_RESPONSE_BYTES, headers) for one in leased]

    await asyncio.gather(*(repository.record(one) for one in largest))

    assert await recorded(database) == {one.id for one in leased}


async def test_an_attempt_that_cannot_be_recorded_keeps_no_other_from_being_recorded(database: Database) -> None:
    bad, *good = await lease(database, "we_1", 5)
    others = await lease(database, "we_2", 3)
    repository = DeliveryRepository(database)

    failed, *rest = await asyncio.gather(
        repository.record(delivered(bad, TOO_LARGE)),
        *(repository.record(delivered(one)) for one in [*good, *others]),
        return_exceptions=True,
    )

    assert isinstance(failed, Exception)
    assert rest == [None] * 7
    assert await recorded(database) == {one.id for one in [*good, *others]}
    attempts = [row["attempts"] async for row in database["deliveries"].find({"state": "delivered"})]
    assert [len(some) for some in attempts] == [1] * 7


@pytest.mark.parametrize("status", [200, 500])
async def test_an_attempt_is_recorded_although_its_endpoints_health_cannot_be_written(
    database: Database, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    away = Database("mongodb://127.0.0.1:1/?directConnection=true", "recording", timeout_s=0.2)
    deliveries = DeliveryRepository(database)
    signals = Signals(SignalRepository(database), tell_others=False)
    sender = WebhookSender(allow_private_networks=True)
    health = EndpointHealth(WebhookEndpointRepository(away), deliveries, signals)
    delivery = Delivery(
        deliveries,
        EventRepository(database),
        AccountRepository(database),
        WebhookEndpointRepository(database),
        health,
        sender,
        Sealer([bytes(32)]),
        (60,),
    )
    (one,) = await lease(database, "we_1", 1)
    now = clock.now()
    failing_since = now if status == 200 else None
    endpoint = WebhookEndpoint("we_1", "user_1", URL, ("*",), b"", now, now, failing_since=failing_since)
    parcel = Parcel(one, EventMessage(b"{}", None), Destination(URL, (), 15, (60,), 8, endpoint))

    await delivery.record(Sent(parcel, now, {}, Reply(status=status)))

    row = await database["deliveries"].find_one({"_id": one.id})
    assert row is not None
    assert [attempt["status"] for attempt in row["attempts"]] == [status]
    assert "the health of we_1 was not written" in caplog.text
    await sender.close()
    away.close()
