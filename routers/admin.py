"""What admins see of every account."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from core.errors import NotFound, WrongDatabase
from routers.dependencies import ActorDep, CallerDep, PspDep
from routers.payments import NOTHING_MATCHES, page_response
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.payments import AdminPaymentQuery, PaymentPage
from schemas.reset import ResetOut, ResetRequest
from schemas.status import Dashboard

router = APIRouter(prefix=f"{API}/admin", route_class=PspRoute, tags=["Admin"])


@router.get("/dashboard")
async def dashboard(psp: PspDep, caller: CallerDep) -> Dashboard:
    """Users by role, payments by status, volume by currency, webhooks, and the last 24 hours."""
    return await psp.dashboards.read(caller)


@router.get("/payments", response_model=PaymentPage, responses=documented(NotFound))
async def all_payments(psp: PspDep, actor: ActorDep, query: Annotated[AdminPaymentQuery, Query()]) -> Response:
    """Every account's payments, with the filters of `/payments/query` and `ownerId`."""
    return page_response(actor.caller, await psp.payments.page_of_everyone(actor, query), NOTHING_MATCHES)


@router.post("/reset", responses=documented(WrongDatabase))
async def reset(psp: PspDep, actor: ActorDep, body: ResetRequest) -> ResetOut:
    """Delete everything but the system_admins and the audit log, so that a test suite begins with nothing. `database`
    names the database, lest another one be emptied. Never in production."""
    return ResetOut(deleted=await psp.reset.reset(actor, body.database))
