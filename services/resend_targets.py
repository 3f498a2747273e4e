"""Where an event is sent again, and the deliveries that do it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core import ids
from domain.origins import origin
from domain.webhook_endpoints import is_sent
from repositories.deliveries import DeliveryState, NewDelivery
from repositories.delivery_log import EventDelivery
from repositories.events import EventHead
from repositories.webhook_endpoints import Subscription


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint, or a payment's own URL."""

    url: str
    endpoint_id: str | None = None

    @property
    def key(self) -> str:
        """What makes a delivery's id, as in the publisher's."""
        return self.endpoint_id or f"url:{self.url}"


def subscribed(event: EventHead, endpoints: Sequence[Subscription]) -> list[Target]:
    """The endpoints that would be sent this event if it were published now."""
    return [
        Target(one.url, one.endpoint_id)
        for one in endpoints
        if is_sent(one.endpoint_id, one.events, event.type, event.stream_id)
    ]


def own_urls(fared: Sequence[EventDelivery]) -> list[Target]:
    """Payments' own URLs to which an event went."""
    return [Target(url) for url in dict.fromkeys(one.url for one in fared if one.endpoint_id is None)]


def failed(fared: Sequence[EventDelivery], endpoints: Sequence[Subscription]) -> list[Target]:
    """Where an event has a dead letter and was never delivered. Endpoints that take nothing now are left out."""
    states: dict[str, set[DeliveryState]] = {}
    targets = {one.endpoint_id: Target(one.url, one.endpoint_id) for one in endpoints}
    found: dict[str, Target] = {}
    for one in fared:
        target = Target(one.url) if one.endpoint_id is None else targets.get(one.endpoint_id)
        if target is not None:
            found[target.key] = target
            states.setdefault(target.key, set()).add(one.state)
    return [
        target
        for key, target in found.items()
        if DeliveryState.DEAD in states[key] and DeliveryState.DELIVERED not in states[key]
    ]


def sent_again(event: EventHead, target: Target, resend_id: str, now: datetime) -> NewDelivery:
    """The delivery that sends an event again: the same one, however often it is made for this resend."""
    return NewDelivery(
        id=ids.derived("dlv", event.id, target.key, resend_id),
        event_id=event.id,
        event_type=event.type,
        owner_id=event.owner_id,
        target=target.endpoint_id or origin(target.url),
        url=target.url,
        due_at=now,
        stream_id=event.stream_id,
        sequence=event.sequence,
        endpoint_id=target.endpoint_id,
        resend_id=resend_id,
    )
