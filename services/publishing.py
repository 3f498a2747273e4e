"""Emptying outboxes: events become visible, and a delivery is made for each target that wants them."""

from core import ids
from domain.origins import origin
from repositories.deliveries import DeliveryRepository, NewDelivery
from repositories.events import EventRecord, EventRepository
from repositories.payments import OutboxEvent, PaymentRepository, Unpublished
from schemas.events import event_body
from services.signals import Signals

BATCH = 250


class Publishing:
    def __init__(
        self, payments: PaymentRepository, events: EventRepository, deliveries: DeliveryRepository, signals: Signals
    ):
        self._payments = payments
        self._events = events
        self._deliveries = deliveries
        self._signals = signals

    async def publish_batch(self) -> int:
        """Publish a batch of outboxes; how many there were.

        Events first, then the deliveries made of them, and only then are they taken out of the outbox. Every id is
        the same on a second try, so whoever dies in between, or does the same at the same time, does no harm.
        """
        batch = await self._payments.unpublished(BATCH)
        if not batch:
            return 0
        await self._events.insert_missing([_record(one, event) for one in batch for event in one.events])
        deliveries = [
            _delivery(one.owner_id, one.webhook_url, event) for one in batch if one.webhook_url for event in one.events
        ]
        if deliveries:
            await self._deliveries.insert_missing(deliveries)
            self._signals.deliveries.set()
        await self._payments.mark_published(batch)
        return len(batch)


def _record(one: Unpublished, event: OutboxEvent) -> EventRecord:
    return EventRecord(
        id=event.id,
        type=event.type,
        owner_id=one.owner_id,
        object_id=one.payment_id,
        sequence=event.sequence,
        created_at=event.occurred_at,
        body=event_body(event.id, event.type, event.occurred_at, event.data),
    )


def _delivery(owner_id: str, url: str, event: OutboxEvent) -> NewDelivery:
    return NewDelivery(
        id=ids.derived("dlv", event.id, f"url:{url}", "0"),
        event_id=event.id,
        event_type=event.type,
        owner_id=owner_id,
        target=origin(url),
        url=url,
        due_at=event.occurred_at,
    )
