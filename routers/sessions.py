"""One's own sessions."""

from typing import Annotated

from fastapi import APIRouter, Query

from core.errors import NotFound
from routers.dependencies import ActorDep, CallerDep, PspDep
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.common import Message, PageQuery
from schemas.sessions import SessionPage

router = APIRouter(prefix=f"{API}/sessions", route_class=PspRoute, tags=["Sessions"])


@router.get("")
async def list_sessions(psp: PspDep, caller: CallerDep, query: Annotated[PageQuery, Query()]) -> SessionPage:
    """One's own sessions that have neither ended nor expired, newest first."""
    return await psp.sessions.page(caller, query)


@router.delete("")
async def end_all_sessions(psp: PspDep, actor: ActorDep) -> Message:
    """End all of one's own sessions, the one that asks among them. Their tokens stop working at once."""
    await psp.sessions.end_all(actor)
    return Message(message="All sessions ended successfully.")


@router.delete("/{session_id}", responses=documented(NotFound))
async def end_session(psp: PspDep, actor: ActorDep, session_id: str) -> Message:
    """End one of one's own sessions. Its tokens stop working at once."""
    await psp.sessions.end(actor, session_id)
    return Message(message=f"Session '{session_id}' ended successfully.")
