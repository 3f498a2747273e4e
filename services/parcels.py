"""What is sent: a leased delivery with its bytes, where they go, and the headers that sign them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain import signing
from domain.webhook_endpoints import WebhookEndpoint
from repositories.deliveries import LeasedDelivery

USER_AGENT = "MockPSP-Webhooks/1.0"


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
    body: bytes
    destination: Destination

    def headers(self, sent_at: datetime) -> dict[str, str]:
        timestamp_s = int(sent_at.timestamp())
        event_id, secrets = self.delivery.event_id, self.destination.secrets
        return {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": " ".join(
                [signing.standard_signature(secret, event_id, timestamp_s, self.body) for secret in secrets]
            ),
            # It has room for one only: receivers know the old secret until they are given the new one.
            "X-Signature": signing.plain_signature(secrets[-1], self.body),
        }
