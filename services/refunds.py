"""Refunds: giving back what was captured, whole or in parts."""

from typing import Any

from core import clock, ids, json_codec
from core.errors import NotFound
from domain import payments as rules
from domain.payments import Change, Payment
from repositories.pages import CursorInvalid
from repositories.payments import PaymentRepository
from repositories.refunds import RefundRepository
from schemas.refunds import RefundQuery, RefundRequest, refund_view
from services.caller import Caller
from services.idempotency import Answer
from services.payment_changes import Once, PaymentChanges
from services.validation import invalid, minor_units

_ROUTE = "POST /refunds"


class Refunds:
    def __init__(self, payments: PaymentRepository, refunds: RefundRepository, changes: PaymentChanges):
        self._payments = payments
        self._refunds = refunds
        self._changes = changes

    async def request(self, caller: Caller, request: RefundRequest, key: str | None) -> Answer:
        """Reserve an amount to be given back; the worker tells the bank. The reservation ends where the bank refuses.

        Raises NotFound, InvalidState, AmountExceeded.
        """
        derived = ids.derived("re", caller.account_id, _ROUTE, key) if key is not None else None
        refund_id = derived or ids.fresh("re")

        async def read() -> Payment:
            return await self._changes.own(caller, request.payment_id)

        def decide(payment: Payment) -> Change:
            amount_minor = minor_units(request.amount, payment.currency)
            return rules.request_refund(payment, clock.now(), refund_id, amount_minor, request.reason)

        def shown(change: Change) -> bytes:
            (event,) = change.events
            assert event.refund is not None
            return json_codec.dumps(refund_view(event.refund, event.payment))

        if key is None:
            return Answer(201, shown(await self._changes.apply(read, decide, caller.request_id)))
        once = Once(caller, _ROUTE, key, request.fingerprint_source())
        return await self._changes.apply_once(once, read, decide, status=201, shown=shown)

    async def get(self, caller: Caller, refund_id: str) -> dict[str, Any]:
        """The refund as it stands in its payment at this moment. Raises NotFound."""
        payment = await self._payments.of_refund(caller.account_id, refund_id)
        if payment is None:
            raise NotFound(f"Refund '{refund_id}' not found.")
        return refund_view(next(refund for refund in payment.refunds if refund.id == refund_id), payment)

    async def page(self, caller: Caller, query: RefundQuery) -> dict[str, Any]:
        """The caller's refunds, newest first, as the publisher last saw them."""
        try:
            page = await self._refunds.page(
                caller.account_id, query.payment_id, query.status, limit=query.limit, cursor=query.cursor
            )
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
        return {
            "refunds": page.items,
            "totalRefunds": page.total,
            "totalIsLowerBound": page.total_is_lower_bound,
            "hasMore": page.next_cursor is not None,
            "nextCursor": page.next_cursor,
        }
