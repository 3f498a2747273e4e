"""Payments: reading, changing, and what can be asked of one after its charge."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from core import clock
from core.database import Session
from core.errors import Forbidden, NotFound
from domain import payments as rules
from domain.audit import Action
from domain.money import comparable_bound
from domain.payments import Change, Payment
from repositories.pages import CursorInvalid, Page, Sort
from repositories.payments import PaymentFilter, PaymentRepository
from schemas.payments import (
    AdminPaymentQuery,
    AuthenticationResult,
    CaptureRequest,
    CustomerPaymentQuery,
    PaymentPatch,
    PaymentQuery,
    SortBy,
    SortOrder,
    payment_view,
)
from services.audit import Actor, Audit, id_in
from services.caller import Caller
from services.challenges import Challenges
from services.idempotency import Answer
from services.payment_changes import Once, PaymentChanges, payment_json
from services.validation import invalid, minor_units

_SORT_FIELDS = {SortBy.AMOUNT: "amount_comparable", SortBy.CREATED_AT: "created_at"}


class Payments:
    def __init__(self, payments: PaymentRepository, changes: PaymentChanges, challenges: Challenges, audit: Audit):
        self._payments = payments
        self._changes = changes
        self._challenges = challenges
        self._audit = audit

    async def get(self, caller: Caller, payment_id: str) -> dict[str, Any]:
        return payment_view(await self._changes.own(caller, payment_id))

    async def amend(self, caller: Caller, payment_id: str, patch: PaymentPatch) -> dict[str, Any]:
        fields = patch.changes()
        if not fields:
            return await self.get(caller, payment_id)
        change = await self._changes.apply(
            lambda: self._changes.own(caller, payment_id),
            lambda payment: rules.amend(payment, clock.now(), **fields),
            caller.request_id,
        )
        return payment_view(change.payment)

    async def cancel(self, caller: Caller, payment_id: str, key: str | None) -> Answer:
        """Call a payment off before any money has moved. Raises NotFound, InvalidState."""
        return await self._command(caller, payment_id, "cancel", key, {}, rules.cancel)

    async def capture(self, caller: Caller, payment_id: str, key: str | None, request: CaptureRequest) -> Answer:
        """Take what was authorised, or a part of it. Raises NotFound, InvalidState, AmountExceeded."""

        def decide(payment: Payment, now: datetime) -> Change:
            return rules.capture(payment, now, minor_units(request.amount, payment.currency))

        return await self._command(caller, payment_id, "capture", key, request.fingerprint_source(), decide)

    async def authenticate(
        self, caller: Caller, payment_id: str, key: str | None, request: AuthenticationResult
    ) -> Answer:
        """Do what the cardholder would do on the challenge page. Raises NotFound, InvalidState."""
        succeeded = request.result == "succeeded"

        def decide(payment: Payment, now: datetime) -> Change:
            return rules.authenticate(payment, now, succeeded=succeeded)

        return await self._command(caller, payment_id, "authenticate", key, {"succeeded": succeeded}, decide)

    async def challenged(self, payment_id: str, proof: str) -> Payment:
        """The payment of a challenge page. Raises NotFound for an address that we did not give out."""
        self._challenges.require(payment_id, proof)
        payment = await self._payments.get_of_anyone(payment_id)
        if payment is None:
            raise NotFound
        return payment

    async def answer_challenge(self, payment_id: str, proof: str, *, approved: bool, request_id: str | None) -> None:
        """The cardholder's answer on the challenge page. Raises NotFound, InvalidState."""
        await self._changes.apply(
            lambda: self.challenged(payment_id, proof),
            lambda payment: rules.authenticate(payment, clock.now(), succeeded=approved),
            request_id,
        )

    async def delete(self, actor: Actor, payment_id: str) -> None:
        """Hide a payment from lists and reads, cancelling it first where that is still possible."""
        caller = actor.caller

        async def read(session: Session) -> Payment:
            payment = await self._payments.get_of_anyone(payment_id, session)
            if payment is None:
                raise NotFound(f"Transaction '{payment_id}' not found.")
            if payment.owner_id != caller.account_id and not caller.is_admin:
                raise Forbidden("Access denied. Only transaction owner or admin/system_admin can delete.")
            return payment

        async def record(before: Payment, session: Session) -> None:
            state = {"owner_id": before.owner_id, "status": before.status.value}
            await self._audit.record(actor, Action.PAYMENT_DELETED, payment_id, before=state, session=session)

        await self._changes.apply_recorded(
            read, lambda payment: rules.delete(payment, clock.now()), record, actor.request_id
        )

    async def page(self, caller: Caller, query: PaymentQuery) -> Page[Payment]:
        """The caller's own payments."""
        return await self._page(query, caller.account_id)

    async def page_of_everyone(self, actor: Actor, query: AdminPaymentQuery) -> Page[Payment]:
        """Every account's payments, or one's. That they were read is in the audit log."""
        page = await self._page(query, query.owner_id)
        await self._audit.record(actor, Action.PAYMENTS_LISTED, id_in(query.owner_id))
        return page

    async def page_of_customer(self, caller: Caller, customer_id: str, query: CustomerPaymentQuery) -> Page[Payment]:
        """A customer's payments, newest first."""
        wanted = PaymentFilter(owner_id=caller.account_id, customer_id=customer_id)
        return await self._read(wanted, Sort("created_at", descending=True), query.limit, query.cursor)

    async def get_of_customer(self, caller: Caller, customer_id: str, payment_id: str) -> dict[str, Any]:
        """One of a customer's payments. Raises NotFound."""
        payment = await self._changes.own(caller, payment_id)
        if payment.customer_id != customer_id:
            raise NotFound(f"Transaction '{payment_id}' not found for this user.")
        return payment_view(payment)

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
        return await self._read(wanted, sort, query.limit, query.cursor)

    async def _read(self, wanted: PaymentFilter, sort: Sort, limit: int, cursor: str | None) -> Page[Payment]:
        try:
            return await self._payments.page(wanted, sort, limit=limit, cursor=cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), cursor) from None

    async def _command(
        self,
        caller: Caller,
        payment_id: str,
        name: str,
        key: str | None,
        fields: dict[str, Any],
        decide: Callable[[Payment, datetime], Change],
    ) -> Answer:
        async def read() -> Payment:
            return await self._changes.own(caller, payment_id)

        def decide_now(payment: Payment) -> Change:
            return decide(payment, clock.now())

        if key is None:
            return Answer(200, payment_json((await self._changes.apply(read, decide_now, caller.request_id)).payment))
        once = Once(caller, f"POST /payments/{{id}}/{name}", key, {"payment_id": payment_id, **fields})
        return await self._changes.apply_once(
            once, read, decide_now, status=200, shown=lambda change: payment_json(change.payment)
        )
