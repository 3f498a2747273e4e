"""Payments."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core import json_codec
from core.errors import (
    AmountExceeded,
    CardTokenExpired,
    CardTokenUsed,
    Contention,
    Forbidden,
    IdempotencyKeyReused,
    InvalidState,
    NotFound,
    PaymentKeyExpired,
    PaymentKeyInvalid,
    PaymentKeyUsedUp,
)
from domain.payments import Payment
from repositories.pages import Page
from routers.answers import answered, json_answer
from routers.conditional import conditional, documented_conditional
from routers.dependencies import IDEMPOTENCY_KEY_HEADER, PREFER_HEADER, CallerDep, PspDep, charge_with, command_of
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.common import EmptyBody
from schemas.payments import (
    AuthenticationResult,
    CaptureRequest,
    ChargeRequest,
    PaymentListQuery,
    PaymentOut,
    PaymentPage,
    PaymentPatch,
    PaymentQuery,
    payment_view,
)
from services.caller import Caller

router = APIRouter(prefix=f"{API}/payments", route_class=PspRoute, tags=["Payments"])

NOTHING_YET = "No transactions found for this user."
NOTHING_MATCHES = "No transactions found matching the query for this user."


CHARGE_ERRORS = (IdempotencyKeyReused, NotFound, CardTokenUsed, CardTokenExpired)


@router.post(
    "/charge",
    status_code=201,
    response_model=PaymentOut,
    responses=documented(*CHARGE_ERRORS, PaymentKeyInvalid, PaymentKeyExpired, PaymentKeyUsedUp, Forbidden),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER, PREFER_HEADER]},
)
async def charge(request: Request, body: ChargeRequest) -> Response:
    """Charge a customer. The payment is `pending` and comes to its end after the processing delay; with `webhookUrl`,
    each step is told there. With an `Idempotency-Key` the same request can be repeated safely. What a test card does is
    listed at `/bank/scenarios`; without a card the payment simply succeeds."""
    return answered(await charge_with(request, body, body.customer_id, "POST /payments/charge"))


@router.get("/all", response_model=PaymentPage, responses=documented(NotFound))
async def list_all(psp: PspDep, caller: CallerDep, query: Annotated[PaymentListQuery, Query()]) -> Response:
    """One's own payments, newest first."""
    return page_response(caller, await psp.payments.page(caller, PaymentQuery.newest_first(query)), NOTHING_YET)


@router.get("/query", response_model=PaymentPage, responses=documented(NotFound))
async def query_payments(psp: PspDep, caller: CallerDep, query: Annotated[PaymentQuery, Query()]) -> Response:
    """One's own payments, filtered and sorted."""
    return page_response(caller, await psp.payments.page(caller, query), NOTHING_MATCHES)


@router.get("/{payment_id}", response_model=PaymentOut, **documented_conditional(NotFound))
async def get_payment(psp: PspDep, caller: CallerDep, payment_id: str, request: Request) -> Response:
    """One payment, with its refunds."""
    return conditional(request, json_codec.dumps(await psp.payments.get(caller, payment_id)))


@router.patch(
    "/{payment_id}",
    response_model=PaymentOut,
    responses=documented(NotFound, Contention),
)
async def amend_payment(psp: PspDep, caller: CallerDep, payment_id: str, body: PaymentPatch) -> Response:
    """Change what describes a payment: what is sent replaces what is there, and null clears it."""
    return json_answer(json_codec.dumps(await psp.payments.amend(caller, payment_id, body)))


@router.post(
    "/{payment_id}/cancel",
    response_model=PaymentOut,
    responses=documented(NotFound, InvalidState, Contention, IdempotencyKeyReused),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER]},
)
async def cancel_payment(request: Request, payment_id: str, body: EmptyBody | None = None) -> Response:
    """Call a payment off before any money has moved. What the bank had authorised is released."""
    command = command_of(request)
    return answered(await command.psp.payments.cancel(command.caller, payment_id, command.idempotency_key))


@router.post(
    "/{payment_id}/capture",
    response_model=PaymentOut,
    responses=documented(NotFound, InvalidState, AmountExceeded, Contention, IdempotencyKeyReused),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER]},
)
async def capture_payment(request: Request, payment_id: str, body: CaptureRequest | None = None) -> Response:
    """Take the money of an authorised payment, or a part of it; the rest is released."""
    command = command_of(request)
    capturing = command.psp.payments.capture(
        command.caller, payment_id, command.idempotency_key, body or CaptureRequest()
    )
    return answered(await capturing)


@router.post(
    "/{payment_id}/authenticate",
    response_model=PaymentOut,
    responses=documented(NotFound, InvalidState, Contention, IdempotencyKeyReused),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER]},
)
async def authenticate_payment(request: Request, payment_id: str, body: AuthenticationResult | None = None) -> Response:
    """Answer 3-D Secure in the cardholder's place, as tests do that have no browser."""
    command = command_of(request)
    authenticating = command.psp.payments.authenticate(
        command.caller, payment_id, command.idempotency_key, body or AuthenticationResult()
    )
    return answered(await authenticating)


def page_response(caller: Caller, page: Page[Payment], nothing_found: str | None = None) -> Response:
    """A page of payments, or the contract's 404 where the whole list is empty and the contract has one."""
    if page.total == 0 and nothing_found is not None:
        raise NotFound(nothing_found)
    return json_answer(
        json_codec.dumps(
            {
                "userId": caller.account_id,
                "totalTransactions": page.total,
                "totalIsLowerBound": page.total_is_lower_bound,
                "transactions": [payment_view(payment) for payment in page.items],
                "hasMore": page.next_cursor is not None,
                "nextCursor": page.next_cursor,
            }
        )
    )
