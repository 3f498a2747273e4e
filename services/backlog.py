"""How long workers have left undone what is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core import clock
from repositories.deliveries import DeliveryRepository
from repositories.outbox import Outbox
from repositories.payments import PaymentRepository

_LOOKED_AT = 1_000
"""Objects of an outbox. The oldest event need not be of the oldest object."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """For how many seconds the oldest of each has been due; None where nothing is."""

    events_s: float | None
    """To be published."""
    payments_s: float | None
    """To go on, at the bank for instance."""
    webhooks_s: float | None
    """To be sent."""

    @property
    def oldest_s(self) -> float | None:
        waits = [one for one in (self.events_s, self.payments_s, self.webhooks_s) if one is not None]
        return max(waits, default=None)


class Backlogs:
    def __init__(self, outboxes: Sequence[Outbox], payments: PaymentRepository, deliveries: DeliveryRepository):
        self._outboxes = outboxes
        self._payments = payments
        self._deliveries = deliveries

    async def read(self) -> Backlog:
        """Raises DriverError."""
        waiting = [await outbox.backlog(_LOOKED_AT) for outbox in self._outboxes]
        events = [one.oldest_at for one in waiting if one.oldest_at is not None]
        first_due = await self._deliveries.first_due()
        payment = await self._payments.next_due_at()
        return Backlog(
            events_s=_longest_s(events),
            payments_s=_longest_s([] if payment is None else [payment]),
            webhooks_s=_longest_s(list(first_due.values())),
        )


def _longest_s(moments: Sequence[datetime]) -> float | None:
    """Since the first of them; None where it is still to come."""
    waited_s = max(((clock.now() - moment).total_seconds() for moment in moments), default=-1.0)
    return None if waited_s < 0 else waited_s
