"""Webhooks that others send to an account: verified, then stored once."""

from dataclasses import dataclass
from hashlib import sha256

from core import clock, ids
from core.crypto import Sealer
from core.errors import SignatureInvalid
from domain import signing
from repositories.accounts import AccountRepository
from repositories.incoming_webhooks import IncomingWebhookRepository
from schemas.webhooks import IncomingWebhook, WebhookReceipt
from services.accounts import webhook_secret_purpose
from services.caller import Caller


@dataclass(frozen=True, slots=True)
class Signatures:
    """The headers of an incoming webhook that vouch for it."""

    plain: str | None
    message_id: str | None
    timestamp: str | None
    standard: str | None


class IncomingWebhooks:
    def __init__(self, webhooks: IncomingWebhookRepository, accounts: AccountRepository, sealer: Sealer):
        self._webhooks = webhooks
        self._accounts = accounts
        self._sealer = sealer

    async def verify(self, caller: Caller, given: Signatures, body: bytes) -> str:
        """The identity by which a second copy is recognised. Raises SignatureInvalid.

        Each scheme whose headers are there must fit: there is no falling back from one to the other.
        """
        sealed = await self._accounts.sealed_webhook_secrets([caller.account_id])
        secret = self._sealer.open(sealed[caller.account_id], webhook_secret_purpose(caller.account_id)).decode()
        has_standard = any((given.message_id, given.timestamp, given.standard))
        if given.plain is None and not has_standard:
            raise SignatureInvalid
        if given.plain is not None and not signing.verify_plain(secret, body, given.plain):
            raise SignatureInvalid
        if not has_standard:
            return f"body:{sha256(body).hexdigest()}"
        if not signing.verify_standard(
            secret,
            body,
            message_id=given.message_id or "",
            timestamp=given.timestamp or "",
            signatures=given.standard or "",
            now_s=clock.now().timestamp(),
        ):
            raise SignatureInvalid
        return f"id:{given.message_id}"

    async def store(self, caller: Caller, identity: str, message: IncomingWebhook, body: bytes) -> WebhookReceipt:
        """Store a verified message; the same one again is recognised and has no second effect."""
        stored = await self._webhooks.insert(
            ids.derived("inw", caller.account_id, identity),
            owner_id=caller.account_id,
            message_id=message.id,
            event=message.name,
            body=body,
            received_at=clock.now(),
        )
        return WebhookReceipt(id=message.id, duplicate=not stored)
