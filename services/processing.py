"""Taking due payments through the bank. (Until there is a bank simulator, every payment is approved.)"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from core import clock
from domain import payments as rules
from domain.payments import Change, MoveNotAllowed, Payment, Status
from repositories.payments import Leased, PaymentRepository, Write
from services.payments import outbox
from services.signals import Signals

_LOG = logging.getLogger(__name__)
BATCH = 250
LEASE_S = 10
"""How long a payment waits when its worker has died. A batch takes milliseconds; where it takes longer than this,
another worker begins too, and the lease's token lets only one of them write."""


class Processing:
    def __init__(self, payments: PaymentRepository, signals: Signals):
        self._payments = payments
        self._signals = signals

    async def process_batch(self) -> int:
        """Take up to a batch of due payments to their end. How many were taken on.

        The move to `processing` is written before anything else is done, and each write only while the lease stands:
        a worker that dies in between leaves a payment that is due, which another one takes on when the lease ends.
        """
        leased = await self._payments.lease_due(clock.now(), limit=BATCH, lease_s=LEASE_S)
        waiting = [one for one in leased if one.payment.status is Status.PENDING]
        begun = await self._write(waiting, rules.begin_processing, release=False)
        under_way = [one for one in leased if one.payment.status is Status.PROCESSING] + begun
        await self._write(under_way, rules.complete, release=True)
        return len(leased)

    async def next_due_at(self) -> datetime | None:
        return await self._payments.next_due_at()

    async def _write(
        self, leased: Sequence[Leased], decide: Callable[[Payment, datetime], Change], *, release: bool
    ) -> list[Leased]:
        """Decide and write for each. Those that were written, as they are now; the others are somebody else's now."""
        writes: list[tuple[Write, str]] = []
        for one in leased:
            try:
                change = decide(one.payment, clock.now())
            except MoveNotAllowed as error:
                _LOG.warning("left alone: %s", error)
                continue
            writes.append((Write(one.payment, change.payment, outbox(change)), one.token))
        written = await self._payments.save_leased(writes, release=release)
        if written:
            self._signals.outbox_filled()
        return [Leased(write.after, token) for write, token in writes if write.after.id in written]
