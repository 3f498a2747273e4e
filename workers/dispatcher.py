"""Sends webhooks: each target has a share of the slots, so one that hangs holds up nobody else."""

import asyncio
import contextlib
import math
from collections import deque
from datetime import datetime

from core import clock
from core.database import DriverError
from core.logs import structured_logger
from domain.due_targets import DueTargets
from domain.sending_slots import Result, SendingSlots
from domain.target_rate import TargetRate, host_of
from domain.webhook_endpoints import Ordering
from services.delivery import Delivery, Found, Sent
from services.parcels import Fresh, Parcel
from services.signals import SWEEP_S, Signals
from workers.loop import rest

SLOTS = 128
"""How many are sent, or written down, at once."""
HELD_AHEAD = 768
"""How many are leased ahead of their slot, so that one look for work serves many. Only targets that answer get any."""
LOOK_BELOW = 384
"""As long as so many are held, nobody looks for more."""
HELD_AT_MOST_S = 5.0
"""Then what is held goes back: its lease has to last for a whole attempt. (See LEASE_S.)"""
RATE_PAUSE_S = 0.1
"""How soon a target that used up its rate is looked at again."""
SWEEPS_SHARE = 10
"""A sweep over very many targets takes its time, and comes so many times less often."""
_LOG = structured_logger("mock_psp.worker")


class Dispatcher:
    """Fills free slots with due deliveries, target by target in turn."""

    def __init__(self, delivery: Delivery, signals: Signals, rate: TargetRate | None):
        self._delivery = delivery
        self._signals = signals
        self._rate = rate
        self._slots = SendingSlots(SLOTS)
        self._due = DueTargets()
        self._sweep_at_s = -math.inf
        self._held: dict[str, deque[tuple[Parcel, float]]] = {}
        """By target, those that were sent nothing for the longest time first: what is leased and waits for a slot, and
        since when."""
        self._beginning = False
        self._unanswered: dict[asyncio.Task[None], Parcel] = {}
        self._attempts: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled. After an error it can be run again: what is under way goes on meanwhile."""
        while True:
            self._signals.deliveries.clear()
            await self._let_go_of_what_waited_too_long()
            self._begin_what_there_is_room_for()
            if _now_s() >= self._sweep_at_s:
                await self._sweep()
            if not await self._look_for_work():
                await rest(self._signals.deliveries, self._pause_s())

    async def stop(self) -> None:
        """End what has no answer yet, and write down what has. Where the database is lost as well, the leases end by
        themselves."""
        held = [parcel for waiting in self._held.values() for parcel, _ in waiting]
        self._held = {}
        unanswered = dict(self._unanswered)
        for task in unanswered:
            task.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)
        with contextlib.suppress(DriverError):
            await self._delivery.give_back([*held, *unanswered.values()])

    async def _sweep(self) -> None:
        """See to what no hint told of: what others published, what waited for its retry, what a killed worker left."""
        began_at_s = _now_s()
        first_due, now = await self._delivery.first_due(), clock.now()
        for target, due_at in first_due.items():
            self._add(target, due_at, now)
        took_s = _now_s() - began_at_s
        self._sweep_at_s = _now_s() + max(SWEEP_S, SWEEPS_SHARE * took_s)

    async def _look_for_work(self) -> bool:
        """Lease what is wanted, and begin what there is room for. False where nothing is wanted."""
        for target in self._signals.due_targets:
            self._due.add(target)
        self._signals.due_targets.clear()
        fresh = self._fresh()
        if fresh.due:
            await self._lease(fresh)
        wanted = self._wanted() if self._count_held() < LOOK_BELOW else {}
        if not wanted:
            return bool(fresh.due)
        for target in wanted:
            self._due.discard(target)
        found = await self._delivery.look(wanted)
        for target, candidates in found.due.items():
            if len(candidates) >= wanted[target]:
                self._due.add(target)  # there may be more
        await self._lease(found)
        return True

    def _fresh(self) -> Found:
        """What was published just now, where there is room for it at once. Where more waits, or has an order, it is
        looked for like everything else."""
        by_target: dict[str, list[Fresh]] = {}
        for one in self._signals.fresh:
            by_target.setdefault(one.candidate.target, []).append(one)
        self._signals.fresh = []
        now_s = _now_s()
        waiting = {*self._due.due(now_s), *self._held}
        alone = [target for target, some in by_target.items() if target not in waiting and not some[-1].in_order]
        room = self._slots.room(alone, now_s) if alone else {}
        chosen = {}
        for target, some in by_target.items():
            if len(some) <= room.get(target, 0):
                chosen[target] = some
            else:
                self._due.add(target)
        return Found.published(chosen)

    async def _lease(self, found: Found) -> None:
        asked_at_s = _now_s()
        self._keep_within_rate(found)
        self._hold(await self._delivery.lease(found), asked_at_s)
        self._begin_what_there_is_room_for()

    def _wanted(self) -> dict[str, int]:
        """How many to lease for each target that is due: what it has room for, and some ahead where it is trusted."""
        now_s = _now_s()
        due = self._due.due(now_s)
        room = self._slots.room([target for target in due if target not in self._held], now_s)
        share = HELD_AHEAD // max(len(due), 1)
        for target in due:
            ahead = min(2 * self._slots.window(target, now_s), share) - len(self._held.get(target, ()))
            if ahead > 0:
                room[target] = room.get(target, 0) + ahead
        return room

    def _keep_within_rate(self, found: Found) -> None:
        """Leave what is beyond the rate of its host for later."""
        if self._rate is None:
            return
        hosts = {target: host_of(one.url if one else target) for target, one in found.endpoints.items()}
        counts = {target: len(candidates) for target, candidates in found.due.items()}
        allowed = self._rate.within(counts, hosts, _now_s())
        for target, candidates in found.due.items():
            if len(candidates) > (most := allowed.get(target, 0)):
                del candidates[most:]
                self._due.discard(target)
                self._due.add_at(target, _now_s() + RATE_PAUSE_S)

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
            waiting = self._held.pop(target)
            for _ in range(min(count, len(waiting))):
                self._begin(waiting.popleft()[0])
            if waiting:
                self._held[target] = waiting  # now the last in turn

    def _begin_soon(self) -> None:
        """Once the other callbacks of this turn of the loop have run, since many attempts end at once."""
        if self._held and not self._beginning:
            self._beginning = True
            asyncio.get_running_loop().call_soon(self._begin_what_there_is_room_for)

    def _begin(self, parcel: Parcel) -> None:
        began_at_s = _now_s()
        self._slots.begin(parcel.delivery.target, began_at_s, parcel.destination.limit)
        task = asyncio.create_task(self._attempt(parcel, began_at_s))
        self._attempts.add(task)
        self._unanswered[task] = parcel
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        self._unanswered.pop(task, None)

    async def _attempt(self, parcel: Parcel, began_at_s: float) -> None:
        """Send, and write down what came of it. Once the answer is there, stopping waits for it to be written."""
        target = parcel.delivery.target
        result: Result | None = None
        try:
            try:
                sent = await self._delivery.send(parcel)
                result = sent.result
                if task := asyncio.current_task():
                    self._unanswered.pop(task, None)
            finally:
                self._slots.end(target, began_at_s, _now_s(), result)
                self._begin_soon()
            await self._record(sent)
        except DriverError as error:
            _LOG.warning(
                f"what an attempt came to was not written, it may be made again: {type(error).__name__}",
                request_id=parcel.message.request_id,
                event_id=parcel.delivery.event_id,
                delivery_id=parcel.delivery.id,
            )
        finally:
            self._slots.record()
            self._begin_soon()
            # Somebody may wait for the room that there is now.
            self._signals.deliveries.set()

    async def _record(self, sent: Sent) -> None:
        target, endpoint = sent.parcel.delivery.target, sent.parcel.destination.endpoint
        due_at = await self._delivery.record(sent)
        if due_at is not None:
            self._add(target, due_at, clock.now())
        if endpoint is not None and endpoint.ordering is Ordering.OBJECT:
            self._due.add(target)  # its successor was not to be seen before

    def _add(self, target: str, due_at: datetime, now: datetime) -> None:
        """A target has something that is due then. What is further away than the next sweep is left to that."""
        wait_s = (due_at - now).total_seconds()
        if wait_s <= 0:
            self._due.add(target)
        elif wait_s <= 2 * SWEEP_S:
            self._due.add_at(target, _now_s() + wait_s)

    async def _let_go_of_what_waited_too_long(self) -> None:
        since_s = _now_s() - HELD_AT_MOST_S
        late: list[Parcel] = []
        for target, waiting in list(self._held.items()):
            while waiting and waiting[0][1] <= since_s:
                late.append(waiting.popleft()[0])
                self._due.add(target)
            if not waiting:
                del self._held[target]
        if late:
            await self._delivery.give_back(late)

    def _count_held(self) -> int:
        return sum(map(len, self._held.values()))

    def _pause_s(self) -> float:
        """Until the next sweep, or until something is due before it."""
        moments_s = [self._sweep_at_s, *([next_s] if (next_s := self._due.next_at_s()) is not None else [])]
        return max(min(moments_s) - _now_s(), 0.001)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
