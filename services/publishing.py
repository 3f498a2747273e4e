"""Emptying outboxes: events become visible, and a delivery is made for each target that wants them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core import metrics
from domain.webhook_endpoints import WebhookEndpoint
from repositories.deliveries import DeliveryRepository
from repositories.delivery_documents import Candidate, NewDelivery
from repositories.events import EventRecord, EventRepository
from repositories.outbox import Outbox, OutboxEvent, Unpublished
from repositories.refunds import RefundRepository, RefundSeen
from repositories.webhook_endpoints import WebhookEndpointRepository
from schemas.events import event_body
from services.event_targets import Target, new_delivery, subscribed
from services.parcels import Fresh
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
        self._outboxes = {outbox.name: outbox for outbox in outboxes}
        self._events = events
        self._refunds = refunds
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._signals = signals

    @property
    def outboxes(self) -> frozenset[str]:
        """All of them, by name."""
        return frozenset(self._outboxes)

    async def anything_waits(self) -> bool:
        """A cheap look, for those who have no hint."""
        first, *others = self._outboxes.values()
        return await first.anything_waits(*others)

    async def publish_batch(self, names: Iterable[str]) -> set[str]:
        """Publish a batch of each of these; those in which there was anything."""
        names = [name for name in names if name in self._outboxes]
        published = await asyncio.gather(
            *(self._publish_batch(self._outboxes[name]) for name in names),
            return_exceptions=True,  # what is wrong with one keeps the others from nothing
        )
        for result in published:
            if isinstance(result, BaseException):
                raise result
        return {name for name, result in zip(names, published, strict=True) if result}

    async def _publish_batch(self, outbox: Outbox) -> int:
        """Events first, then what is derived from them and the deliveries, and only then are they taken out.

        Every id is the same on a second try, so whoever dies in between, or does the same at the same time, does no
        harm. How many objects there were.
        """
        readable = [read for one in await outbox.unpublished(BATCH) if (read := _read(one)) is not None]
        if not readable:
            return 0
        events = [event for one in readable for event in one.events]
        endpoints, _ = await asyncio.gather(self._endpoints_of(readable), self._events.insert_missing(events))
        await self._refunds.project([refund for one in readable for refund in one.refunds])
        deliveries = [made for one in readable for made in one.to_own_url]
        deliveries += [made for event in events for made in _to_endpoints(event, endpoints.get(event.owner_id, ()))]
        if deliveries:
            await self._make(deliveries)
        await outbox.mark_published([one.source for one in readable])
        for event_type, count in Counter(event.type for event in events).items():
            metrics.EVENTS.labels(event_type).inc(count)
        return len(readable)

    async def _make(self, deliveries: Sequence["_Made"]) -> None:
        missing = await self._deliveries.insert_missing([made.delivery for made in deliveries])
        self._signals.deliveries_made([made.fresh for made, new in zip(deliveries, missing, strict=True) if new])
        self._signals.deliveries_due(
            [made.delivery.target for made, new in zip(deliveries, missing, strict=True) if not new]
        )

    async def _endpoints_of(self, readable: Sequence["_Readable"]) -> dict[str, list[WebhookEndpoint]]:
        """By account: who is subscribed is judged now, and not when something happened."""
        by_owner: dict[str, list[WebhookEndpoint]] = {}
        for one in await self._endpoints.enabled([one.source.owner_id for one in readable]):
            by_owner.setdefault(one.owner_id, []).append(one)
        return by_owner


@dataclass(frozen=True, slots=True)
class _Made:
    delivery: NewDelivery
    fresh: Fresh


@dataclass(frozen=True, slots=True)
class _Readable:
    """What an outbox becomes, but for what depends on who is subscribed."""

    source: Unpublished
    events: list[EventRecord]
    refunds: list[RefundSeen]
    to_own_url: list[_Made]


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
        request_id=event.request_id,
    )


def _refund(one: Unpublished, event: OutboxEvent) -> RefundSeen:
    assert event.object_id is not None
    return RefundSeen(event.object_id, one.owner_id, event.sequence, event.data)


def _to_own_url(one: Unpublished, event: EventRecord) -> list[_Made]:
    return [_made(event, Target(one.webhook_url), None)] if one.webhook_url else []


def _to_endpoints(event: EventRecord, endpoints: Sequence[WebhookEndpoint]) -> list[_Made]:
    """One for each that wants the event."""
    return [_made(event, Target.of(one), one) for one in subscribed(event.head, endpoints)]


def _made(event: EventRecord, target: Target, endpoint: WebhookEndpoint | None) -> _Made:
    delivery = new_delivery(event.head, target, event.created_at)
    candidate = Candidate(delivery.id, event.id, event.owner_id, delivery.target, delivery.url, failures=0)
    return _Made(delivery, Fresh(candidate, event.message, endpoint))
