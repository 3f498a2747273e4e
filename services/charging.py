"""Charging: accepting a payment, which is one insert."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from core import clock, ids
from core.database import DriverError, outage
from core.errors import CardTokenUsed, Forbidden, IdempotencyKeyReused, PaymentKeyUsedUp, PspError
from domain import payments as rules
from domain.money import to_major
from domain.payment_keys import PaymentKey
from domain.payments import Payment, Status
from repositories.claims import Claim
from repositories.outbox import OutboxEvent
from repositories.payments import CardTokenTaken, KeyUseTaken, PaymentRepository
from schemas.payments import ChargeFields
from services.caller import Caller
from services.funding import Funding, Source
from services.idempotency import Answer, fingerprint_of, replay
from services.payment_changes import outbox, payment_json
from services.signals import Signals
from services.validation import invalid

MAX_WAIT_S = 30
_POLL_S = 0.05


class Charging:
    def __init__(
        self,
        payments: PaymentRepository,
        funding: Funding,
        signals: Signals,
        hash_key: bytes,
        processing_delay_s: float,
    ):
        self._payments = payments
        self._funding = funding
        self._signals = signals
        self._hash_key = hash_key
        self._processing_delay = timedelta(seconds=processing_delay_s)

    async def charge(
        self,
        caller: Caller,
        request: ChargeFields,
        customer_id: str | None,
        *,
        route: str,
        idempotency_key: str | None,
        wait_s: float,
        base_url: Callable[[], str],
    ) -> Answer:
        """Accept a charge: one insert, which is at the same time the claim of its idempotency key.

        With a key, the id is derived from it: whoever inserts first made the payment, and everybody else finds that
        the id exists and repeats that answer. With `wait_s` the answer waits for the final state. `base_url`
        gives the address by which the client reached us, asked for where 3-D Secure has to send the cardholder there.
        """
        if idempotency_key is None:
            payment_id, asked = ids.fresh("txn"), None
        else:
            payment_id = ids.derived("txn", caller.idempotency_scope, route, idempotency_key)
            fields = request.fingerprint_source()
            if customer_id is not None:
                fields["customer_id"] = customer_id
            asked = fingerprint_of(self._hash_key, fields)
        try:
            answer = await self._accept(caller, request, customer_id, payment_id, asked, base_url)
        except PspError:
            # What the first request has used up (the key itself, a card token) must not refuse its repetition.
            claim = await self._payments.claim_of(payment_id) if asked is not None else None
            if claim is None or asked is None:
                raise
            answer = replay(claim, asked)
        if wait_s > 0 and (settled := await self._settled(payment_id, wait_s)) is not None:
            return Answer(answer.status, payment_json(settled), answer.replayed)
        return answer

    async def _accept(
        self,
        caller: Caller,
        request: ChargeFields,
        customer_id: str | None,
        payment_id: str,
        asked: bytes | None,
        base_url: Callable[[], str],
    ) -> Answer:
        _require_what_the_key_opens(caller, request, customer_id)
        uses = await self._uses_left(caller.payment_key) if caller.payment_key else None
        source = await self._funding.source(caller, request, customer_id, payment_id, base_url)
        payment = self._new_payment(payment_id, caller, request, source)
        events = outbox(rules.create(payment))
        body = events[0].data
        claim = Claim(payment_id, asked, 201, body) if asked is not None else None
        try:
            if uses is None:
                inserted = await self._payments.insert(payment, events, claim)
            else:
                inserted = await self._use_key(payment, events, claim, uses)
        except CardTokenTaken:
            raise CardTokenUsed from None
        if not inserted:
            raise IdempotencyKeyReused
        self._signals.outbox_filled(self._payments.outbox)
        self._signals.payment_due(self._processing_delay.total_seconds())
        return Answer(201, body)

    async def _uses_left(self, key: PaymentKey) -> range | None:
        """The uses that a payment key has left; None for one without a limit. Raises PaymentKeyUsedUp."""
        if key.max_uses is None:
            return None
        left = range(await self._payments.uses_of_key(key.owner_id, key.id) + 1, key.max_uses + 1)
        if not left:
            raise PaymentKeyUsedUp
        return left

    async def _use_key(
        self, payment: Payment, events: tuple[OutboxEvent, ...], claim: Claim | None, uses: range
    ) -> bool:
        """Insert as the next use of a payment key: the insert itself uses it up, so no two payments have the same."""
        for use in uses:
            with suppress(KeyUseTaken):
                return await self._payments.insert(replace(payment, payment_key_use=use), events, claim)
        raise PaymentKeyUsedUp

    def _new_payment(self, payment_id: str, caller: Caller, request: ChargeFields, source: Source) -> Payment:
        now = clock.now()
        return Payment(
            id=payment_id,
            owner_id=caller.account_id,
            customer_name=request.customer_name or source.customer_name,
            amount_minor=request.amount_minor,
            currency=request.currency,
            status=Status.PENDING,
            created_at=now,
            updated_at=now,
            acts_at=now + self._processing_delay,
            details=request.details,
            webhook_url=request.webhook_url,
            reference=request.reference,
            metadata=request.metadata,
            capture=request.capture,
            customer_id=source.customer_id,
            card=source.card,
            card_token_id=request.card_token,
            challenge_url=source.challenge_url,
            payment_key_id=caller.payment_key.id if caller.payment_key else None,
            request_id=caller.request_id,
        )

    async def _settled(self, payment_id: str, wait_s: float) -> Payment | None:
        """The payment once nothing more happens to it by itself, or as it was when last seen in the time. None where it
        was never seen: the database may go away meanwhile, and the charge is made all the same. So it is where the
        process is being stopped, which cancels the waiting.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(wait_s, MAX_WAIT_S)
        payment: Payment | None = None
        with suppress(asyncio.CancelledError):
            while True:
                try:
                    payment = await self._payments.latest(payment_id)
                    if payment is None or payment.status not in rules.AWAITS_WORKER:
                        break
                except DriverError as error:
                    if not outage(error):
                        raise
                remaining_s = deadline - loop.time()
                if remaining_s <= 0:
                    break
                await asyncio.sleep(min(_POLL_S, remaining_s))
        return payment


def _require_what_the_key_opens(caller: Caller, request: ChargeFields, customer_id: str | None) -> None:
    key = caller.payment_key
    if key is None:
        return
    if key.currency is not None and key.currency != request.currency:
        raise invalid(("body", "currency"), f"the payment key opens payments in {key.currency}", request.currency)
    if key.amount_minor is not None and key.amount_minor != request.amount_minor:
        amount = to_major(key.amount_minor, request.currency)
        raise invalid(("body", "paymentAmount"), f"the payment key opens payments of {amount}", request.payment_amount)
    if customer_id is not None or request.card_id is not None:
        raise Forbidden("Access denied. A payment key opens no customers and no saved cards.")
