"""Events."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core import json_codec
from core.errors import NotFound
from repositories.pages import Page
from routers.answers import json_answer
from routers.conditional import conditional, documented_conditional
from routers.dependencies import CallerDep, PspDep
from routers.roles import API
from routers.route import PspRoute
from schemas.events import EventOut, EventPage, EventQuery

router = APIRouter(prefix=f"{API}/events", route_class=PspRoute, tags=["Events"])


@router.get("", response_model=EventPage)
async def list_events(psp: PspDep, caller: CallerDep, query: Annotated[EventQuery, Query()]) -> Response:
    """What has happened to one's own objects, newest first. An event appears here a moment after the change that it
    tells of."""
    return json_answer(_listed(await psp.events.page(caller, query)))


@router.get("/{event_id}", response_model=EventOut, **documented_conditional(NotFound))
async def get_event(psp: PspDep, caller: CallerDep, event_id: str, request: Request) -> Response:
    """One event, byte for byte as its webhooks send it."""
    return conditional(request, await psp.events.get(caller, event_id))


def _listed(page: Page[bytes]) -> bytes:
    figures = json_codec.dumps(
        {
            "totalEvents": page.total,
            "totalIsLowerBound": page.total_is_lower_bound,
            "hasMore": page.next_cursor is not None,
            "nextCursor": page.next_cursor,
        }
    )
    # Put together from the bytes that are stored: reading and writing them again could change a number's form.
    return b'{"events":[' + b",".join(page.items) + b"]," + figures[1:]
