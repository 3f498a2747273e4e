"""One's own requests."""

from typing import Annotated

from fastapi import APIRouter, Query

from core.errors import NotFound
from routers.dependencies import CallerDep, PspDep
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.request_logs import RequestLogPage, RequestLogQuery, RequestLogWithBodies

router = APIRouter(prefix=f"{API}/request-logs", route_class=PspRoute, tags=["Request log"])


@router.get("")
async def list_request_logs(
    psp: PspDep, caller: CallerDep, query: Annotated[RequestLogQuery, Query()]
) -> RequestLogPage:
    """One's own requests of the last seven days, newest first. A request appears here a moment after its answer."""
    return await psp.request_log.page(caller, query)


@router.get("/{log_id}", responses=documented(NotFound))
async def get_request_log(psp: PspDep, caller: CallerDep, log_id: str) -> RequestLogWithBodies:
    """One request with its bodies, without secrets."""
    return await psp.request_log.get(caller, log_id)
