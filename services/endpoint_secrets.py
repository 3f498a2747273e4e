"""The secrets of a webhook endpoint: sealed at rest, two of them while a rotation overlaps."""

from datetime import datetime

from core.crypto import Sealer
from domain.webhook_endpoints import WebhookEndpoint


class EndpointSecrets:
    """The secret and the one before it are one sealed value, newest first, so that they are exchanged in one write."""

    def __init__(self, sealer: Sealer):
        self._sealer = sealer

    def seal(self, endpoint_id: str, *newest_first: str) -> bytes:
        return self._sealer.seal(" ".join(newest_first).encode(), endpoint_secrets_purpose(endpoint_id))

    def live(self, endpoint: WebhookEndpoint, now: datetime) -> tuple[str, ...]:
        """The secrets that sign now, newest first. Raises CannotDecrypt."""
        opened = self._sealer.open(endpoint.sealed_secrets, endpoint_secrets_purpose(endpoint.id))
        secrets = tuple(opened.decode().split(" "))
        overlaps = endpoint.previous_secret_ends_at is not None and now < endpoint.previous_secret_ends_at
        return secrets if overlaps else secrets[:1]


def endpoint_secrets_purpose(endpoint_id: str) -> str:
    """What an endpoint's secrets are sealed for."""
    return f"endpoint_secrets:{endpoint_id}"
