"""Refunds."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core import json_codec
from core.errors import AmountExceeded, Contention, IdempotencyKeyReused, InvalidState, NotFound
from routers.answers import answered, json_answer
from routers.conditional import conditional, documented_conditional
from routers.dependencies import IDEMPOTENCY_KEY_HEADER, CallerDep, PspDep, command_of
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.refunds import RefundOut, RefundPage, RefundQuery, RefundRequest

router = APIRouter(prefix=f"{API}/refunds", route_class=PspRoute, tags=["Refunds"])


@router.post(
    "",
    status_code=201,
    response_model=RefundOut,
    responses=documented(NotFound, InvalidState, AmountExceeded, Contention, IdempotencyKeyReused),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER]},
)
async def create_refund(request: Request, body: RefundRequest) -> Response:
    """Give back what was captured, all that is left by default. The refund is `pending` until the bank has decided;
    its amount is reserved meanwhile, and free again if the bank refuses."""
    command = command_of(request)
    return answered(await command.psp.refunds.request(command.caller, body, command.idempotency_key))


@router.get("", response_model=RefundPage)
async def list_refunds(psp: PspDep, caller: CallerDep, query: Annotated[RefundQuery, Query()]) -> Response:
    """One's own refunds, newest first. A refund appears here a moment after it was requested."""
    return json_answer(json_codec.dumps(await psp.refunds.page(caller, query)))


@router.get("/{refund_id}", response_model=RefundOut, **documented_conditional(NotFound))
async def get_refund(psp: PspDep, caller: CallerDep, refund_id: str, request: Request) -> Response:
    """One refund, as it is at this moment."""
    return conditional(request, json_codec.dumps(await psp.refunds.get(caller, refund_id)))
