"""The payments of a customer."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core import json_codec
from core.errors import NotFound
from routers.answers import answered
from routers.conditional import conditional
from routers.dependencies import IDEMPOTENCY_KEY_HEADER, PREFER_HEADER, CallerDep, PspDep, charge_with
from routers.payments import CHARGE_ERRORS, page_response
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.payments import CustomerChargeRequest, CustomerPaymentQuery, PaymentOut, PaymentPage

router = APIRouter(prefix=f"{API}/customers/{{customer_id}}/payments", route_class=PspRoute, tags=["Customers"])


@router.post(
    "",
    status_code=201,
    response_model=PaymentOut,
    responses=documented(*CHARGE_ERRORS),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER, PREFER_HEADER]},
)
async def charge_customer(request: Request, customer_id: str, body: CustomerChargeRequest) -> Response:
    """Charge a customer, with one of its saved cards (`cardId`) or any other."""
    return answered(await charge_with(request, body, customer_id, "POST /customers/{id}/payments"))


@router.get("", response_model=PaymentPage, responses=documented(NotFound))
async def list_customer_payments(
    psp: PspDep, caller: CallerDep, customer_id: str, query: Annotated[CustomerPaymentQuery, Query()]
) -> Response:
    """A customer's payments, newest first. Those of a deleted customer are found among all of one's own."""
    await psp.customers.get(caller, customer_id)
    return page_response(caller, await psp.payments.page_of_customer(caller, customer_id, query))


@router.get("/{payment_id}", response_model=PaymentOut, responses=documented(NotFound))
async def get_customer_payment(
    psp: PspDep, caller: CallerDep, customer_id: str, payment_id: str, request: Request
) -> Response:
    """One payment of a customer."""
    return conditional(request, json_codec.dumps(await psp.payments.get_of_customer(caller, customer_id, payment_id)))
