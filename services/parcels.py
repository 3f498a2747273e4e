"""What is sent: a delivery with its bytes, where they go, and the headers that sign them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain import signing
from domain.webhook_endpoints import Ordering, WebhookEndpoint
from repositories.delivery_documents import Candidate, LeasedDelivery
from repositories.events import EventMessage


@dataclass(frozen=True, slots=True)
class Fresh:
    """A delivery that was made just now, with what is known of it already: whoever sends it need not ask again."""

    candidate: Candidate
    message: EventMessage
    endpoint: WebhookEndpoint | None
    """None for a payment's own webhookUrl."""

    @property
    def in_order(self) -> bool:
        return self.endpoint is not None and self.endpoint.ordering is Ordering.OBJECT


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a delivery goes, and how."""

    url: str
    secrets: tuple[str, ...] = field(repr=False)
    """Newest first; two while a rotation overlaps; none where they could not be opened."""
    timeout_s: float
    schedule_s: Sequence[float]
    limit: int
    """How many may be under way at once."""
    endpoint: WebhookEndpoint | None = None
    """None for a payment's own webhookUrl."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A leased delivery with all that is needed to send it."""

    delivery: LeasedDelivery
    message: EventMessage
    destination: Destination

    def headers(self, sent_at: datetime) -> dict[str, str]:
        event_id, timestamp_s = self.delivery.event_id, int(sent_at.timestamp())
        headers = signing.webhook_headers(self.destination.secrets, event_id, timestamp_s, self.message.body)
        if self.message.request_id is not None:
            headers["X-Request-ID"] = self.message.request_id
        return headers
