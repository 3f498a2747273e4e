"""Who may send how much at once: fair turns for targets, and a bound on what those in trouble can hold.

A target earns trust by a quick success and loses it by a failure, or by an attempt that is under way for too long. All
targets without trust share a quarter of the slots, so that however many of them hang, three quarters are left for
those that answer. How much one target may have under way grows by one with each quick success and halves when it says
that it is overloaded or does not answer in time (additive increase, multiplicative decrease, as in RFC 5681).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

SLOW_S = 2.0
"""An attempt that takes longer has taken a slot from somebody who would have used it better."""
UNTRUSTED_SHARE = 4
"""Targets without trust get one slot in so many."""
MOST_REMEMBERED = 10_000


class Result(Enum):
    """What an attempt says of its target."""

    SUCCESS = auto()
    FAILURE = auto()
    OVERLOAD = auto()
    """It asked for less, or did not answer in time."""


@dataclass(slots=True)
class _Target:
    limit: int
    """How many the target itself allows."""
    most: int = 1
    """How many may be under way; between 1 and the limit."""
    trusted: bool = False
    began_at_s: list[float] = field(default_factory=list)
    """When each attempt that is under way began, oldest first."""

    def trusted_at(self, now_s: float) -> bool:
        return self.trusted and not (self.began_at_s and now_s - self.began_at_s[0] > SLOW_S)


class SendingSlots:
    """Counts what is under way. Times are seconds of any one clock that never goes back."""

    def __init__(self, slots: int):
        self._slots = slots
        self._unrecorded = 0
        self._targets: dict[str, _Target] = {}
        self._busy: dict[str, _Target] = {}
        """Those to which something is under way."""

    def room(self, waiting: Sequence[str], now_s: float) -> dict[str, int]:
        """How many may be taken now for each of the targets that wait: one each in turn, in this order, until nothing
        is left."""
        free = self._slots - self._unrecorded - sum(len(target.began_at_s) for target in self._busy.values())
        held = sum(len(target.began_at_s) for target in self._busy.values() if not target.trusted_at(now_s))
        free_untrusted = self._slots // UNTRUSTED_SHARE - held
        room: dict[str, int] = {}
        candidates = list(waiting)
        while free > 0 and candidates:
            still = []
            for name in candidates:
                target = self._targets.get(name)
                trusted = target is not None and target.trusted_at(now_s)
                under_way = room.get(name, 0) + (len(target.began_at_s) if target else 0)
                most = self._most(target)
                if under_way >= most or (not trusted and free_untrusted <= 0):
                    continue
                room[name] = room.get(name, 0) + 1
                free_untrusted -= not trusted
                free -= 1
                still.append(name)
                if free <= 0:
                    break
            candidates = still
        return room

    def window(self, name: str, now_s: float) -> int:
        """How many a target may have under way, where it can be trusted; nothing for others."""
        target = self._targets.get(name)
        return self._most(target) if target is not None and target.trusted_at(now_s) else 0

    def _most(self, target: _Target | None) -> int:
        """However healthy it was: if it hangs now, it holds no more than those in trouble may hold together."""
        return min(target.most, target.limit, self._slots // UNTRUSTED_SHARE) if target is not None else 1

    def begin(self, name: str, now_s: float, limit: int) -> None:
        """An attempt begins, to a target that allows so many at once."""
        if len(self._targets) > MOST_REMEMBERED:
            self._targets = dict(self._busy)
        target = self._targets.setdefault(name, _Target(limit))
        target.limit = limit
        target.began_at_s.append(now_s)
        self._busy[name] = target

    def record(self) -> None:
        """What an attempt came to is written down: its slot is free."""
        self._unrecorded -= 1

    def end(self, name: str, began_at_s: float, now_s: float, result: Result | None) -> None:
        """The attempt that began then has ended, and its target may have the next; None where nothing was learned of
        it. The slot is taken until record()."""
        target = self._targets[name]
        self._unrecorded += 1
        if len(target.began_at_s) == 1:
            del self._busy[name]
        target.began_at_s.remove(began_at_s)
        if result is None:
            return
        target.trusted = result is Result.SUCCESS and now_s - began_at_s <= SLOW_S
        if target.trusted:
            target.most = min(target.most + 1, target.limit)
        elif result is Result.OVERLOAD:
            target.most = max(target.most // 2, 1)
