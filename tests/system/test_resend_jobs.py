"""Resend jobs are leased work: wherever their worker dies, each event is sent again once, and none is left out."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from core import clock
from core.database import Database
from domain.attempts import Attempt, Phases
from domain.webhook_endpoints import WebhookEndpoint
from repositories.deliveries import DeliveryRepository
from repositories.delivery_documents import DeadReason, DeliveryState, Outcome
from repositories.delivery_log import DeliveryLogRepository
from repositories.events import EventHead, EventRepository
from repositories.places import NoPlaceLeft
from repositories.resend_jobs import JobStatus, LeasedJob, ResendJob, ResendJobRepository
from repositories.resent_deliveries import ResentDeliveryRepository
from repositories.signals import SignalRepository
from repositories.webhook_endpoints import WebhookEndpointRepository
from services.event_targets import Target, new_delivery
from services.resend_jobs import ResendJobs
from services.signals import Signals
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server
from tests.databases import emptied, own_database
from tests.factories import Psp
from tests.processes import running
from tests.receiver import Receiver

Row = dict[str, Any]
DATABASE = "resend_jobs"
OWNER = "user_1"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
async def kept(mongo_uri: str) -> AsyncIterator[Database]:
    async with own_database(mongo_uri, DATABASE) as database:
        yield database


@pytest.fixture
async def database(kept: Database) -> Database:
    return await emptied(kept)


@pytest.fixture
def jobs(database: Database) -> ResendJobRepository:
    return ResendJobRepository(database)


def events(owner_id: str, count: int) -> list[Row]:
    """As the publisher writes them, three in each millisecond."""
    return [
        {
            "_id": f"evt_{number:05}",
            "type": "customer.updated",
            "owner_id": owner_id,
            "object_id": f"cus_{number}",
            "stream_id": f"cus_{number}",
            "sequence": 1,
            "created_at": LONG_AGO + timedelta(milliseconds=number // 3),
            "body": b"{}",
        }
        for number in range(count)
    ]


def new_job(number: int) -> ResendJob:
    now = clock.now()
    return ResendJob(f"rsj_{number}", OWNER, LONG_AGO, now, ("*",), False, None, 0, now, now)


async def ask(jobs: ResendJobRepository, number: int = 1) -> ResendJob:
    job = new_job(number)
    assert await jobs.insert(job, None, most=100)
    return job


async def lease(jobs: ResendJobRepository, lease_s: int = 30) -> LeasedJob:
    leased = await jobs.lease(clock.now(), lease_s=lease_s)
    assert leased is not None
    return leased


async def state(jobs: ResendJobRepository, job: ResendJob) -> ResendJob:
    found = await jobs.get(OWNER, job.id)
    assert found is not None
    return found


async def test_of_sixty_asked_for_at_once_as_many_are_under_way_as_may_be(jobs: ResendJobRepository) -> None:
    async def insert(number: int) -> bool:
        try:
            return await jobs.insert(new_job(number), None, most=5)
        except NoPlaceLeft:
            return False

    assert sum(await asyncio.gather(*(insert(number) for number in range(60)))) == 5
    first, second, *_ = (await jobs.page(OWNER, limit=50, cursor=None)).items
    assert await jobs.cancel(OWNER, first.id, clock.now())
    leased = [await lease(jobs) for _ in range(5)]
    (its,) = [one for one in leased if one.job.id == second.id]
    assert await jobs.advance(its, [], 0, clock.now(), completed=True)

    assert sum(await asyncio.gather(*(insert(number) for number in range(60, 90)))) == 2, "one ended, one cancelled"
    assert not await jobs.insert(second, None, most=100), "an id that is taken"


async def test_two_workers_never_hold_the_same_job(jobs: ResendJobRepository) -> None:
    for number in range(8):
        await ask(jobs, number)

    claims = await asyncio.gather(*(jobs.lease(clock.now(), lease_s=30) for _ in range(20)))

    held = [claim.job.id for claim in claims if claim is not None]
    assert held
    assert len(held) == len(set(held))


async def test_a_worker_that_wakes_up_late_changes_nothing(jobs: ResendJobRepository) -> None:
    job = await ask(jobs)
    late = await lease(jobs, lease_s=0)
    next_one = await lease(jobs)
    read = [EventHead("evt_1", "customer.updated", OWNER, "cus_1", 1, LONG_AGO)]

    assert not await jobs.advance(late, read, 5, clock.now(), completed=True)
    await jobs.put_back(late, None)
    assert await state(jobs, job) == job
    assert await jobs.advance(next_one, read, 1, clock.now(), completed=False)
    assert not await jobs.advance(next_one, read, 1, clock.now(), completed=False)
    found = await state(jobs, job)
    assert (found.events_read, found.deliveries_made, found.status) == (1, 1, JobStatus.RUNNING)
    assert found.position == read[0].position


async def test_a_job_that_is_cancelled_in_the_middle_of_a_batch_is_looked_at_once_more(
    jobs: ResendJobRepository,
) -> None:
    job = await ask(jobs)
    batch = await lease(jobs)
    assert await jobs.cancel(OWNER, job.id, clock.now())
    assert not await jobs.cancel(OWNER, job.id, clock.now())
    assert await jobs.lease(clock.now(), lease_s=30) is None, "the batch is not over"

    assert not await jobs.advance(batch, [], 0, clock.now(), completed=True)
    await jobs.look_again(job.id, clock.now())

    again = await lease(jobs)
    assert again.job.status is JobStatus.CANCELLED
    await jobs.put_back(again, None)
    assert await jobs.lease(clock.now(), lease_s=30) is None


async def test_what_is_under_way_when_its_job_is_cancelled_waits_no_more_once_it_has_failed(
    database: Database,
) -> None:
    deliveries, log = DeliveryRepository(database), DeliveryLogRepository(database)
    resent = ResentDeliveryRepository(database)
    now, target = clock.now(), Target("http://127.0.0.1:9")
    heads = [EventHead(f"evt_{number}", "customer.updated", OWNER, "cus_1", number, LONG_AGO) for number in range(3)]
    await deliveries.insert_missing([new_delivery(head, target, now, "rsj_1") for head in heads])
    found = await deliveries.find_due({"http://127.0.0.1:9": 1}, clock.now())
    (under_way,) = await deliveries.lease(found["http://127.0.0.1:9"], clock.now(), lease_s=30)

    assert not await resent.bury("rsj_1", DeadReason.RESEND_CANCELLED)
    failed = Attempt(clock.now(), None, 1, Phases(), 500, None, (), (), "")
    await deliveries.record(
        Outcome(under_way.id, under_way.token, failed, DeliveryState.PENDING, clock.now() + timedelta(hours=1))
    )
    assert await resent.bury("rsj_1", DeadReason.RESEND_CANCELLED)

    fared = await log.of_events([head.id for head in heads])
    assert [one.state for one in fared] == [DeliveryState.DEAD] * 3
    found = await log.get(OWNER, under_way.id)
    assert found is not None
    assert (found.attempt_count, found.dead_reason) == (1, "resend_cancelled")


async def test_a_job_may_be_stopped_anywhere(database: Database, jobs: ResendJobRepository) -> None:
    """Its worker ends at whatever it awaits, again and again; another goes on when the lease has ended."""
    count = 1030
    await database["events"].insert_many(events(OWNER, count))
    endpoints, now = WebhookEndpointRepository(database), clock.now()
    await endpoints.insert(WebhookEndpoint("we_1", OWNER, "http://127.0.0.1:9", ("*",), b"", now, now), most=1)
    signals = Signals(SignalRepository(database), tell_others=False)
    deliveries, resent = DeliveryRepository(database), ResentDeliveryRepository(database)
    rows = (deliveries, resent, DeliveryLogRepository(database), EventRepository(database))
    work = ResendJobs(jobs, *rows, endpoints, signals, b"key")
    job = await ask(jobs)
    chance, stops = random.Random(4), 0
    while (found := await state(jobs, job)).status is JobStatus.RUNNING:
        task = asyncio.create_task(work.work())
        ended, under_way = await asyncio.wait({task}, timeout=chance.uniform(0, 0.03) if stops < 60 else None)
        for one in ended:
            one.result()
        for one in under_way:
            one.cancel()
            stops += 1
            await asyncio.wait({one})
            # What it had asked the database is carried out all the same; then its lease ends.
            await asyncio.sleep(0.02)
            await database["resend_jobs"].update_many({}, {"$unset": {"lease_until": ""}})
        # What was made is sent meanwhile, so that there is room for more.
        await database["deliveries"].update_many({}, {"$set": {"state": "delivered"}})
        await database["resend_jobs"].update_many({"due_at": {"$exists": True}}, {"$set": {"due_at": LONG_AGO}})

    assert stops
    assert (found.events_read, found.deliveries_made) == (count, count)
    made = await database["deliveries"].find({}, {"event_id": 1, "resend_id": 1}).to_list(None)
    assert sorted(row["event_id"] for row in made) == [f"evt_{number:05}" for number in range(count)]
    assert {row["resend_id"] for row in made} == {job.id}


@pytest.mark.long
def test_a_killed_workers_job_is_carried_on(
    start_server: Callable[..., Server],
    mongo: pymongo.MongoClient[Row],
    mongo_uri: str,
    data_dir: Path,
    tmp_path: Path,
) -> None:
    server = start_server(WORKER="off", MONGODB_DB="killed_resender")
    worker = {"DATA_DIR": str(data_dir), "MONGODB_DB": "killed_resender"}
    database, count = mongo["killed_resender"], 1500
    with Receiver() as receiver, httpx.Client(base_url=server.url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        account = psp.register()
        database.events.insert_many(events(account.id, count))
        psp.post("/webhook-endpoints", json={"url": receiver.url, "events": ["*"]}, headers=account.key)
        ever = {"from": "2020-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}
        job = psp.post("/resend-jobs", json=ever, headers=account.key).json()

        def progress() -> Row:
            shown: Row = psp.get(f"/resend-jobs/{job['id']}", headers=account.key).json()
            return shown

        def comes_to(events_read: int, status: str = "running") -> None:
            deadline = time.monotonic() + 120
            while (shown := progress())["eventsRead"] < events_read or shown["status"] != status:
                assert time.monotonic() < deadline, shown
                time.sleep(0.01)

        with running(["cli.py", "worker"], tmp_path / "first.log", **worker) as first:
            comes_to(100)
            first.kill()
            first.wait()
        left = progress()
        assert left["status"] == "running", "it was killed in the middle"
        with running(["cli.py", "worker"], tmp_path / "second.log", **worker):
            # Its end comes after its last batch, perhaps a pause later, and perhaps after all has arrived.
            comes_to(count, "completed")
            deadline = time.monotonic() + 120
            while database.deliveries.count_documents({"state": "delivered"}) < count:
                assert time.monotonic() < deadline, "not all of it arrived"
                time.sleep(0.05)

        done = progress()
        assert (done["status"], done["eventsRead"], done["deliveriesMade"]) == ("completed", count, count)
        made = list(database.deliveries.find({"resend_id": job["id"]}, {"event_id": 1}))
        assert len(made) == len({row["event_id"] for row in made}) == count
        assert {request.headers["webhook-id"] for request in receiver.requests} == {row["event_id"] for row in made}
