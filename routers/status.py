"""Whether the service works."""

from datetime import UTC, datetime

from fastapi import APIRouter, Response

from core.database import DriverError
from routers.dependencies import PspDep
from routers.roles import API
from routers.route import PspRoute
from schemas.status import StatusMetrics, StatusOut

router = APIRouter(prefix=API, route_class=PspRoute, tags=["Status"])


def _degraded(started_at: datetime) -> StatusOut:
    metrics = StatusMetrics(total_transactions=0, last_restart=started_at)
    return StatusOut(status="degraded", message="The database does not answer.", metrics=metrics)


_EXAMPLE = _degraded(datetime(2026, 11, 21, 7, 25, 1, 123_000, tzinfo=UTC)).model_dump(mode="json", by_alias=True)
_DEGRADED = {
    "model": StatusOut,
    "description": "The database does not answer",
    "content": {"application/json": {"example": _EXAMPLE}},
}


@router.get("/status", responses={503: _DEGRADED})
async def status(psp: PspDep, response: Response) -> StatusOut:
    """Whether the service and its database work, and a few figures."""
    try:
        metrics = StatusMetrics(total_transactions=await psp.payments.count(), last_restart=psp.started_at)
    except DriverError:
        response.status_code = 503
        response.headers["Retry-After"] = "1"
        return _degraded(psp.started_at)
    return StatusOut(status="ok", metrics=metrics)
