"""Events, as their owner reads them: the bytes that webhooks send, and never another form of them."""

from core.errors import NotFound
from repositories.events import EventFilter, EventRepository
from repositories.pages import CursorInvalid, Page
from schemas.event_types import matching_types
from schemas.events import EventQuery
from services.caller import Caller
from services.validation import invalid


class Events:
    def __init__(self, events: EventRepository):
        self._events = events

    async def get(self, caller: Caller, event_id: str) -> bytes:
        """The body of one of the caller's own events. Raises NotFound."""
        body = await self._events.body(caller.account_id, event_id)
        if body is None:
            raise NotFound(f"Event '{event_id}' not found.")
        return body

    async def page(self, caller: Caller, query: EventQuery) -> Page[bytes]:
        """The bodies of the caller's own events, newest first."""
        wanted = EventFilter(
            caller.account_id,
            matching_types(query.type),
            query.object_id,
            query.created_from,
            query.created_to,
        )
        try:
            return await self._events.page(wanted, limit=query.limit, cursor=query.cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
