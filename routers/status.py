"""Whether the service works."""

from fastapi import APIRouter, Response

from core.database import DriverError
from routers.dependencies import PspDep
from routers.roles import API
from routers.route import PspRoute
from schemas.status import StatusMetrics, StatusOut

router = APIRouter(prefix=API, route_class=PspRoute, tags=["Status"])


@router.get("/status", responses={503: {"model": StatusOut, "description": "The database does not answer"}})
async def status(psp: PspDep, response: Response) -> StatusOut:
    """Whether the service and its database work, and a few figures."""
    try:
        metrics = StatusMetrics(total_transactions=await psp.payments.count(), last_restart=psp.started_at)
    except DriverError:
        response.status_code = 503
        response.headers["Retry-After"] = "1"
        metrics = StatusMetrics(total_transactions=0, last_restart=psp.started_at)
        return StatusOut(status="degraded", message="The database does not answer.", metrics=metrics)
    return StatusOut(status="ok", metrics=metrics)
