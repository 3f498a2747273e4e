"""Where an event is sent, and the deliveries that do it: first when it is published, and then whenever asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core import ids
from core.errors import InvalidState, NotFound
from domain.origins import origin
from domain.webhook_endpoints import EndpointStatus, WebhookEndpoint, is_sent
from repositories.delivery_documents import DeliveryState, NewDelivery
from repositories.delivery_log import EventDelivery
from repositories.events import EventHead
from repositories.webhook_endpoints import WebhookEndpointRepository

_PUBLICATION = "0"
"""Stands in the ids of an event's first deliveries, where those that send it again have their resend."""


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint, or a payment's own URL."""

    url: str
    endpoint_id: str | None = None

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> "Target":
        return cls(endpoint.url, endpoint.id)

    def delivery_id(self, event_id: str, resend_id: str | None = None) -> str:
        """The same however often the event is published, or the resend carried out."""
        key = self.endpoint_id or f"url:{self.url}"
        return ids.derived("dlv", event_id, key, resend_id or _PUBLICATION)


async def enabled_endpoint(endpoints: WebhookEndpointRepository, owner_id: str, endpoint_id: str) -> Target:
    """The owner's endpoint, where it takes deliveries. Raises NotFound, InvalidState."""
    endpoint = await endpoints.get(owner_id, endpoint_id)
    if endpoint is None:
        raise NotFound(f"Webhook endpoint '{endpoint_id}' not found.")
    if endpoint.status is EndpointStatus.DISABLED:
        raise InvalidState(f"Webhook endpoint '{endpoint_id}' is disabled.")
    return Target.of(endpoint)


def subscribed(event: EventHead, endpoints: Sequence[WebhookEndpoint]) -> list[WebhookEndpoint]:
    """The endpoints that are sent this event when it is published now."""
    return [one for one in endpoints if is_sent(one.id, one.events, event.type, event.stream_id)]


def own_urls(fared: Sequence[EventDelivery]) -> list[Target]:
    """Payments' own URLs to which an event went."""
    return [Target(url) for url in dict.fromkeys(one.url for one in fared if one.endpoint_id is None)]


def failed(fared: Sequence[EventDelivery], endpoints: Sequence[WebhookEndpoint]) -> list[Target]:
    """Where an event has nothing but dead letters: it was never delivered, and is not on its way again.

    Endpoints that take nothing now are left out.
    """
    targets = {one.id: Target.of(one) for one in endpoints}
    states: dict[Target, set[DeliveryState]] = {}
    for one in fared:
        target = Target(one.url) if one.endpoint_id is None else targets.get(one.endpoint_id)
        if target is not None:
            states.setdefault(target, set()).add(one.state)
    return [target for target, found in states.items() if found == {DeliveryState.DEAD}]


def new_delivery(event: EventHead, target: Target, due_at: datetime, resend_id: str | None = None) -> NewDelivery:
    """The delivery of an event to a target: its first one, or that of a resend."""
    return NewDelivery(
        id=target.delivery_id(event.id, resend_id),
        event_id=event.id,
        event_type=event.type,
        owner_id=event.owner_id,
        target=target.endpoint_id or origin(target.url),
        url=target.url,
        due_at=due_at,
        stream_id=event.stream_id,
        sequence=event.sequence,
        endpoint_id=target.endpoint_id,
        resend_id=resend_id,
    )
