"""Sends webhooks: each target has a share of the slots, so one that hangs holds up nobody else."""

import asyncio
import contextlib
import logging
from urllib.parse import urlsplit

from core.database import DriverError
from domain.sending_slots import Result, SendingSlots
from services.delivery import Delivery, Parcel
from services.signals import SWEEP_S, Signals
from workers.loop import rest, seconds_until

SLOTS = 64
SLOTS_PER_TARGET = 8
RATE_PAUSE_S = 0.1
"""How soon a target that used up its rate is looked at again."""
_LOG = logging.getLogger(__name__)


class TargetRate:
    """A token bucket for each host: strangers can name any URL, and this keeps us from flooding whoever they name."""

    def __init__(self, per_second: float, burst: int):
        self._per_second = per_second
        self._burst = burst
        self._buckets: dict[str, tuple[float, float]] = {}

    def available(self, target: str) -> int:
        """How many may be sent to the target now."""
        return int(self._refilled(_host(target)))

    def use(self, target: str) -> None:
        host = _host(target)
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
        self._slots = SendingSlots(SLOTS, SLOTS_PER_TARGET)
        self._tasks: dict[asyncio.Task[None], Parcel] = {}

    async def run(self) -> None:
        try:
            while True:
                self._signals.deliveries.clear()
                targets = await self._delivery.waiting_targets()
                room = self._room(targets)
                if await self._fill_slots(room) == 0:
                    await rest(self._signals.deliveries, await self._pause_s(targets, room))
        finally:
            await self._give_back()

    async def _fill_slots(self, room: dict[str, int]) -> int:
        parcels = await self._delivery.lease(room)
        for parcel in parcels:
            if self._rate is not None:
                self._rate.use(parcel.delivery.target)
            began_at_s = asyncio.get_running_loop().time()
            self._slots.begin(parcel.delivery.target, began_at_s)
            task = asyncio.create_task(self._attempt(parcel, began_at_s))
            self._tasks[task] = parcel
            task.add_done_callback(self._tasks.pop)
        return len(parcels)

    def _room(self, targets: list[str]) -> dict[str, int]:
        """How many to lease for each target."""
        room = self._slots.room(targets, asyncio.get_running_loop().time())
        if self._rate is not None:
            room = {target: min(count, self._rate.available(target)) for target, count in room.items()}
        return {target: count for target, count in room.items() if count > 0}

    async def _attempt(self, parcel: Parcel, began_at_s: float) -> None:
        result: Result | None = None
        try:
            result = await self._delivery.attempt(parcel)
        except DriverError as error:
            _LOG.warning("the outcome of a delivery was not written, it will be sent again: %s", type(error).__name__)
        finally:
            self._slots.end(parcel.delivery.target, began_at_s, asyncio.get_running_loop().time(), result)
            self._signals.deliveries.set()

    async def _give_back(self) -> None:
        """Stop what is under way. (Where the database is lost as well, the leases end by themselves.)"""
        unfinished = dict(self._tasks)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        with contextlib.suppress(DriverError):
            await self._delivery.give_back(list(unfinished.values()))

    async def _pause_s(self, targets: list[str], room: dict[str, int]) -> float:
        """Until something is due for a target with room. One without room rings when an attempt of its ends."""
        if self._rate is not None and len(room) < len(targets):
            return RATE_PAUSE_S
        return seconds_until(await self._delivery.next_due_at(list(room))) if room else SWEEP_S


def _host(target: str) -> str:
    return urlsplit(target).hostname or target
