"""Webhook endpoints: where an account's events are sent, which of them, and how."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

EVERYTHING = "*"
TEST_EVENT = "webhook.test"
"""Goes to the endpoint that it is asked of and to no other, whatever they subscribe to."""
DISABLED_EVENT = "webhook.disabled"
LONGEST_FAILING = timedelta(days=5)
"""An endpoint to which nothing has come through for so long is disabled."""


class EndpointStatus(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """Why the service has disabled an endpoint, where its owner did not."""

    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """Nothing has come through for five days."""


class Ordering(StrEnum):
    """Which events wait for others."""

    NONE = "none"
    OBJECT = "object"
    """Those of one object are sent one after the other, as they are numbered."""


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    id: str
    owner_id: str
    url: str
    events: tuple[str, ...]
    """Event types, all of a kind (`payment.*`), or everything (`*`)."""
    sealed_secrets: bytes = field(repr=False)
    """The secret and, once it was rotated, the one before it: see services/webhook_secrets.py."""
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    metadata: Mapping[str, str] | None = None
    status: EndpointStatus = EndpointStatus.ENABLED
    retry_schedule_s: tuple[int, ...] | None = None
    """Delays before the second attempt and those after it; None for the service's own schedule."""
    timeout_s: int = 15
    max_in_flight: int = 8
    """How many requests to it may be under way at once."""
    ordering: Ordering = Ordering.NONE
    previous_secret_ends_at: datetime | None = None
    """Until when the secret before the current one signs as well."""
    disabled_reason: DisabledReason | None = None
    failing_since: datetime | None = None
    """When the first attempt after the last success failed."""
    sequence: int = 0
    """The number of the latest event of its own. These are numbered without gaps."""
    version: int = 1
    """Goes up with every change; a change is written on condition that it is still the one that was read."""


def is_sent(endpoint_id: str, events: Iterable[str], event_type: str, stream_id: str) -> bool:
    """Whether an endpoint that subscribes to these is sent an event of this type, numbered by this object."""
    if event_type == TEST_EVENT:
        return endpoint_id == stream_id
    return wants(events, event_type)


def wants(events: Iterable[str], event_type: str) -> bool:
    """Whether who subscribes to these is sent an event of this type."""
    kind = event_type.partition(".")[0]
    return not {EVERYTHING, f"{kind}.*", event_type}.isdisjoint(events)


def failing_too_long(endpoint: WebhookEndpoint, now: datetime) -> bool:
    return endpoint.failing_since is not None and now - endpoint.failing_since >= LONGEST_FAILING


def disable(endpoint: WebhookEndpoint, reason: DisabledReason, now: datetime) -> WebhookEndpoint:
    """The endpoint as the service disables it, which is an event of its own."""
    return replace(
        endpoint,
        status=EndpointStatus.DISABLED,
        disabled_reason=reason,
        updated_at=now,
        sequence=endpoint.sequence + 1,
        version=endpoint.version + 1,
    )
