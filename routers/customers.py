"""Customers."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core import json_codec
from core.errors import Contention, IdempotencyKeyReused, NotFound
from domain.customers import Customer
from routers.answers import answered, json_answer
from routers.conditional import conditional, documented_conditional
from routers.dependencies import IDEMPOTENCY_KEY_HEADER, CallerDep, PspDep, command_of
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.common import Message
from schemas.customers import CustomerOut, CustomerPage, CustomerPatch, CustomerQuery, CustomerRequest, customer_view

router = APIRouter(prefix=f"{API}/customers", route_class=PspRoute, tags=["Customers"])


@router.post(
    "",
    status_code=201,
    response_model=CustomerOut,
    responses=documented(IdempotencyKeyReused),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER]},
)
async def create_customer(request: Request, body: CustomerRequest) -> Response:
    """Make a customer. With an `Idempotency-Key` the same request can be repeated safely."""
    command = command_of(request)
    customers = command.psp.customers
    return answered(await customers.create(command.caller, body, idempotency_key=command.idempotency_key))


@router.get("", response_model=CustomerPage)
async def list_customers(psp: PspDep, caller: CallerDep, query: Annotated[CustomerQuery, Query()]) -> Response:
    """One's own customers, newest first."""
    page = await psp.customers.page(caller, query)
    return json_answer(
        json_codec.dumps(
            {
                "customers": [customer_view(customer) for customer in page.items],
                "totalCustomers": page.total,
                "totalIsLowerBound": page.total_is_lower_bound,
                "hasMore": page.next_cursor is not None,
                "nextCursor": page.next_cursor,
            }
        )
    )


@router.get("/{customer_id}", response_model=CustomerOut, **documented_conditional(NotFound))
async def get_customer(psp: PspDep, caller: CallerDep, customer_id: str, request: Request) -> Response:
    """One customer."""
    return conditional(request, _shown(await psp.customers.get(caller, customer_id)))


@router.put("/{customer_id}", response_model=CustomerOut, responses=documented(NotFound, Contention))
async def replace_customer(psp: PspDep, caller: CallerDep, customer_id: str, body: CustomerRequest) -> Response:
    """Replace all that describes a customer: what is not sent is cleared."""
    return json_answer(_shown(await psp.customers.replace(caller, customer_id, body)))


@router.patch("/{customer_id}", response_model=CustomerOut, responses=documented(NotFound, Contention))
async def amend_customer(psp: PspDep, caller: CallerDep, customer_id: str, body: CustomerPatch) -> Response:
    """Change what describes a customer: what is sent replaces what is there, and null clears it."""
    return json_answer(_shown(await psp.customers.amend(caller, customer_id, body)))


@router.delete("/{customer_id}", responses=documented(NotFound))
async def delete_customer(psp: PspDep, caller: CallerDep, customer_id: str) -> Message:
    """Delete a customer. Deleting hides: lists and reads stop showing it, and its payments stay. The encrypted
    numbers of its saved cards are removed."""
    await psp.customers.delete(caller, customer_id)
    return Message(message=f"Customer '{customer_id}' deleted successfully.")


def _shown(customer: Customer) -> bytes:
    return json_codec.dumps(customer_view(customer))
