"""What Prometheus reads."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from routers.dependencies import PspDep
from routers.route import PspRoute

router = APIRouter(route_class=PspRoute, include_in_schema=False)


@router.get("/metrics")
async def metrics(psp: PspDep) -> Response:
    return Response(
        await psp.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
    )
