"""Sends webhooks: each target has a share of the slots, so one that hangs holds up nobody else."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

from core import clock
from core.database import DriverError
from domain.sending_slots import Result, SendingSlots
from domain.webhook_endpoints import WebhookEndpoint
from services.delivery import Delivery
from services.parcels import Parcel
from services.signals import Signals
from workers.loop import rest, seconds_until

SLOTS = 64
RATE_PAUSE_S = 0.1
"""How soon a target that used up its rate is looked at again."""
_LOG = logging.getLogger(__name__)


class TargetRate:
    """A token bucket for each host: strangers can name any URL, and this keeps us from flooding whoever they name."""

    def __init__(self, per_second: float, burst: int):
        self._per_second = per_second
        self._burst = burst
        self._buckets: dict[str, tuple[float, float]] = {}

    def available(self, host: str) -> int:
        """How many may be sent there now."""
        return int(self._refilled(host))

    def use(self, host: str) -> None:
        self._buckets[host] = (self._refilled(host) - 1, asyncio.get_running_loop().time())
        if len(self._buckets) > 10_000:
            self._buckets = {
                name: bucket for name, bucket in self._buckets.items() if self._refilled(name) < self._burst
            }

    def _refilled(self, host: str) -> float:
        tokens, at = self._buckets.get(host, (float(self._burst), 0.0))
        return min(self._burst, tokens + (asyncio.get_running_loop().time() - at) * self._per_second)


class Dispatcher:
    """Fills free slots with due deliveries, target by target in turn."""

    def __init__(self, delivery: Delivery, signals: Signals, rate: TargetRate | None):
        self._delivery = delivery
        self._signals = signals
        self._rate = rate
        self._slots = SendingSlots(SLOTS)
        self._tasks: dict[asyncio.Task[None], Parcel] = {}

    async def run(self) -> None:
        try:
            while True:
                self._signals.deliveries.clear()
                pause_s = await self._round()
                if pause_s > 0:
                    await rest(self._signals.deliveries, pause_s)
        finally:
            await self._give_back()

    async def _round(self) -> float:
        """Begin what there is room for. How long to rest: not at all where something was begun."""
        first_due, now = await self._delivery.first_due(), clock.now()
        later = [due_at for due_at in first_due.values() if due_at > now]
        due = [target for target, due_at in first_due.items() if due_at <= now]
        room = self._slots.room(due, _now_s())
        if not room:
            # Where a target has no room, the end of an attempt rings.
            return seconds_until(min(later, default=None))
        endpoints = await self._delivery.endpoints(list(room))
        within_rate = self._within_rate({target: room[target] for target in endpoints}, endpoints)
        parcels = await self._delivery.lease(within_rate, endpoints)
        for parcel in parcels:
            self._begin(parcel)
        if parcels:
            return 0
        if len(within_rate) < len(endpoints):
            return RATE_PAUSE_S
        # The first of each is under way somewhere.
        next_due_at = await self._delivery.next_due_at(list(room))
        return seconds_until(min([*later, *([next_due_at] if next_due_at else [])], default=None))

    def _within_rate(self, room: dict[str, int], endpoints: Mapping[str, WebhookEndpoint | None]) -> dict[str, int]:
        if self._rate is None:
            return room
        allowed = {
            target: min(count, self._rate.available(_host(endpoint.url if (endpoint := endpoints[target]) else target)))
            for target, count in room.items()
        }
        return {target: count for target, count in allowed.items() if count > 0}

    def _begin(self, parcel: Parcel) -> None:
        target, destination, began_at_s = parcel.delivery.target, parcel.destination, _now_s()
        if self._rate is not None:
            self._rate.use(_host(destination.url))
        self._slots.begin(target, began_at_s, destination.limit)
        task = asyncio.create_task(self._attempt(parcel, began_at_s))
        self._tasks[task] = parcel
        task.add_done_callback(self._tasks.pop)

    async def _attempt(self, parcel: Parcel, began_at_s: float) -> None:
        result: Result | None = None
        try:
            result = await self._delivery.attempt(parcel)
        except DriverError as error:
            _LOG.warning("what an attempt came to was not written, it may be made again: %s", type(error).__name__)
        finally:
            self._slots.end(parcel.delivery.target, began_at_s, _now_s(), result)
            self._signals.deliveries.set()

    async def _give_back(self) -> None:
        """Stop what is under way. (Where the database is lost as well, the leases end by themselves.)"""
        unfinished = dict(self._tasks)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        with contextlib.suppress(DriverError):
            await self._delivery.give_back(list(unfinished.values()))


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _now_s() -> float:
    return asyncio.get_running_loop().time()
