"""A worker that stops dead at any step between claim, send, record and publish leaves what another one finishes."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from threading import Event
from typing import Any

import pymongo
import pytest

from tests.chaos.crashing_worker import CrashPoint, start_worker
from tests.chaos.lanes import PATIENCE_S, Lane, lane
from tests.scale import scaled

PUBLISHING = (
    "repositories.outbox:Outbox.unpublished",
    "repositories.events:EventRepository.insert_missing",
    "repositories.refunds:RefundRepository.project",
    "repositories.deliveries:DeliveryRepository.insert_missing",
    "repositories.outbox:Outbox.mark_published",
)
SENDING = (
    "repositories.deliveries:DeliveryRepository.find_due",
    "repositories.deliveries:DeliveryRepository.lease",
    "repositories.events:EventRepository.messages",
    "services.webhook_sender:WebhookSender.post",
    "repositories.deliveries:DeliveryRepository.record",
)
PROCESSING = (
    "repositories.payments:PaymentRepository.lease_due",
    "services.bank:InProcessBank.submit",
    "repositories.payments:PaymentRepository.save_leased",
)
INCOMING = (
    "repositories.incoming_webhooks:IncomingWebhookRepository.lease",
    "repositories.incoming_webhooks:IncomingWebhookRepository.mark_processed",
)
DISABLING = (
    "repositories.deliveries:DeliveryRepository.record",
    "repositories.webhook_endpoints:WebhookEndpointRepository.save",
    "repositories.deliveries:DeliveryRepository.bury_waiting",
)


def around(*methods: str) -> list[CrashPoint]:
    return [CrashPoint(method, after) for method in methods for after in (False, True)]


POINTS = around(*PUBLISHING, *SENDING, *PROCESSING, *INCOMING)
SENT_UNRECORDED = {CrashPoint(SENDING[3], True), CrashPoint(SENDING[4], False)}
NOTHING_SENT = {*around(*SENDING[:3]), CrashPoint(SENDING[3], False)}
ROUNDS = scaled([CrashPoint(SENDING[3], True)], POINTS * 3)
LANES = scaled(1, 6)
Record = Callable[[str, object], None]


async def in_lanes(
    lanes: list[AbstractAsyncContextManager[Lane]],
    points: Sequence[CrashPoint],
    survive: Callable[[Lane, int, CrashPoint], Awaitable[int]],
) -> int:
    """Share the crashes out among lanes that go at the same time; the sum of what they come to."""
    left = list(enumerate(points))

    async def go_through(opening: AbstractAsyncContextManager[Lane]) -> int:
        total = 0
        async with opening as one:
            while left:
                number, point = left.pop()
                try:
                    total += await survive(one, number, point)
                except AssertionError as error:
                    error.add_note(f"The worker was stopped {point}.")
                    raise
        return total

    return sum(await asyncio.gather(*(go_through(opening) for opening in lanes)))


@pytest.mark.scaled
async def test_another_worker_finishes_what_one_that_stopped_dead_has_left(
    mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path, record_property: Record
) -> None:
    lanes = [lane(mongo_uri, mongo, tmp_path / str(number)) for number in range(LANES)]

    async def survive(one: Lane, number: int, point: CrashPoint) -> int:
        again = await one.survive(number, point)
        assert again == 0 or point not in NOTHING_SENT
        assert again > 0 or point not in SENT_UNRECORDED
        return again

    again = await in_lanes(lanes, ROUNDS, survive)
    record_property("proof", f"crash points: {len(set(ROUNDS))}, {len(ROUNDS)} crashes, {again} attempts made again")


@pytest.mark.long
async def test_an_endpoint_that_said_410_is_disabled_whoever_stops_dead_meanwhile(
    mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    lanes = [lane(mongo_uri, mongo, tmp_path / f"gone-{number}", gone=True) for number in range(LANES)]
    await in_lanes(lanes, around(*DISABLING) * 3, Lane.be_told_to_go)


@pytest.mark.long
async def test_a_410_that_came_once_disables_the_endpoint_although_the_worker_stopped_dead(
    mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    async with lane(mongo_uri, mongo, tmp_path / "gone", gone=True) as one:
        caller = await one.merchant(0)
        endpoint_id = await one.endpoint(caller, f"{one.receiver.url}/hook")
        await one.psp.webhook_endpoints.send_test(caller, endpoint_id)

        await one.stop_and_go_on(0, CrashPoint(DISABLING[0], after=True))
        endpoint = one.database["webhook_endpoints"].find_one({"_id": endpoint_id})
        assert endpoint is not None
        assert endpoint["disabled_reason"] == "gone"


@pytest.mark.long
async def test_a_worker_that_slept_past_its_lease_changes_nothing_when_it_wakes_up(
    mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    async with lane(mongo_uri, mongo, tmp_path / "sleeper") as one:
        asleep = Event()
        one.receiver.answers = lambda number, _: 500 if number == 0 and asleep.wait(PATIENCE_S) else 200
        caller = await one.merchant(0)
        endpoint_id = await one.endpoint(caller, f"{one.receiver.url}/hook")
        first = (await one.psp.webhook_endpoints.send_test(caller, endpoint_id)).delivery_id

        sleeper = start_worker(one.settings, tmp_path / "sleeper.log")
        try:
            await asyncio.to_thread(one.receiver.wait_for, 1, PATIENCE_S)
            sleeper.send_signal(signal.SIGSTOP)
            asleep.set()
            one.let_leases_end()
            await one.work("next")
            delivered = one.database["deliveries"].find_one({"_id": first})
            assert delivered is not None
            assert [attempt["status"] for attempt in delivered["attempts"]] == [200]

            sleeper.send_signal(signal.SIGCONT)
            await one.psp.webhook_endpoints.send_test(caller, endpoint_id)
            await asyncio.to_thread(one.receiver.wait_for, 3, PATIENCE_S)  # it is awake, and goes on with the next
            async with asyncio.timeout(PATIENCE_S):
                while one.work_left():
                    await asyncio.sleep(0.02)
            assert one.database["deliveries"].find_one({"_id": first}) == delivered
        finally:
            sleeper.kill()
            sleeper.wait()
