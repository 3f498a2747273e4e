"""Payments: charging, reading, changing, cancelling, deleting."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from core import clock, ids, json_codec
from core.errors import Contention, Forbidden, InvalidState, NotFound
from domain import payments as rules
from domain.money import comparable_bound
from domain.payments import Change, MoveNotAllowed, Payment, Status
from repositories.claims import Claim
from repositories.outbox import OutboxEvent
from repositories.pages import CursorInvalid, Page, Sort
from repositories.payments import ClaimTaken, PaymentFilter, PaymentRepository, Write
from schemas.payments import (
    AdminPaymentQuery,
    ChargeRequest,
    PaymentPatch,
    PaymentQuery,
    SortBy,
    SortOrder,
    payment_view,
)
from services.caller import Caller
from services.idempotency import Answer, fingerprint_of, replay
from services.signals import Signals
from services.validation import invalid

MAX_WAIT_S = 30
_POLL_S = 0.05
_TRIES = 20
_SORT_FIELDS = {SortBy.AMOUNT: "amount_comparable", SortBy.CREATED_AT: "created_at"}


class Payments:
    def __init__(self, payments: PaymentRepository, signals: Signals, hash_key: bytes, processing_delay_s: float):
        self._payments = payments
        self._signals = signals
        self._hash_key = hash_key
        self._processing_delay = timedelta(seconds=processing_delay_s)

    async def charge(
        self, caller: Caller, request: ChargeRequest, *, idempotency_key: str | None, wait_s: float
    ) -> Answer:
        """Accept a charge: one insert, which is at the same time the claim of its idempotency key.

        With a key, the id is derived from it: whoever inserts first made the payment, and everybody else finds that
        the id exists and repeats that answer. With `wait_s` the answer waits for the final state.
        """
        if idempotency_key is None:
            payment_id, fingerprint = ids.fresh("txn"), None
        else:
            payment_id = ids.derived("txn", caller.account_id, "POST /payments/charge", idempotency_key)
            fingerprint = self._fingerprint(request.fingerprint_source())
        change = rules.create(self._new_payment(payment_id, caller, request))
        body = _json(change.payment)
        claim = Claim(payment_id, fingerprint, 201, body) if fingerprint is not None else None
        event = OutboxEvent(ids.fresh("evt"), "payment.created", 1, change.payment.created_at, body)
        answer = Answer(201, body)
        if await self._payments.insert(change.payment, (event,), claim):
            self._signals.outbox_filled()
            self._signals.payment_due(self._processing_delay.total_seconds())
        else:
            assert fingerprint is not None, "a random id exists twice"
            answer = replay(await self._payments.claim_of(payment_id), fingerprint)
        if wait_s > 0:
            return Answer(answer.status, _json(await self._settled(payment_id, wait_s)), answer.replayed)
        return answer

    async def get(self, caller: Caller, payment_id: str) -> dict[str, Any]:
        return payment_view(await self._own(caller, payment_id))

    async def amend(self, caller: Caller, payment_id: str, patch: PaymentPatch) -> dict[str, Any]:
        changes = patch.changes()
        if not changes:
            return await self.get(caller, payment_id)
        return payment_view(
            await self._change(
                lambda: self._own(caller, payment_id), lambda payment: rules.amend(payment, clock.now(), **changes)
            )
        )

    async def cancel(self, caller: Caller, payment_id: str, *, idempotency_key: str | None) -> Answer:
        """Call a payment off before any money moved. Raises NotFound, InvalidState."""
        claim_id, fingerprint = None, b""
        if idempotency_key is not None:
            claim_id = ids.derived("idem", caller.account_id, "POST /payments/{id}/cancel", idempotency_key)
            fingerprint = self._fingerprint({"payment_id": payment_id})
            claim = await self._payments.command_claim(caller.account_id, claim_id)
            if claim is not None:
                return replay(claim, fingerprint)
        try:
            payment = await self._change(
                lambda: self._own(caller, payment_id),
                lambda payment: rules.cancel(payment, clock.now()),
                claim=lambda payment: Claim(claim_id, fingerprint, 200, _json(payment)) if claim_id else None,
            )
        except ClaimTaken:
            assert claim_id is not None
            return replay(await self._payments.command_claim(caller.account_id, claim_id), fingerprint)
        except InvalidState:
            # The same key, sent twice at once: the other one may have been carried out meanwhile.
            claim = await self._payments.command_claim(caller.account_id, claim_id) if claim_id else None
            if claim is None:
                raise
            return replay(claim, fingerprint)
        return Answer(200, _json(payment))

    async def delete(self, caller: Caller, payment_id: str) -> None:
        """Hide a payment from lists and reads, cancelling it first where that is still possible."""

        async def read() -> Payment:
            payment = await self._payments.get_of_anyone(payment_id)
            if payment is None:
                raise NotFound(f"Transaction '{payment_id}' not found.")
            if payment.owner_id != caller.account_id and not caller.is_admin:
                raise Forbidden("Access denied. Only transaction owner or admin/system_admin can delete.")
            return payment

        await self._change(read, lambda payment: rules.delete(payment, clock.now()))

    async def page(self, caller: Caller, query: PaymentQuery) -> Page[Payment]:
        """The caller's own payments."""
        return await self._page(query, caller.account_id)

    async def page_of_everyone(self, query: AdminPaymentQuery) -> Page[Payment]:
        """Every account's payments, or one's."""
        return await self._page(query, query.owner_id)

    async def count(self) -> int:
        return await self._payments.estimated_count()

    async def _page(self, query: PaymentQuery, owner_id: str | None) -> Page[Payment]:
        wanted = PaymentFilter(
            owner_id=owner_id,
            status=query.status,
            currency=query.currency,
            customer_name=query.customer_name,
            reference=query.reference,
            min_comparable=None if query.min_amount is None else comparable_bound(query.min_amount, upwards=True),
            max_comparable=None if query.max_amount is None else comparable_bound(query.max_amount, upwards=False),
            created_from=query.created_from,
            created_to=query.created_to,
        )
        sort = Sort(_SORT_FIELDS[query.sort_by], query.sort_order is SortOrder.DESCENDING)
        try:
            return await self._payments.page(wanted, sort, limit=query.limit, cursor=query.cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None

    def _new_payment(self, payment_id: str, caller: Caller, request: ChargeRequest) -> Payment:
        now = clock.now()
        return Payment(
            id=payment_id,
            owner_id=caller.account_id,
            customer_name=request.customer_name,
            amount_minor=request.amount_minor,
            currency=request.currency,
            status=Status.PENDING,
            created_at=now,
            updated_at=now,
            due_at=now + self._processing_delay,
            details=request.details,
            webhook_url=request.webhook_url,
            reference=request.reference,
            metadata=request.metadata,
        )

    async def _own(self, caller: Caller, payment_id: str) -> Payment:
        payment = await self._payments.get(caller.account_id, payment_id)
        if payment is None:
            raise NotFound(f"Transaction '{payment_id}' not found for this user.")
        return payment

    async def _change(
        self,
        read: Callable[[], Awaitable[Payment]],
        decide: Callable[[Payment], Change],
        claim: Callable[[Payment], Claim | None] = lambda _: None,
    ) -> Payment:
        """Read, decide, write if nobody else wrote meanwhile; a lost race begins again."""
        for attempt in range(_TRIES):
            before = await read()
            try:
                change = decide(before)
            except MoveNotAllowed as error:
                raise InvalidState(str(error)) from None
            if await self._payments.save(Write(before, change.payment, outbox(change), claim(change.payment))):
                if change.events:
                    self._signals.outbox_filled()
                return change.payment
            await asyncio.sleep(random.uniform(0, 0.002 * 2 ** min(attempt, 5)))  # noqa: S311 - spreads rivals
        raise Contention

    async def _settled(self, payment_id: str, wait_s: float) -> Payment:
        """The payment once nothing more happens to it by itself, or as it is when the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(wait_s, MAX_WAIT_S)
        while True:
            payment = await self._payments.latest(payment_id)
            assert payment is not None
            remaining_s = deadline - loop.time()
            if payment.status not in rules.AWAITS_WORKER or remaining_s <= 0:
                return payment
            await asyncio.sleep(min(_POLL_S, remaining_s))

    def _fingerprint(self, fields: dict[str, Any]) -> bytes:
        return fingerprint_of(self._hash_key, fields)


def outbox(change: Change) -> tuple[OutboxEvent, ...]:
    """A change's events as they are written beside it, each with the object as the API showed it then."""
    return tuple(
        OutboxEvent(ids.fresh("evt"), event.type, event.sequence, event.payment.updated_at, _json(event.payment))
        for event in change.events
    )


def _json(payment: Payment) -> bytes:
    return json_codec.dumps(payment_view(payment))
