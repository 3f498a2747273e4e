"""Waking the workers of this process, and hinting to those of others."""

import asyncio
import logging
from collections.abc import Iterable

from core.database import DriverError
from repositories.outbox import Outbox
from repositories.signals import Hint, SignalRepository
from services.parcels import Fresh

_LOG = logging.getLogger(__name__)
SWEEP_S = 1.0
"""How long workers rest at most: what no bell announced is found by looking."""
_PAUSE_S = 0.01
"""Hints to other processes are at most this frequent, however much work arrives."""
_MOST_FRESH = 512
"""Deliveries that are kept for the dispatcher. Beyond that it looks for them: there is enough to do."""


class Signals:
    """Five bells, some with a note of where to look. Ringing one is free; whoever waits also looks by itself after a
    while, so none can be missed."""

    def __init__(self, signals: SignalRepository, *, tell_others: bool):
        self.payments = asyncio.Event()
        self.outbox = asyncio.Event()
        self.filled_outboxes: set[str] = set()
        """Since somebody took them out, by their collections' names."""
        self.deliveries = asyncio.Event()
        self.due_targets: set[str] = set()
        """Of what was made in this process since somebody took them out; what others made is found by a sweep."""
        self.fresh: list[Fresh] = []
        """What was made in this process and needs no looking for."""
        self.incoming = asyncio.Event()
        self.resends = asyncio.Event()
        self._signals = signals
        self._tell_others = tell_others
        self._untold = Hint()
        self._sender: asyncio.Task[None] | None = None

    def outbox_filled(self, outbox: Outbox) -> None:
        self._ring(Hint(frozenset({outbox.name})))

    def payment_due(self, after_s: float) -> None:
        """A payment will be due after this time. What is due later than a look away is found by looking."""
        if after_s < SWEEP_S:
            asyncio.get_running_loop().call_later(after_s, self.payments.set)
            self._tell(Hint(payments_due=True))

    def deliveries_due(self, targets: Iterable[str]) -> None:
        if not self._tell_others:
            self.due_targets.update(targets)
        self.deliveries.set()

    def deliveries_made(self, fresh: Iterable[Fresh]) -> None:
        for one in fresh:
            if len(self.fresh) < _MOST_FRESH:
                self.fresh.append(one)
            else:
                self.due_targets.add(one.candidate.target)
        self.deliveries.set()

    async def listen(self) -> None:
        """Ring whatever another process hints at, until the connection fails."""
        async for hint in self._signals.watch():
            self._ring(hint)

    async def close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()

    def _ring(self, hint: Hint) -> None:
        if hint.outboxes:
            self.filled_outboxes |= hint.outboxes
            self.outbox.set()
        if hint.payments_due:
            self.payments.set()
        self._tell(hint)

    def _tell(self, hint: Hint) -> None:
        if not self._tell_others:
            return
        self._untold = self._untold.and_also(hint)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while (hint := self._untold) != Hint():
            self._untold = Hint()
            try:
                await self._signals.send(hint)
            except DriverError as error:
                _LOG.debug("a signal was not sent: %s", error)
            await asyncio.sleep(_PAUSE_S)
