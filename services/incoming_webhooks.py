"""Webhooks that others send to an account: verified, stored once, and then their effect, as leased work."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from core import clock, ids
from core.errors import NotFound, SignatureInvalid
from domain import signing
from domain.signing import Refusal
from repositories.accounts import AccountRepository
from repositories.incoming_webhooks import IncomingWebhookRepository, StoredWebhook
from repositories.pages import CursorInvalid
from schemas.common import PageQuery
from schemas.webhooks import (
    IncomingWebhook,
    IncomingWebhookOut,
    IncomingWebhookPage,
    IncomingWebhookSummary,
    WebhookReceipt,
)
from services.caller import Caller
from services.signals import Signals
from services.validation import invalid
from services.webhook_secrets import AccountSecrets

BATCH = 100
LEASE_S = 10
"""Many times what one write takes; a killed worker's batch waits this long."""


@dataclass(frozen=True, slots=True)
class Signatures:
    """The headers of an incoming webhook that vouch for it."""

    plain: str | None
    message_id: str | None
    timestamp: str | None
    standard: str | None

    @property
    def has_standard(self) -> bool:
        return any((self.message_id, self.timestamp, self.standard))


class IncomingWebhooks:
    def __init__(
        self,
        webhooks: IncomingWebhookRepository,
        accounts: AccountRepository,
        signals: Signals,
        secrets: AccountSecrets,
    ):
        self._webhooks = webhooks
        self._accounts = accounts
        self._signals = signals
        self._secrets = secrets

    async def verify(self, caller: Caller, given: Signatures, body: bytes) -> str:
        """The identity by which a second copy is recognised. What does not verify is counted, and nothing more.

        Each scheme whose headers are there must fit: there is no falling back from one to the other.
        Raises SignatureInvalid, and CannotDecrypt where it cannot be told.
        """
        refusal = _refusal(await self._live_secrets(caller.account_id), given, body)
        if refusal is not None:
            await self._webhooks.count_refusal(caller.account_id, refusal)
            raise SignatureInvalid
        return f"id:{given.message_id}" if given.has_standard else f"body:{sha256(body).hexdigest()}"

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
        if stored:
            self._signals.incoming.set()
        return WebhookReceipt(id=message.id, duplicate=not stored)

    async def process_batch(self) -> int:
        """Carry out the effect of what was received: that it is processed. How many were taken.

        The effect is written by the lease's holder alone; whoever dies in between leaves the message to the next.
        """
        leased = await self._webhooks.lease(limit=BATCH, lease_s=LEASE_S)
        if leased is None:
            return 0
        await self._webhooks.mark_processed(leased, clock.now())
        return len(leased.ids)

    async def page(self, caller: Caller, query: PageQuery) -> IncomingWebhookPage:
        """What the caller's account received, newest first, and how much of what came did not verify."""
        try:
            page = await self._webhooks.page(caller.account_id, limit=query.limit, cursor=query.cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
        return IncomingWebhookPage(
            incoming_webhooks=[_summary(one) for one in page.items],
            total_incoming_webhooks=page.total,
            total_is_lower_bound=page.total_is_lower_bound,
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
            refused=await self._webhooks.refusals(caller.account_id),
        )

    async def get(self, caller: Caller, webhook_id: str) -> IncomingWebhookOut:
        """Raises NotFound."""
        found = await self._webhooks.get(caller.account_id, webhook_id)
        if found is None:
            raise NotFound(f"Incoming webhook '{webhook_id}' not found.")
        return IncomingWebhookOut(**_summary(found).model_dump(), body=found.body.decode())

    async def _live_secrets(self, account_id: str) -> tuple[str, ...]:
        """Every secret that a sender may sign with: two while a rotation overlaps."""
        (account,) = await self._accounts.signing([account_id])
        return self._secrets.live(account, clock.now())


def _refusal(secrets: Sequence[str], given: Signatures, body: bytes) -> Refusal | None:
    if given.plain is None and not given.has_standard:
        return Refusal.MISSING
    plain = None if given.plain is None else signing.plain_refusal(secrets, body, given.plain)
    if plain is not None or not given.has_standard:
        return plain
    return signing.standard_refusal(
        secrets,
        body,
        message_id=given.message_id or "",
        timestamp=given.timestamp or "",
        signatures=given.standard or "",
        now_s=clock.now().timestamp(),
    )


def _summary(one: StoredWebhook) -> IncomingWebhookSummary:
    return IncomingWebhookSummary(
        id=one.id,
        message_id=one.message_id,
        event=one.event,
        state=one.state.value,
        received_at=one.received_at,
        processed_at=one.processed_at,
    )
