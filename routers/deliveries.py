"""Deliveries."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core.errors import NotFound
from routers.conditional import conditional, documented_conditional
from routers.dependencies import CallerDep, PspDep
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.deliveries import DeliveryPage, DeliveryQuery, DeliveryWithAttempts, EndpointDeliveryQuery

router = APIRouter(prefix=API, route_class=PspRoute, tags=["Deliveries"])


@router.get("/deliveries")
async def list_deliveries(psp: PspDep, caller: CallerDep, query: Annotated[DeliveryQuery, Query()]) -> DeliveryPage:
    """What was sent, is to be sent, and was given up (`status=dead`), newest first."""
    return await psp.deliveries.page(caller, query)


@router.get("/deliveries/{delivery_id}", response_model=DeliveryWithAttempts, **documented_conditional(NotFound))
async def get_delivery(psp: PspDep, caller: CallerDep, delivery_id: str, request: Request) -> Response:
    """One delivery with every attempt."""
    delivery = await psp.deliveries.get(caller, delivery_id)
    return conditional(request, delivery.model_dump_json(by_alias=True).encode())


@router.get("/webhook-endpoints/{endpoint_id}/deliveries", responses=documented(NotFound))
async def list_webhook_endpoint_deliveries(
    psp: PspDep, caller: CallerDep, endpoint_id: str, query: Annotated[EndpointDeliveryQuery, Query()]
) -> DeliveryPage:
    """What goes and went to one endpoint, newest first."""
    return await psp.deliveries.page_of_endpoint(caller, endpoint_id, query)
