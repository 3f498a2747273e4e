"""Charges, while API processes, workers and mongod are killed at random: nothing is lost, and everything is told.

`make chaos` runs it for longer: CHAOS_KILLS, CHAOS_KILL_EVERY_S and CHAOS_CHARGES_PER_S say how long and how hard.
"""

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pymongo
import pytest

from core import embedded_mongo
from tests.books import Documents
from tests.chaos.charges import Charges
from tests.chaos.fleet import KINDS, Fleet
from tests.chaos.judge import Judge, Target
from tests.chaos.receivers import Receivers, receiving
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, QUICK, READY_S, free_port
from tests.factories import Account, Psp
from tests.scale import SEED
from workers.dispatcher import SLOTS

pytestmark = pytest.mark.long
KILLS = int(os.environ.get("CHAOS_KILLS", "30"))
KILL_EVERY_S = float(os.environ.get("CHAOS_KILL_EVERY_S", "4"))
CHARGES_PER_S = float(os.environ.get("CHAOS_CHARGES_PER_S", "40"))
SCHEDULE_S = (0.5, 0.5, 1, 1, 1, 2, 2, 2, 2)
"""Ten attempts, half of which fail: one delivery in a thousand becomes a dead letter."""
SHORT_TIMEOUT_S = 1
STALLED_S = 180
"""Without any progress for so long, nothing more will come: several times what a lease and an attempt take together."""
ACCOUNTS, OWN_ORIGINS = 8, 6
"""A target in trouble is sent little at once, so that there must be many to be told of 40 charges a second."""
LOOK_S = 2
REPLAYED = 100
DATABASE = "mock_psp"
Record = Callable[[str, object], None]
_LOG = logging.getLogger(__name__)


@asynccontextmanager
async def fleet_of(data_dir: Path, apis: Sequence[str]) -> AsyncIterator[Fleet]:
    """Two API processes without workers, two workers, and the embedded mongod."""
    settings = {**QUICK, "WEBHOOK_RETRY_SCHEDULE": ",".join(map(str, SCHEDULE_S)), "WORKER": "off"}
    fleet = Fleet(data_dir)
    for number, url in enumerate(apis, 1):
        fleet.add(f"api-{number}", "serve", PORT=url.rpartition(":")[2], **settings)
    for number in (1, 2):
        fleet.add(f"worker-{number}", "worker", **settings)
    async with fleet:
        deadline = time.monotonic() + READY_S
        async with aiohttp.ClientSession() as session:
            for url in apis:
                while not await is_ready(session, url):
                    assert time.monotonic() < deadline, f"{url} does not come up"
                    await asyncio.sleep(0.1)
        yield fleet


async def is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/api/v1/status") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@dataclass(frozen=True)
class Subscription:
    pattern: str
    wants: Callable[[str], bool]
    ordered: bool = False


EVERYTHING = Subscription("*", lambda event_type: True)
COMPLETED = Subscription("payment.completed", lambda event_type: event_type == "payment.completed")
PAYMENTS = Subscription("payment.*", lambda event_type: event_type.startswith("payment."))
SUBSCRIPTIONS = ([EVERYTHING, COMPLETED], [PAYMENTS], [EVERYTHING, COMPLETED], [replace(PAYMENTS, ordered=True)])
"""Of one account after the other."""


async def accounts_with_endpoints(url: str, receivers: Receivers) -> tuple[list[Account], dict[str, list[Target]]]:
    accounts, subscribed = [], {}
    with httpx.Client(base_url=url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        for number in range(ACCOUNTS):
            account = await asyncio.to_thread(psp.register)
            accounts.append(account)
            subscribed[account.id] = [
                await endpoint(psp, account, receivers, one, f"{one.pattern} of {number}")
                for one in SUBSCRIPTIONS[number % len(SUBSCRIPTIONS)]
            ]
    return accounts, subscribed


async def endpoint(psp: Psp, account: Account, receivers: Receivers, one: Subscription, name: str) -> Target:
    url = await receivers.listen(name)
    body = {
        "url": url,
        "events": [one.pattern],
        "timeout": SHORT_TIMEOUT_S,
        "ordering": "object" if one.ordered else "none",
    }
    made = await asyncio.to_thread(psp.post, "/webhook-endpoints", json=body, headers=account.key)
    assert made.status_code == 201, made.text
    return Target(name, url, made.json()["id"], one.wants, one.ordered)


async def until_quiet(database: Documents, receivers: Receivers, charges: Charges) -> None:
    """Until nothing is left to do. It may take as long as it likes, while there is progress."""
    seen, since = None, time.monotonic()
    while True:
        left = {"charges": charges.made - len(charges.answers), **await asyncio.to_thread(work_left, database)}
        if not any(left.values()):
            return
        if (left, receivers.total()) != seen:
            seen, since = (left, receivers.total()), time.monotonic()
        assert time.monotonic() - since < STALLED_S, f"nothing happens any more: {left}"
        _LOG.info("left: %s", left)
        await asyncio.sleep(LOOK_S)


def work_left(database: Documents) -> dict[str, int]:
    return {
        "payments": database["payments"].count_documents({"due_at": {"$exists": True}}),
        "outboxes": database["payments"].count_documents({"outbox.0": {"$exists": True}}),
        "deliveries": database["deliveries"].count_documents({"state": "pending"}),
    }


async def test_nothing_is_lost_while_processes_are_killed_at_random(tmp_path: Path, record_property: Record) -> None:
    chance, began_at_s = random.Random(SEED), time.monotonic()
    mongo = await asyncio.to_thread(embedded_mongo.start, tmp_path / "data")
    apis = [f"http://127.0.0.1:{free_port()}" for _ in (1, 2)]
    try:
        async with (
            receiving() as receivers,
            fleet_of(tmp_path / "data", apis) as fleet,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            accounts, subscribed = await accounts_with_endpoints(apis[0], receivers)
            own = [Target(f"own-{number}", await receivers.listen(f"own-{number}")) for number in range(OWN_ORIGINS)]
            charges = Charges(session, apis, accounts, [target.url for target in own])

            charging = asyncio.create_task(charges.go_on(CHARGES_PER_S))
            load_began_at_s = time.monotonic()
            victims = [KINDS[number % len(KINDS)] for number in range(KILLS)]
            chance.shuffle(victims)
            for number, kind in enumerate(victims, 1):
                await asyncio.sleep(chance.uniform(0, 2 * KILL_EVERY_S))
                fleet.kill_one(kind, chance)
                _LOG.info(
                    "kill %s: %s, %s charges, %s arrivals",
                    number,
                    dict(fleet.kills),
                    charges.made,
                    receivers.total(),
                )
            await asyncio.sleep(KILL_EVERY_S)
            charging.cancel()
            await asyncio.wait({charging})
            assert charging.cancelled(), "charging has ended by itself"
            load_s = time.monotonic() - load_began_at_s

            with pymongo.MongoClient[dict[str, Any]](mongo.uri, tz_aware=True) as client:
                database = client[DATABASE]
                await until_quiet(database, receivers, charges)
                assert not charges.refused
                assert not fleet.ended, "\n".join(fleet.ended)
                judge = Judge(database, receivers, subscribed, own)
                judge.nothing_waits()
                judge.every_charge_is_there(charges.payment_ids())
                for account in accounts:
                    judge.events_are_the_changes(account.id)
                figures = judge.everything_was_delivered(len(SCHEDULE_S) + 1)
                assert max(figures.repeats, figures.unrecorded) <= KILLS * SLOTS, figures
                await replays_are_equal(charges, apis, chance)
    finally:
        await asyncio.to_thread(mongo.close)
    record_property(
        "proof",
        f"chaos: {KILLS} kills ({counts(fleet.kills)}; {fleet.failed_starts} starts failed) in {load_s:.0f} s; "
        f"{charges.made} charges (repeated: {counts(charges.repeated)}), {figures.events} events, "
        f"{figures.deliveries} deliveries, {receivers.total()} arrivals ({counts(receivers.by_fate())}), "
        f"{figures.dead} dead letters, {figures.unrecorded} attempts not recorded (at most {KILLS * SLOTS}), "
        f"{figures.repeats} repeats after a whole 200, {figures.late} after a late one; "
        f"{time.monotonic() - began_at_s:.0f} s in all",
    )


def counts(of: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(of.items()))


async def replays_are_equal(charges: Charges, apis: Sequence[str], chance: random.Random) -> None:
    """The same key is answered as it was, to the byte, by either process."""
    for number in chance.sample(sorted(charges.answers), min(REPLAYED, len(charges.answers))):
        assert await charges.once(number, chance.choice(apis)) == (201, charges.answers[number])
