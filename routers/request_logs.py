"""One's own requests."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core.errors import NotFound
from routers.conditional import conditional, documented_conditional
from routers.dependencies import CallerDep, PspDep
from routers.roles import API
from routers.route import PspRoute
from schemas.request_logs import RequestLogPage, RequestLogQuery, RequestLogWithBodies

router = APIRouter(prefix=f"{API}/request-logs", route_class=PspRoute, tags=["Request log"])


@router.get("")
async def list_request_logs(
    psp: PspDep, caller: CallerDep, query: Annotated[RequestLogQuery, Query()]
) -> RequestLogPage:
    """One's own requests of the last seven days, newest first. A request appears here a moment after its answer."""
    return await psp.request_log.page(caller, query)


@router.get("/{log_id}", response_model=RequestLogWithBodies, **documented_conditional(NotFound))
async def get_request_log(psp: PspDep, caller: CallerDep, log_id: str, request: Request) -> Response:
    """One request with its bodies, without secrets."""
    found = await psp.request_log.get(caller, log_id)
    return conditional(request, found.model_dump_json(by_alias=True).encode())
