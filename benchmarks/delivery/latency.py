"""From an event to its receipt at 200 events a second, beside bare posts at the same rate, in turns.

The event is the creation of a customer over HTTP, and its moment the `timestamp` that stands in its body: the API takes
it before it writes. What follows it is inside: the write of the change, the hint to the worker, publishing, leasing,
signing and posting. The bare post's moment is the one just before it is signed and posted.
"""

import asyncio
import itertools
import json
from collections.abc import Callable

import aiohttp

from benchmarks.client import API
from benchmarks.delivery.bodies import customer_fields
from benchmarks.delivery.targets import Receivers, Subscribers
from benchmarks.figures import Figure, percentile
from benchmarks.stack import BenchmarkFailed, Stack

PART = "latency"
RATE_PER_S = 200
GREATEST_P50_MS, GREATEST_P99_MS = 15.0, 60.0
WARM_UP_S = 2.0
ARRIVAL_S = 30.0


def run(
    stack: Stack,
    receivers: Receivers,
    subscribers: Subscribers,
    *,
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> list[Figure]:
    bare_p50, bare_p99 = Figure(PART, "bare post, p50", "ms"), Figure(PART, "bare post, p99", "ms")
    p50, p99 = Figure(PART, "event to receipt, p50", "ms"), Figure(PART, "event to receipt, p99", "ms")
    beyond_p50 = Figure(PART, "beyond the bare post, p50", "ms", greatest=GREATEST_P50_MS)
    beyond_p99 = Figure(PART, "beyond the bare post, p99", "ms", greatest=GREATEST_P99_MS)
    with stack.running_worker(subscribers.server.database):
        tell("latency: warming up")
        _of_events(receivers, subscribers, WARM_UP_S)
        for number in range(rounds):
            # There and back, so that who comes first has no advantage.
            for name in ("bare", "events") if number % 2 == 0 else ("events", "bare"):
                tell(f"latency, round {number + 1} of {rounds}: {name}")
                if name == "bare":
                    bare_ms = _of_bare_posts(stack, receivers, seconds)
                else:
                    events_ms = _of_events(receivers, subscribers, seconds)
            bare_p50.values.append(percentile(bare_ms, 50))
            bare_p99.values.append(percentile(bare_ms, 99))
            p50.values.append(percentile(events_ms, 50))
            p99.values.append(percentile(events_ms, 99))
            beyond_p50.values.append(p50.values[-1] - bare_p50.values[-1])
            beyond_p99.values.append(p99.values[-1] - bare_p99.values[-1])
    return [bare_p50, bare_p99, p50, p99, beyond_p50, beyond_p99]


def _of_bare_posts(stack: Stack, receivers: Receivers, seconds: float) -> list[float]:
    expected = receivers.posts + int(RATE_PER_S * seconds)
    receivers.keep()
    arguments = ["--paced", str(RATE_PER_S), str(seconds), *map(str, receivers.answering)]
    with stack.running_bare_sender(*arguments) as process:
        process.wait(seconds + ARRIVAL_S)
    receivers.wait_for(expected, ARRIVAL_S)
    return receivers.latencies_ms()


def _of_events(receivers: Receivers, subscribers: Subscribers, seconds: float) -> list[float]:
    expected = receivers.posts + int(RATE_PER_S * seconds)
    receivers.keep()
    asyncio.run(_create_customers(subscribers, int(RATE_PER_S * seconds)))
    receivers.wait_for(expected, ARRIVAL_S)
    return receivers.latencies_ms()


async def _create_customers(subscribers: Subscribers, count: int) -> None:
    """At the rate, whether those before have been answered or not."""
    keys = itertools.cycle([one.account.api_key for one in subscribers.all])
    url, loop = f"{subscribers.server.url}{API}/customers", asyncio.get_running_loop()
    body = json.dumps(customer_fields()).encode()

    async def create(session: aiohttp.ClientSession) -> None:
        headers = {"X-API-Key": next(keys), "Content-Type": "application/json"}
        async with session.post(url, data=body, headers=headers) as response:
            await response.read()
            if response.status != 201:
                raise BenchmarkFailed(f"A customer's creation was answered with {response.status}.")

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        began_at = loop.time()
        for number in range(count):
            await asyncio.sleep(began_at + number / RATE_PER_S - loop.time())
            tasks.create_task(create(session))
