"""Payment keys: publishable, so that a browser can pay without the secret key."""

import asyncio
import hmac
from datetime import timedelta

from core import clock
from core.crypto import keyed_hash
from core.database import Database, Session
from core.errors import NotFound, PaymentKeyExpired, PaymentKeyInvalid
from core.security import PAYMENT_KEY
from domain.audit import Action
from domain.payment_keys import PaymentKey
from repositories.accounts import AccountRepository
from repositories.pages import CursorInvalid
from repositories.payment_keys import PaymentKeyRepository
from repositories.payments import PaymentRepository
from schemas.common import PageQuery
from schemas.payment_keys import (
    PaymentKeyMade,
    PaymentKeyOut,
    PaymentKeyPage,
    PaymentKeyRequest,
    payment_key_out,
)
from services.audit import Actor, Audit
from services.caller import Caller
from services.validation import invalid

_PURPOSE = "payment_key"


class PaymentKeys:
    def __init__(
        self,
        database: Database,
        keys: PaymentKeyRepository,
        accounts: AccountRepository,
        payments: PaymentRepository,
        audit: Audit,
        hash_key: bytes,
    ):
        self._database = database
        self._keys = keys
        self._accounts = accounts
        self._payments = payments
        self._audit = audit
        self._hash_key = hash_key

    async def make(self, actor: Actor, request: PaymentKeyRequest) -> PaymentKeyMade:
        """A new key, whose text only this answer holds."""
        credential, now = PAYMENT_KEY.issue(), clock.now()
        key = PaymentKey(
            id=credential.id,
            owner_id=actor.caller.account_id,
            hash=self._hash(credential.text),
            created_at=now,
            expires_at=now + timedelta(seconds=request.expires_in),
            max_uses=request.max_uses,
            amount_minor=request.amount_minor,
            currency=request.currency,
        )

        async def make(session: Session) -> None:
            await self._keys.insert(key, session)
            limits = {
                "expires_at": key.expires_at,
                "max_uses": None if key.max_uses is None else str(key.max_uses),
                "amount_minor": None if key.amount_minor is None else str(key.amount_minor),
                "currency": key.currency,
            }
            await self._audit.record(actor, Action.PAYMENT_KEY_MADE, key.id, after=limits, session=session)

        await self._database.in_transaction(make)
        shown = payment_key_out(key, None if key.max_uses is None else 0)
        return PaymentKeyMade(**shown.model_dump(), payment_key=credential.text)

    async def authenticate(self, text: str) -> Caller:
        """Whose key this is, and what it opens. Raises PaymentKeyInvalid, PaymentKeyExpired."""
        credential = PAYMENT_KEY.parse(text)
        key = await self._keys.get(credential.id) if credential else None
        if key is None or credential is None or not hmac.compare_digest(key.hash, self._hash(credential.text)):
            raise PaymentKeyInvalid
        identity = await self._accounts.identify(key.owner_id)
        if identity is None:
            raise PaymentKeyInvalid
        if key.revoked or key.expires_at <= clock.now():
            raise PaymentKeyExpired
        return Caller(identity.account_id, identity.role, payment_key=key)

    async def get(self, caller: Caller, key_id: str) -> PaymentKeyOut:
        """Raises NotFound."""
        key = await self._keys.get(key_id)
        if key is None or key.owner_id != caller.account_id:
            raise NotFound(f"Payment key '{key_id}' not found.")
        return await self._shown(key)

    async def page(self, caller: Caller, query: PageQuery) -> PaymentKeyPage:
        try:
            page = await self._keys.page(caller.account_id, limit=query.limit, cursor=query.cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
        return PaymentKeyPage(
            payment_keys=list(await asyncio.gather(*(self._shown(key) for key in page.items))),
            total_payment_keys=page.total,
            total_is_lower_bound=page.total_is_lower_bound,
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    async def revoke(self, actor: Actor, key_id: str) -> None:
        """The key opens nothing from now on. Raises NotFound."""

        async def revoke(session: Session) -> None:
            revoked = await self._keys.revoke(actor.caller.account_id, key_id, session)
            if revoked is None:
                raise NotFound(f"Payment key '{key_id}' not found.")
            if revoked:
                await self._audit.record(actor, Action.PAYMENT_KEY_REVOKED, key_id, session=session)

        await self._database.in_transaction(revoke)

    async def _shown(self, key: PaymentKey) -> PaymentKeyOut:
        uses = None if key.max_uses is None else await self._payments.uses_of_key(key.owner_id, key.id)
        return payment_key_out(key, uses)

    def _hash(self, text: str) -> bytes:
        return keyed_hash(self._hash_key, _PURPOSE, text.encode())
