"""The secrets that webhooks are signed with: sealed at rest, two of them while a rotation overlaps."""

from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from core.crypto import Sealer
from domain.accounts import SigningAccount
from domain.webhook_endpoints import WebhookEndpoint

Holder = TypeVar("Holder", SigningAccount, WebhookEndpoint)


class WebhookSecrets(ABC, Generic[Holder]):
    """The secret and the one before it are one sealed value, newest first, so that they are exchanged in one write."""

    def __init__(self, sealer: Sealer):
        self._sealer = sealer

    @staticmethod
    @abstractmethod
    def purpose(holder_id: str) -> str:
        """What the secrets of this holder are sealed for."""

    def seal(self, holder_id: str, *newest_first: str) -> bytes:
        return self._sealer.seal(" ".join(newest_first).encode(), self.purpose(holder_id))

    def live(self, holder: Holder, now: datetime) -> tuple[str, ...]:
        """The secrets that count now, newest first. Raises CannotDecrypt."""
        opened = self._sealer.open(holder.sealed_secrets, self.purpose(holder.id))
        secrets = tuple(opened.decode().split(" "))
        overlaps = holder.previous_secret_ends_at is not None and now < holder.previous_secret_ends_at
        return secrets if overlaps else secrets[:1]

    def rotated(self, holder: Holder, new_secret: str, now: datetime, *, overlap_days: int) -> Holder:
        """The holder with a new secret. The one so far counts as well until the overlap ends, one before that no
        longer. Raises CannotDecrypt."""
        kept = self.live(holder, now)[:1] if overlap_days else ()
        return replace(
            holder,
            sealed_secrets=self.seal(holder.id, new_secret, *kept),
            previous_secret_ends_at=now + timedelta(days=overlap_days) if overlap_days else None,
        )


class AccountSecrets(WebhookSecrets[SigningAccount]):
    """An account's own: for what goes to a payment's `webhookUrl`, and for what others send to the account."""

    @staticmethod
    def purpose(holder_id: str) -> str:
        return f"webhook_secret:{holder_id}"


class EndpointSecrets(WebhookSecrets[WebhookEndpoint]):
    """Those of a webhook endpoint."""

    @staticmethod
    def purpose(holder_id: str) -> str:
        return f"endpoint_secrets:{holder_id}"
