"""The audit log."""

from typing import Annotated

from fastapi import APIRouter, Query

from routers.dependencies import ActorDep, PspDep
from routers.roles import API
from routers.route import PspRoute
from schemas.audit import AuditPage, AuditQuery

router = APIRouter(prefix=f"{API}/audit", route_class=PspRoute, tags=["Admin"])


@router.get("")
async def list_audit_rows(psp: PspDep, actor: ActorDep, query: Annotated[AuditQuery, Query()]) -> AuditPage:
    """Who did what to what, when, from where, and how it ended: of every account, newest first."""
    return await psp.audit.page(actor, query)
