"""The time of one claim among a million deliveries that are done, beside the same claim where none is.

A claim is what a dispatcher asks of the repository in one round: which targets wait, and a lease of as many deliveries
as it takes at most. In both databases the same waits; the leases are given back after each claim, outside of its time.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

from pymongo import WriteConcern

from benchmarks.delivery import backlog
from benchmarks.delivery.targets import Receivers, Subscribers, subscribe
from benchmarks.figures import Figure
from benchmarks.stack import BenchmarkFailed, Stack
from core import clock, ids
from core.database import Database
from repositories.deliveries import DeliveryRepository
from services.delivery import LEASE_S
from workers.dispatcher import HELD_AHEAD, SLOTS

PART = "claim"
GREATEST_RATIO = 1.5
ROOM = SLOTS + HELD_AHEAD
"""The most that one claim takes."""
WAITING = 5_000
CLAIMS = 40
"""In each database in a round, taking turns."""
WARM_UPS = 5
_BATCH = 5_000
_TEMPLATE_S = 30


def run(stack: Stack, receivers: Receivers, *, rounds: int, done: int, tell: Callable[[str], None]) -> list[Figure]:
    empty = Figure(PART, "among none that are done, median", "ms")
    full = Figure(PART, f"among {done:,}, median", "ms")
    ratio = Figure(PART, f"among {done:,} over none", greatest=GREATEST_RATIO)
    none_done = subscribe(stack, "claim_empty", receivers.answering)
    many_done = subscribe(stack, "claim_full", receivers.answering)
    tell("claim: delivering one for all to be like")
    template = _delivered(stack, many_done)
    _copy(stack, many_done, template, done, tell)
    for subscribers in (none_done, many_done):
        backlog.fill(stack, subscribers, WAITING)
    for number in range(rounds):
        tell(f"claim, round {number + 1} of {rounds}")
        empty_ms, full_ms = asyncio.run(_claim_in_turns(stack, none_done, many_done))
        empty.values.append(empty_ms)
        full.values.append(full_ms)
        ratio.values.append(full_ms / empty_ms)
    return [empty, full, ratio]


def _delivered(stack: Stack, subscribers: Subscribers) -> dict[str, Any]:
    """A delivery as a worker leaves it. Raises BenchmarkFailed."""
    deliveries = stack.client[subscribers.server.database]["deliveries"]
    backlog.add(stack, subscribers, subscribers.all[:1], 1)
    with stack.running_worker(subscribers.server.database):
        deadline = time.monotonic() + _TEMPLATE_S
        while (row := deliveries.find_one({"state": "delivered"})) is None:
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"A webhook was not delivered in {_TEMPLATE_S} s.")
            time.sleep(0.05)
    return row


def _copy(
    stack: Stack, subscribers: Subscribers, template: dict[str, Any], count: int, tell: Callable[[str], None]
) -> None:
    """As many rows of the same form, for all subscribers in turn."""
    deliveries = stack.client[subscribers.server.database].get_collection("deliveries", write_concern=WriteConcern(w=1))
    to = itertools.cycle(subscribers.all)
    for start in range(0, count, _BATCH):
        tell(f"claim: writing {start:,} of {count:,} deliveries that are done")
        rows = []
        for one in itertools.islice(to, min(_BATCH, count - start)):
            event_id = ids.fresh("evt")
            rows.append(
                {
                    **template,
                    "_id": ids.derived("dlv", event_id, one.endpoint_id, "0"),
                    "event_id": event_id,
                    "owner_id": one.account.id,
                    "target": one.endpoint_id,
                    "endpoint_id": one.endpoint_id,
                    "url": one.url,
                }
            )
        deliveries.insert_many(rows, ordered=False)
    stack.client.admin.command("fsync")


async def _claim_in_turns(stack: Stack, *both: Subscribers) -> tuple[float, float]:
    """The median time of a claim in each, in milliseconds."""
    databases = [Database(stack.uri, one.server.database, timeout_s=60) for one in both]
    times_ms: list[list[float]] = [[], []]
    for number in range(WARM_UPS + CLAIMS):
        for database, kept in zip(databases, times_ms, strict=True):
            took_ms = await _claim(DeliveryRepository(database))
            if number >= WARM_UPS:
                kept.append(took_ms)
    for database in databases:
        database.close()
    empty_ms, full_ms = (sorted(kept)[len(kept) // 2] for kept in times_ms)
    return empty_ms, full_ms


async def _claim(deliveries: DeliveryRepository) -> float:
    began_at = time.perf_counter()
    targets = list(await deliveries.first_due())
    room = dict.fromkeys(targets, ROOM // len(targets))
    for target in targets[: ROOM % len(targets)]:
        room[target] += 1
    now = clock.now()
    found = await deliveries.find_due(room, now)
    leased = await deliveries.lease([one for some in found.values() for one in some], now, lease_s=LEASE_S)
    took_ms = (time.perf_counter() - began_at) * 1000
    await deliveries.give_back(leased)
    if len(leased) != ROOM:
        raise BenchmarkFailed(f"{len(leased)} deliveries were claimed in place of {ROOM}.")
    return took_ms
