"""Emptying outboxes: events become visible, and a delivery is made for each target that wants them."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from repositories.deliveries import DeliveryRepository, NewDelivery
from repositories.events import EventRecord, EventRepository
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
        readable = [read for one in batch if (read := _read(one)) is not None]
        events = [event for one in readable for event in one.events]
        subscriptions, _ = await asyncio.gather(self._subscriptions(batch), self._events.insert_missing(events))
        await self._refunds.project([refund for one in readable for refund in one.refunds])
        deliveries = [made for one in readable for made in one.to_own_url]
        deliveries += [made for event in events for made in _to_endpoints(event, subscriptions.get(event.owner_id, ()))]
        if deliveries:
            await self._deliveries.insert_missing(deliveries)
            self._signals.deliveries_due(delivery.target for delivery in deliveries)
        await outbox.mark_published([one.source for one in readable])
        return len(readable)

    async def _subscriptions(self, batch: Sequence[Unpublished]) -> dict[str, list[Subscription]]:
        """By account: who is subscribed is judged now, and not when something happened."""
        by_owner: dict[str, list[Subscription]] = {}
        for one in await self._endpoints.subscriptions([one.owner_id for one in batch]):
            by_owner.setdefault(one.owner_id, []).append(one)
        return by_owner


@dataclass(frozen=True, slots=True)
class _Readable:
    """What an outbox becomes, but for what depends on who is subscribed."""

    source: Unpublished
    events: list[EventRecord]
    refunds: list[RefundSeen]
    to_own_url: list[NewDelivery]


def _read(one: Unpublished) -> _Readable | None:
    """What an outbox becomes; None where it cannot be read, which must keep nobody else's from being published."""
    try:
        events = [_record(one, event) for event in one.events]
        refunds = [_refund(one, event) for event in one.events if event.type.startswith("refund.")]
        return _Readable(one, events, refunds, [made for event in events for made in _to_own_url(one, event)])
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


def _to_own_url(one: Unpublished, event: EventRecord) -> list[NewDelivery]:
    if not one.webhook_url:
        return []
    return [new_delivery(event.head, Target(one.webhook_url), event.created_at)]


def _to_endpoints(event: EventRecord, subscriptions: Sequence[Subscription]) -> list[NewDelivery]:
    """One for each that wants the event."""
    return [new_delivery(event.head, target, event.created_at) for target in subscribed(event.head, subscriptions)]
