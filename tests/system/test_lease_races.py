"""Leases on all that is leased: nobody ever holds what another one holds, and who wakes up late changes nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core import clock
from core.database import Database
from domain import payments as rules
from domain.attempts import Attempt, Phases
from domain.payments import Payment, Status
from repositories.deliveries import DeliveryRepository
from repositories.delivery_documents import DeadReason, DeliveryState, LeasedDelivery, NewDelivery, Outcome
from repositories.incoming_webhooks import IncomingWebhookRepository
from repositories.indexes import create_indexes
from repositories.payments import LeasedWrite, PaymentRepository, Write
from tests.databases import emptied
from tests.scale import scaled

CLIENTS, CLAIMANTS = 4, 4
ROWS = scaled(60, 1000)
TARGETS, STREAMS = 5, 10
LEASE_S = 60
NOW = clock.now()


@pytest.fixture(scope="module")
async def connections(mongo_uri: str) -> AsyncIterator[list[Database]]:
    """As processes have them, each its own."""
    connections = [Database(mongo_uri, "lease_races") for _ in range(CLIENTS)]
    await create_indexes(connections[0])
    yield connections
    await connections[0].drop()
    for connection in connections:
        connection.close()


@pytest.fixture
async def clients(connections: list[Database]) -> list[Database]:
    """Of an empty database."""
    await emptied(connections[0])
    return connections


@pytest.fixture
def database(clients: list[Database]) -> Database:
    return clients[0]


async def due_payments(database: Database, count: int) -> None:
    payments = PaymentRepository(database)
    due = [
        Payment(
            id=f"txn_{number}",
            owner_id="user_1",
            customer_name="Grace",
            amount_minor=100,
            currency="USD",
            status=Status.PENDING,
            created_at=NOW,
            updated_at=NOW,
            acts_at=NOW,
        )
        for number in range(count)
    ]
    assert all(await asyncio.gather(*(payments.insert(payment, (), None) for payment in due)))


async def due_deliveries(database: Database, count: int) -> None:
    """To each target in turn, and of as many objects, so that an object's events all go to one target."""
    await DeliveryRepository(database).insert_missing(
        [
            NewDelivery(
                id=f"dlv_{number:04}",
                event_id=f"evt_{number}",
                event_type="payment.created",
                owner_id="user_1",
                target=f"target-{number % TARGETS}",
                url="http://127.0.0.1:1/hook",
                due_at=NOW,
                stream_id=f"txn_{number % STREAMS}",
                sequence=number // STREAMS + 1,
            )
            for number in range(count)
        ]
    )


async def received_webhooks(database: Database, count: int) -> None:
    webhooks = IncomingWebhookRepository(database)
    received = (
        webhooks.insert(
            f"inw_{number}", owner_id="user_1", message_id=f"evt_{number}", event="x", body=b"{}", received_at=NOW
        )
        for number in range(count)
    )
    assert all(await asyncio.gather(*received))


async def claim_payments(database: Database, lease_s: int = LEASE_S) -> list[str]:
    leased = await PaymentRepository(database).lease_due(clock.now(), limit=20, lease_s=lease_s)
    return [one.payment.id for one in leased]


async def claim_deliveries(database: Database, lease_s: int = LEASE_S) -> list[str]:
    return [one.id for one in await lease_deliveries(database, lease_s)]


async def lease_deliveries(
    database: Database, lease_s: int = LEASE_S, ordered: Sequence[str] = ()
) -> list[LeasedDelivery]:
    room = {f"target-{number}": 4 for number in range(TARGETS)}
    deliveries, now = DeliveryRepository(database), clock.now()
    found = await deliveries.find_due({target: most for target, most in room.items() if target not in ordered}, now)
    if ordered:
        found |= await deliveries.find_heads({target: room[target] for target in ordered}, now)
    return await deliveries.lease([one for some in found.values() for one in some], now, lease_s=lease_s)


async def claim_webhooks(database: Database, lease_s: int = LEASE_S) -> list[str]:
    leased = await IncomingWebhookRepository(database).lease(limit=20, lease_s=lease_s)
    return leased.ids if leased else []


@pytest.mark.scaled
@pytest.mark.parametrize(
    ("collection", "fill", "claim"),
    [
        ("payments", due_payments, claim_payments),
        ("deliveries", due_deliveries, claim_deliveries),
        ("incoming_webhooks", received_webhooks, claim_webhooks),
    ],
)
async def test_of_many_that_claim_at_once_each_row_has_one_holder_and_no_row_has_none(
    clients: list[Database],
    collection: str,
    fill: Callable[[Database, int], Awaitable[None]],
    claim: Callable[[Database], Awaitable[list[str]]],
) -> None:
    await fill(clients[0], ROWS)

    async def take_until_nothing_is_left(client: Database) -> list[str]:
        held: list[str] = []
        while await client[collection].count_documents({"lease_token": {"$exists": False}}):
            held += await claim(client)
        return held

    holders = await asyncio.gather(*(take_until_nothing_is_left(client) for client in clients * CLAIMANTS))

    held = [row_id for holder in holders for row_id in holder]
    assert len(held) == len(set(held)) == ROWS
    assert await claim(clients[0]) == []


@pytest.mark.scaled
async def test_of_many_that_claim_at_once_one_at_a_time_has_an_objects_events_and_in_their_order(
    clients: list[Database],
) -> None:
    await due_deliveries(clients[0], ROWS)
    targets = [f"target-{number}" for number in range(TARGETS)]
    under_way: set[int] = set()
    sent: dict[int, list[int]] = {stream: [] for stream in range(STREAMS)}

    async def deliver(client: Database) -> None:
        deliveries = DeliveryRepository(client)
        while await client["deliveries"].count_documents({"state": "pending"}):
            for one in await lease_deliveries(client, ordered=targets):
                sequence, stream = divmod(int(one.id.removeprefix("dlv_")), STREAMS)
                assert stream not in under_way
                under_way.add(stream)
                sent[stream].append(sequence)
                await asyncio.sleep(0.001)
                under_way.remove(stream)
                await deliveries.record(outcome(one, DeliveryState.DELIVERED))

    await asyncio.gather(*(deliver(client) for client in clients * CLAIMANTS))

    assert all(numbers == list(range(ROWS // STREAMS)) for numbers in sent.values())


async def late_and_next(database: Database) -> tuple[LeasedDelivery, LeasedDelivery]:
    """A delivery whose lease ended in the first one's hands, and which the second one has now."""
    await due_deliveries(database, 1)
    (late,) = await lease_deliveries(database, 0)
    (next_one,) = await lease_deliveries(database)
    assert late.token != next_one.token
    return late, next_one


def outcome(leased: LeasedDelivery, state: DeliveryState) -> Outcome:
    due_at = clock.now() + timedelta(hours=1) if state is DeliveryState.PENDING else None
    attempt = Attempt(clock.now(), None, 1, Phases(), 500, None, (), (), None)
    return Outcome(leased.id, leased.token, attempt, state, due_at)


Late = Callable[[DeliveryRepository, LeasedDelivery], Awaitable[None]]


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda rows, late: rows.record(outcome(late, DeliveryState.DELIVERED)), id="record: delivered"),
        pytest.param(lambda rows, late: rows.record(outcome(late, DeliveryState.PENDING)), id="record: failed"),
        pytest.param(lambda rows, late: rows.record(outcome(late, DeliveryState.DEAD)), id="record: given up"),
        pytest.param(lambda rows, late: rows.bury([late], DeadReason.EVENT_GONE), id="bury"),
        pytest.param(lambda rows, late: rows.give_back([late]), id="give back"),
    ],
)
async def test_who_wakes_up_late_leaves_a_delivery_as_it_is(database: Database, act: Late) -> None:
    late, next_one = await late_and_next(database)
    before = await database["deliveries"].find_one({"_id": late.id})

    await act(DeliveryRepository(database), late)
    assert await database["deliveries"].find_one({"_id": late.id}) == before

    # Nor does it when the other one has finished.
    await DeliveryRepository(database).record(outcome(next_one, DeliveryState.DELIVERED))
    finished = await database["deliveries"].find_one({"_id": late.id})
    assert finished is not None
    assert (finished["state"], len(finished["attempts"]), "lease_token" in finished) == ("delivered", 1, False)
    await act(DeliveryRepository(database), late)
    assert await database["deliveries"].find_one({"_id": late.id}) == finished


async def test_a_lease_that_has_ended_and_was_not_taken_is_still_good(database: Database) -> None:
    """The token is what counts: what was done is recorded, however late, while nobody else has begun."""
    await due_deliveries(database, 1)
    (slow,) = await lease_deliveries(database, 0)

    await DeliveryRepository(database).record(outcome(slow, DeliveryState.DELIVERED))

    assert await lease_deliveries(database) == []


async def test_who_wakes_up_late_leaves_a_dead_letter_as_it_is(database: Database) -> None:
    await due_deliveries(database, 1)
    (late,) = await lease_deliveries(database, 0)
    deliveries = DeliveryRepository(database)
    await deliveries.bury_waiting(late.target, DeadReason.ENDPOINT_DELETED)
    buried = await database["deliveries"].find_one({"_id": late.id})
    assert buried is not None
    assert (buried["state"], buried["dead_reason"]) == ("dead", "endpoint_deleted")

    for state in DeliveryState:
        await deliveries.record(outcome(late, state))
        assert await database["deliveries"].find_one({"_id": late.id}) == buried


@pytest.mark.parametrize(
    ("state", "then"),
    [
        (DeliveryState.PENDING, ("dead", "endpoint_disabled")),
        (DeliveryState.DEAD, ("dead", "receiver_gone")),
        (DeliveryState.DELIVERED, ("delivered", None)),
    ],
)
async def test_what_is_buried_while_it_is_under_way_is_recorded_and_waits_no_more(
    database: Database, state: DeliveryState, then: tuple[str, str | None]
) -> None:
    await due_deliveries(database, 1)
    (under_way,) = await lease_deliveries(database)
    deliveries = DeliveryRepository(database)
    await deliveries.bury_waiting(under_way.target, DeadReason.ENDPOINT_DISABLED)

    reason = DeadReason.RECEIVER_GONE if state is DeliveryState.DEAD else None
    await deliveries.record(replace(outcome(under_way, state), dead_reason=reason))

    row = await database["deliveries"].find_one({"_id": under_way.id})
    assert row is not None
    assert (row["state"], row.get("dead_reason")) == then
    assert (len(row["attempts"]), row["due_at"], "lease_token" in row) == (1, row["created_at"], False)


async def test_what_was_given_back_is_free_at_once(database: Database) -> None:
    await due_deliveries(database, 3)
    held = await lease_deliveries(database)
    assert await lease_deliveries(database) == []

    await DeliveryRepository(database).give_back(held[:2])

    assert {one.id for one in await lease_deliveries(database)} == {one.id for one in held[:2]}


async def test_who_wakes_up_late_leaves_a_received_webhook_as_it_is(database: Database) -> None:
    await received_webhooks(database, 3)
    webhooks = IncomingWebhookRepository(database)
    late = await webhooks.lease(limit=10, lease_s=0)
    next_one = await webhooks.lease(limit=10, lease_s=LEASE_S)
    assert late is not None
    assert next_one is not None
    before = await rows(database["incoming_webhooks"])

    assert await webhooks.mark_processed(late, clock.now() + timedelta(hours=1)) == 0
    assert await rows(database["incoming_webhooks"]) == before

    assert await webhooks.mark_processed(next_one, clock.now()) == 3
    finished = await rows(database["incoming_webhooks"])
    assert {row["state"] for row in finished} == {"processed"}
    assert await webhooks.mark_processed(late, clock.now() + timedelta(hours=1)) == 0
    assert await rows(database["incoming_webhooks"]) == finished


async def test_who_wakes_up_late_leaves_a_payment_as_it_is(database: Database) -> None:
    await due_payments(database, 1)
    payments = PaymentRepository(database)
    (late,) = await payments.lease_due(clock.now(), limit=10, lease_s=0)
    (next_one,) = await payments.lease_due(clock.now(), limit=10, lease_s=LEASE_S)
    before = await rows(database["payments"])

    for keeps_lease in (True, False):
        begun = Write(late.payment, rules.begin(late.payment, clock.now()).payment)
        assert await payments.save_leased([LeasedWrite(begun, late.token, keeps_lease=keeps_lease)]) == set()
        assert await rows(database["payments"]) == before
    begun = Write(next_one.payment, rules.begin(next_one.payment, clock.now()).payment)
    assert await payments.save_leased([LeasedWrite(begun, next_one.token, keeps_lease=False)]) == {"txn_0"}


async def rows(collection: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await collection.find().sort("_id", 1).to_list(None)
    return found
