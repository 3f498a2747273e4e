"""Sending one delivery or one event again: new deliveries of the same bytes, so that what was stays to be read."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from core import clock, ids
from core.errors import IdempotencyKeyReused, InvalidState, NotFound, PspError
from domain.webhook_endpoints import TEST_EVENT
from repositories.claims import Claim
from repositories.delivery_documents import NewDelivery
from repositories.delivery_log import DeliveryLogRepository
from repositories.events import EventHead, EventRepository
from repositories.resent_deliveries import ResentDeliveryRepository
from repositories.webhook_endpoints import WebhookEndpointRepository
from schemas.deliveries import DeliveryOut
from schemas.resends import ResentEvent
from services.caller import Caller
from services.event_targets import Target, enabled_endpoint, new_delivery, own_urls, subscribed
from services.idempotency import Answer, fingerprint_of, replay
from services.signals import Signals

_Decide = Callable[[], Awaitable[tuple[EventHead, list[Target]]]]
_Shown = Callable[[Sequence[NewDelivery]], bytes]


@dataclass(frozen=True, slots=True)
class _Once:
    """A request under an Idempotency-Key. The first of its deliveries has an id that follows from the key alone, and
    carries the claim."""

    first_id: str
    resend_id: str
    fingerprint: bytes


class Resends:
    def __init__(
        self,
        resent: ResentDeliveryRepository,
        log: DeliveryLogRepository,
        events: EventRepository,
        endpoints: WebhookEndpointRepository,
        signals: Signals,
        hash_key: bytes,
    ):
        self._resent = resent
        self._log = log
        self._events = events
        self._endpoints = endpoints
        self._signals = signals
        self._hash_key = hash_key

    async def of_delivery(self, caller: Caller, delivery_id: str, key: str | None) -> Answer:
        """Send a delivery's event to its target again. Raises NotFound, InvalidState, IdempotencyKeyReused."""

        async def decide() -> tuple[EventHead, list[Target]]:
            found = await self._log.get(caller.account_id, delivery_id)
            if found is None:
                raise NotFound(f"Delivery '{delivery_id}' not found.")
            if found.endpoint_id is None:
                target = Target(found.url)
            else:
                target = await self._still_there(caller, found.endpoint_id)
            event = await self._events.head(caller.account_id, found.event_id)
            if event is None:
                raise InvalidState(f"Event '{found.event_id}' is not kept any more.")
            return event, [target]

        def shown(made: Sequence[NewDelivery]) -> bytes:
            return _delivery_out(made[0]).model_dump_json(by_alias=True).encode()

        once = self._once(caller, "POST /deliveries/{delivery_id}/resend", key, {"delivery_id": delivery_id})
        return await self._send(once, decide, shown)

    async def of_event(self, caller: Caller, event_id: str, endpoint_id: str | None, key: str | None) -> Answer:
        """Send an event again: to the endpoint that is named, or else to each that subscribes to it now and to the
        payment's own URL to which it went. Raises NotFound, InvalidState, IdempotencyKeyReused."""

        async def decide() -> tuple[EventHead, list[Target]]:
            event = await self._events.head(caller.account_id, event_id)
            if event is None:
                raise NotFound(f"Event '{event_id}' not found.")
            if endpoint_id is not None:
                return event, [await enabled_endpoint(self._endpoints, caller.account_id, endpoint_id)]
            endpoints = await self._endpoints.enabled([caller.account_id])
            targets = [*map(Target.of, subscribed(event, endpoints)), *own_urls(await self._log.of_events([event_id]))]
            if not targets:
                if event.type == TEST_EVENT:
                    return event, [await self._still_there(caller, event.stream_id)]
                raise InvalidState("No webhook endpoint that is enabled subscribes to this event.")
            return event, targets

        def shown(made: Sequence[NewDelivery]) -> bytes:
            resent = ResentEvent(event_id=event_id, deliveries=[_delivery_out(one) for one in made])
            return resent.model_dump_json(by_alias=True).encode()

        asked = {"event_id": event_id, "endpoint_id": endpoint_id}
        return await self._send(self._once(caller, "POST /events/{event_id}/resend", key, asked), decide, shown)

    async def _still_there(self, caller: Caller, endpoint_id: str) -> Target:
        """An endpoint that there was. Raises InvalidState where it takes nothing any more."""
        try:
            return await enabled_endpoint(self._endpoints, caller.account_id, endpoint_id)
        except NotFound:
            raise InvalidState(f"Webhook endpoint '{endpoint_id}' was deleted.") from None

    def _once(self, caller: Caller, route: str, key: str | None, asked: dict[str, str | None]) -> _Once | None:
        if key is None:
            return None
        scope = (caller.account_id, route, key)
        return _Once(ids.derived("dlv", *scope), ids.derived("rs", *scope), fingerprint_of(self._hash_key, asked))

    async def _send(self, once: _Once | None, decide: _Decide, shown: _Shown) -> Answer:
        """Make the deliveries, all or none: whoever finds the claim finds them, and who loses a race makes none."""
        try:
            return await self._make(once, decide, shown)
        except PspError:
            # What has changed since the first request (an endpoint disabled) must not refuse its repetition.
            claim = await self._resent.claim_of(once.first_id) if once is not None else None
            if claim is None or once is None:
                raise
            return replay(claim, once.fingerprint)

    async def _make(self, once: _Once | None, decide: _Decide, shown: _Shown) -> Answer:
        event, targets = await decide()
        now, resend_id = clock.now(), once.resend_id if once else ids.fresh("rs")
        first, *others = (new_delivery(event, target, now, resend_id) for target in targets)
        if once is not None:
            first = replace(first, id=once.first_id)
        body = shown([first, *others])
        if once is not None:
            first = replace(first, claim=Claim(once.first_id, once.fingerprint, 202, body))
        if not await self._resent.insert(first, others):
            raise IdempotencyKeyReused
        self._signals.deliveries_due(one.target for one in [first, *others])
        return Answer(202, body)


def _delivery_out(made: NewDelivery) -> DeliveryOut:
    return DeliveryOut(
        id=made.id,
        event_id=made.event_id,
        event_type=made.event_type,
        webhook_endpoint_id=made.endpoint_id,
        url=made.url,
        status="pending",
        dead_reason=None,
        attempt_count=0,
        last_status=None,
        last_error=None,
        next_attempt_at=made.due_at,
        resend_id=made.resend_id,
        created_at=made.due_at,
        updated_at=made.due_at,
    )
