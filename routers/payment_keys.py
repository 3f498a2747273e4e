"""Payment keys."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core.errors import NotFound
from routers.conditional import conditional, documented_conditional
from routers.dependencies import ActorDep, CallerDep, PspDep
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.common import Message, PageQuery
from schemas.payment_keys import PaymentKeyMade, PaymentKeyOut, PaymentKeyPage, PaymentKeyRequest

router = APIRouter(prefix=f"{API}/payment-keys", route_class=PspRoute, tags=["Payment keys"])


@router.post("", status_code=201)
async def create_payment_key(psp: PspDep, actor: ActorDep, body: PaymentKeyRequest) -> PaymentKeyMade:
    """Make a publishable key that opens charges and nothing else, sent as `X-Payment-Key` in place of `X-API-Key`. It
    is shown in this answer and never again."""
    return await psp.payment_keys.make(actor, body)


@router.get("")
async def list_payment_keys(psp: PspDep, caller: CallerDep, query: Annotated[PageQuery, Query()]) -> PaymentKeyPage:
    """One's own payment keys, newest first."""
    return await psp.payment_keys.page(caller, query)


@router.get("/{payment_key_id}", response_model=PaymentKeyOut, **documented_conditional(NotFound))
async def get_payment_key(psp: PspDep, caller: CallerDep, payment_key_id: str, request: Request) -> Response:
    """One payment key, with how much of it is used up."""
    key = await psp.payment_keys.get(caller, payment_key_id)
    return conditional(request, key.model_dump_json(by_alias=True).encode())


@router.delete("/{payment_key_id}", responses=documented(NotFound))
async def revoke_payment_key(psp: PspDep, actor: ActorDep, payment_key_id: str) -> Message:
    """Revoke a payment key at once. Payments made with it go on."""
    await psp.payment_keys.revoke(actor, payment_key_id)
    return Message(message=f"Payment key '{payment_key_id}' revoked successfully.")
