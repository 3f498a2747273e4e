"""Emptying outboxes: events become visible, and a delivery is made for each target that wants them."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from repositories.deliveries import DeliveryRepository, NewDelivery
from repositories.events import EventHead, EventRecord, EventRepository
from repositories.outbox import Outbox, OutboxEvent, Unpublished
from repositories.refunds import RefundRepository, RefundSeen
from repositories.webhook_endpoints import Subscription, WebhookEndpointRepository
from schemas.events import event_body
from services.event_targets import Target, new_delivery, subscribed
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
        endpoints: WebhookEndpointRepository,
        signals: Signals,
    ):
        self._outboxes = outboxes
        self._events = events
        self._refunds = refunds
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._signals = signals

    async def anything_waits(self) -> bool:
        """A cheap look, for those who have no hint."""
        first, *others = self._outboxes
        return await first.anything_waits(*others)

    async def publish_batch(self) -> int:
        """Publish a batch of each collection's outboxes; how many there were."""
        batches = await asyncio.gather(*(outbox.unpublished(BATCH) for outbox in self._outboxes))
        published = await asyncio.gather(
            *(self._publish(outbox, batch) for outbox, batch in zip(self._outboxes, batches, strict=True) if batch),
            return_exceptions=True,  # what is wrong with one keeps the others from nothing
        )
        for result in published:
            if isinstance(result, BaseException):
                raise result
        return sum(result for result in published if isinstance(result, int))

    async def _publish(self, outbox: Outbox, batch: Sequence[Unpublished]) -> int:
        """Events first, then what is derived from them and the deliveries, and only then are they taken out.

        Every id is the same on a second try, so whoever dies in between, or does the same at the same time, does no
        harm.
        """
        subscriptions = await self._subscriptions(batch)
        made = [
            publication
            for one in batch
            if (publication := _publication(one, subscriptions.get(one.owner_id, ()))) is not None
        ]
        await self._events.insert_missing([event for publication in made for event in publication.events])
        await self._refunds.project([refund for publication in made for refund in publication.refunds])
        if deliveries := [delivery for publication in made for delivery in publication.deliveries]:
            await self._deliveries.insert_missing(deliveries)
            self._signals.deliveries_due(delivery.target for delivery in deliveries)
        await outbox.mark_published([publication.source for publication in made])
        return len(made)

    async def _subscriptions(self, batch: Sequence[Unpublished]) -> dict[str, list[Subscription]]:
        """By account: who is subscribed is judged now, and not when something happened."""
        by_owner: dict[str, list[Subscription]] = {}
        for one in await self._endpoints.subscriptions([one.owner_id for one in batch]):
            by_owner.setdefault(one.owner_id, []).append(one)
        return by_owner


@dataclass(frozen=True, slots=True)
class _Publication:
    source: Unpublished
    events: list[EventRecord]
    refunds: list[RefundSeen]
    deliveries: list[NewDelivery]


def _publication(one: Unpublished, subscriptions: Sequence[Subscription]) -> _Publication | None:
    """What an outbox becomes; None where it cannot be read, which must keep nobody else's from being published."""
    try:
        deliveries = [made for event in one.events for made in _deliveries(one, event, subscriptions)]
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


def _deliveries(one: Unpublished, event: OutboxEvent, subscriptions: Sequence[Subscription]) -> list[NewDelivery]:
    """One for each endpoint that wants the event, and one for the payment's own URL."""
    head = EventHead(event.id, event.type, one.owner_id, one.stream_id, event.sequence, event.occurred_at)
    own = [Target(one.webhook_url)] if one.webhook_url else []
    return [new_delivery(head, target, event.occurred_at) for target in [*subscribed(head, subscriptions), *own]]
