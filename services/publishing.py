"""Emptying outboxes: events become visible, and a delivery is made for each target that wants them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from core import ids
from domain.origins import origin
from repositories.deliveries import DeliveryRepository, NewDelivery
from repositories.events import EventRecord, EventRepository
from repositories.outbox import Outbox, OutboxEvent, Unpublished
from repositories.refunds import RefundRepository, RefundSeen
from schemas.events import event_body
from services.signals import Signals

BATCH = 250
_LOG = logging.getLogger(__name__)


class Publishing:
    def __init__(
        self,
        outboxes: Sequence[Outbox],
        events: EventRepository,
        refunds: RefundRepository,
        deliveries: DeliveryRepository,
        signals: Signals,
    ):
        self._outboxes = outboxes
        self._events = events
        self._refunds = refunds
        self._deliveries = deliveries
        self._signals = signals

    async def publish_batch(self) -> int:
        """Publish a batch of each collection's outboxes; how many there were."""
        return sum([await self._publish_from(outbox) for outbox in self._outboxes])

    async def _publish_from(self, outbox: Outbox) -> int:
        """Events first, then what is derived from them and the deliveries, and only then are they taken out.

        Every id is the same on a second try, so whoever dies in between, or does the same at the same time, does no
        harm.
        """
        batch = await outbox.unpublished(BATCH)
        if not batch:
            return 0
        made = [publication for one in batch if (publication := _publication(one)) is not None]
        await self._events.insert_missing([event for publication in made for event in publication.events])
        await self._refunds.project([refund for publication in made for refund in publication.refunds])
        if deliveries := [delivery for publication in made for delivery in publication.deliveries]:
            await self._deliveries.insert_missing(deliveries)
            self._signals.deliveries.set()
        await outbox.mark_published([publication.source for publication in made])
        return len(made)


@dataclass(frozen=True, slots=True)
class _Publication:
    source: Unpublished
    events: list[EventRecord]
    refunds: list[RefundSeen]
    deliveries: list[NewDelivery]


def _publication(one: Unpublished) -> _Publication | None:
    """What an outbox becomes; None where it cannot be read, which must keep nobody else's from being published."""
    try:
        url = one.webhook_url
        deliveries = [_delivery(one.owner_id, url, event) for event in one.events] if url else []
        refunds = [_refund(one, event) for event in one.events if event.type.startswith("refund.")]
        return _Publication(one, [_record(one, event) for event in one.events], refunds, deliveries)
    except Exception:
        _LOG.exception("the outbox of %s cannot be published and is left as it is", one.stream_id)
        return None


def _record(one: Unpublished, event: OutboxEvent) -> EventRecord:
    return EventRecord(
        id=event.id,
        type=event.type,
        owner_id=one.owner_id,
        object_id=event.object_id or one.stream_id,
        stream_id=one.stream_id,
        sequence=event.sequence,
        created_at=event.occurred_at,
        body=event_body(event.id, event.type, event.occurred_at, event.data),
    )


def _refund(one: Unpublished, event: OutboxEvent) -> RefundSeen:
    assert event.object_id is not None
    return RefundSeen(event.object_id, one.owner_id, event.sequence, event.data)


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
