"""Whether the process lives, and whether it is ready for requests: for containers, load balancers and monitors."""

from fastapi import APIRouter, Response

from core.errors import NotReady
from routers.dependencies import PspDep
from routers.route import PspRoute, documented
from schemas.status import LiveOut, ReadyOut

router = APIRouter(prefix="/health", route_class=PspRoute, tags=["Status"])


@router.get("/live")
async def live(response: Response) -> LiveOut:
    """Whether the process answers. Who gets no answer starts it again."""
    response.headers["Cache-Control"] = "no-store"
    return LiveOut()


@router.get("/ready", responses=documented(NotReady))
async def ready(psp: PspDep, response: Response) -> ReadyOut:
    """Whether MongoDB answers, its indexes are there, and a worker has shown a sign of life: else 503 with the reasons.
    Who gets one sends requests elsewhere, or waits."""
    if reasons := await psp.health.reasons_against():
        raise NotReady(" ".join(reasons))
    response.headers["Cache-Control"] = "no-store"
    return ReadyOut()
