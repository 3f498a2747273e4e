"""Waking the workers of this process, and hinting to those of others."""

import asyncio
import logging
from collections.abc import Iterable

from core.database import DriverError
from repositories.signals import SignalRepository

_LOG = logging.getLogger(__name__)
SWEEP_S = 1.0
"""How long workers rest at most: what no bell announced is found by looking."""
_PAUSE_S = 0.02
"""Hints to other processes are at most this frequent, however much work arrives."""


class Signals:
    """Five bells. Ringing one is free; whoever waits also looks by itself after a while, so none can be missed."""

    def __init__(self, signals: SignalRepository, *, tell_others: bool):
        self.payments = asyncio.Event()
        self.outbox = asyncio.Event()
        self.deliveries = asyncio.Event()
        self.due_targets: set[str] = set()
        """Of what was made in this process since somebody took them out; what others made is found by a sweep."""
        self.incoming = asyncio.Event()
        self.resends = asyncio.Event()
        self._signals = signals
        self._tell_others = tell_others
        self._unsent = False
        self._sender: asyncio.Task[None] | None = None

    def outbox_filled(self) -> None:
        self.outbox.set()
        self._tell()

    def payment_due(self, after_s: float) -> None:
        """A payment will be due after this time. What is due later than a look away is found by looking."""
        if after_s < SWEEP_S:
            asyncio.get_running_loop().call_later(after_s, self.payments.set)
            self._tell()

    def deliveries_due(self, targets: Iterable[str]) -> None:
        if not self._tell_others:
            self.due_targets.update(targets)
        self.deliveries.set()

    def ring_all(self) -> None:
        for bell in (self.payments, self.outbox, self.deliveries):
            bell.set()

    async def listen(self) -> None:
        """Ring whatever another process hints at, until the connection fails."""
        async for _ in self._signals.watch():
            self.ring_all()

    async def close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()

    def _tell(self) -> None:
        if not self._tell_others:
            return
        self._unsent = True
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._unsent:
            self._unsent = False
            try:
                await self._signals.send()
            except DriverError as error:
                _LOG.debug("a signal was not sent: %s", error)
            await asyncio.sleep(_PAUSE_S)
