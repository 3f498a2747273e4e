"""Sends webhooks: each target has a share of the slots, so one that hangs holds up nobody else."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Mapping

from core import clock
from core.database import DriverError
from domain.sending_slots import Result, SendingSlots
from domain.target_rate import TargetRate, host_of
from domain.webhook_endpoints import Ordering, WebhookEndpoint
from services.delivery import Delivery
from services.parcels import Parcel
from services.signals import Signals
from workers.loop import rest, seconds_until

SLOTS = 128
"""How many are sent, or written down, at once."""
HELD_AHEAD = 384
"""How many are leased ahead of their slot, so that one look for work serves many. Only targets that answer get any."""
LOOK_BELOW = 192
"""As long as so many are held, nobody looks for more."""
HELD_AT_MOST_S = 5.0
"""Then what is held goes back: its lease has to last for a whole attempt. (See LEASE_S.)"""
RATE_PAUSE_S = 0.1
"""How soon a target that used up its rate is looked at again."""
_LOG = logging.getLogger(__name__)


class Dispatcher:
    """Fills free slots with due deliveries, target by target in turn."""

    def __init__(self, delivery: Delivery, signals: Signals, rate: TargetRate | None):
        self._delivery = delivery
        self._signals = signals
        self._rate = rate
        self._slots = SendingSlots(SLOTS)
        self._held: dict[str, deque[tuple[Parcel, float]]] = {}
        """By target: what is leased and waits for a slot, and since when."""
        self._beginning = False
        self._more_is_due = False
        self._tasks: dict[asyncio.Task[None], Parcel] = {}

    async def run(self) -> None:
        try:
            while True:
                self._signals.deliveries.clear()
                await self._let_go_of_what_waited_too_long()
                self._begin_what_there_is_room_for()
                pause_s = await self._look_for_work() if self._count_held() < LOOK_BELOW else HELD_AT_MOST_S
                if pause_s > 0:
                    await rest(self._signals.deliveries, pause_s)
        finally:
            await self._give_back()

    async def _look_for_work(self) -> float:
        """Lease what is wanted and begin what there is room for. How long to rest: not at all where there was any."""
        first_due, now = await self._delivery.first_due(), clock.now()
        due = [target for target, due_at in first_due.items() if due_at <= now]
        later = [due_at for due_at in first_due.values() if due_at > now]
        wanted = self._wanted(due)
        self._more_is_due = len(wanted) < len(due)
        if not wanted:
            return seconds_until(min(later, default=None))  # and where something is due, the end of an attempt rings
        endpoints = await self._delivery.endpoints(list(wanted))
        within_rate = self._within_rate({target: wanted[target] for target in endpoints}, endpoints)
        asked_at_s = _now_s()
        parcels = await self._delivery.lease(within_rate, endpoints)
        self._more_is_due |= len(parcels) == sum(within_rate.values())
        self._hold(parcels, asked_at_s)
        self._begin_what_there_is_room_for()
        if parcels:
            return 0
        if len(within_rate) < len(endpoints):
            return RATE_PAUSE_S
        # The first of each is under way somewhere.
        if next_due_at := await self._delivery.next_due_at(list(wanted)):
            later.append(next_due_at)
        return seconds_until(min(later, default=None))

    def _wanted(self, due: list[str]) -> dict[str, int]:
        """How many to lease for each target: what it has room for, and some ahead where it can be trusted."""
        now_s = _now_s()
        room = self._slots.room([target for target in due if target not in self._held], now_s)
        share = HELD_AHEAD // max(len(due), 1)
        for target in due:
            ahead = min(self._slots.window(target, now_s), share) - len(self._held.get(target, ()))
            if ahead > 0:
                room[target] = room.get(target, 0) + ahead
        return room

    def _within_rate(self, wanted: dict[str, int], endpoints: Mapping[str, WebhookEndpoint | None]) -> dict[str, int]:
        if self._rate is None:
            return wanted
        hosts = {target: host_of(one.url if one else target) for target, one in endpoints.items()}
        return self._rate.within(wanted, hosts, _now_s())

    def _hold(self, parcels: list[Parcel], since_s: float) -> None:
        for parcel in parcels:
            if self._rate is not None:
                self._rate.use(host_of(parcel.destination.url), _now_s())
            self._held.setdefault(parcel.delivery.target, deque()).append((parcel, since_s))

    def _begin_what_there_is_room_for(self) -> None:
        self._beginning = False
        now_s = _now_s()
        fresh = [target for target, waiting in self._held.items() if waiting[0][1] > now_s - HELD_AT_MOST_S]
        for target, count in self._slots.room(fresh, now_s).items():
            waiting = self._held[target]
            for _ in range(min(count, len(waiting))):
                self._begin(waiting.popleft()[0])
            if not waiting:
                del self._held[target]

    def _begin_soon(self) -> None:
        """Once the other callbacks of this turn of the loop have run, since many attempts end at once."""
        if self._held and not self._beginning:
            self._beginning = True
            asyncio.get_running_loop().call_soon(self._begin_what_there_is_room_for)

    def _begin(self, parcel: Parcel) -> None:
        began_at_s = _now_s()
        self._slots.begin(parcel.delivery.target, began_at_s, parcel.destination.limit)
        task = asyncio.create_task(self._attempt(parcel, began_at_s))
        self._tasks[task] = parcel
        task.add_done_callback(self._tasks.pop)

    async def _attempt(self, parcel: Parcel, began_at_s: float) -> None:
        result: Result | None = None
        try:
            try:
                sent = await self._delivery.send(parcel)
                result = sent.result
            finally:
                self._slots.end(parcel.delivery.target, began_at_s, _now_s(), result)
                self._begin_soon()
            await self._delivery.record(sent)
        except DriverError as error:
            _LOG.warning("what an attempt came to was not written, it may be made again: %s", type(error).__name__)
        finally:
            self._slots.record()
            self._begin_soon()
            endpoint = parcel.destination.endpoint
            in_order = endpoint is not None and endpoint.ordering is Ordering.OBJECT
            if self._more_is_due or in_order or result is not Result.SUCCESS:
                self._signals.deliveries.set()

    async def _let_go_of_what_waited_too_long(self) -> None:
        since_s = _now_s() - HELD_AT_MOST_S
        late: list[Parcel] = []
        for target, waiting in list(self._held.items()):
            while waiting and waiting[0][1] <= since_s:
                late.append(waiting.popleft()[0])
            if not waiting:
                del self._held[target]
        if late:
            await self._delivery.give_back(late)

    def _count_held(self) -> int:
        return sum(map(len, self._held.values()))

    async def _give_back(self) -> None:
        """Stop what is under way. (Where the database is lost as well, the leases end by themselves.)"""
        held = [parcel for waiting in self._held.values() for parcel, _ in waiting]
        self._held = {}
        unfinished = dict(self._tasks)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        with contextlib.suppress(DriverError):
            await self._delivery.give_back([*unfinished.values(), *held])


def _now_s() -> float:
    return asyncio.get_running_loop().time()
