"""What happens to an account from now on: each event once, also one that is published long after others."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from commands.api import Api
from core.clock import rfc3339

PAGE = 100
EXACT_TOTAL = 1000
"""Up to here the server counts exactly (api_documentation.md, Pages)."""
KEPT = 500
"""The window reaches back over as many events at least,"""
OVERLAP = timedelta(seconds=60)
"""and over as much time."""


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    type: str
    occurred_at: datetime
    object_id: str
    sequence: int
    """Its number among the events of its object, which may be of the same moment."""


class EventFeed:
    """An event is listed by when it happened and may be published later than younger ones. So each look is at a whole
    window and not at what came after the last one. Its total tells whether anything is new: mostly it is one small
    request.
    """

    def __init__(self, api: Api):
        self._api = api
        self._since: datetime | None = None
        """Where the window begins; with no event so far, nowhere."""
        self._known: dict[str, datetime] = {}
        """Every event of the window that was seen, and when it happened."""

    async def begin(self) -> None:
        """Pass over what has happened so far. By the events' own times: this machine's clock may be another."""
        newest = [_event(one) for one in (await self._api.get("/events", limit=1))["events"]]
        self._since = newest[0].occurred_at if newest else None
        for event in await self.unseen():
            self.see(event)

    async def unseen(self) -> list[Event]:
        """What the window holds besides what was seen, oldest first."""
        self._move_on()
        found: dict[str, Event] = {}
        query: dict[str, str | int] = {"limit": 1}
        if self._since is not None:
            query["createdFrom"] = rfc3339(self._since)
        while True:
            page = await self._api.get("/events", **query)
            found |= {one["id"]: _event(one) for one in page["events"] if one["id"] not in self._known}
            everything = page["totalEvents"] == len(self._known) + len(found) and not page["totalIsLowerBound"]
            if everything or not page["hasMore"]:
                return sorted(found.values(), key=lambda event: (event.occurred_at, event.sequence))
            query |= {"limit": PAGE, "cursor": page["nextCursor"]}

    def see(self, event: Event) -> None:
        """It is dealt with, and not found again."""
        self._known[event.id] = event.occurred_at

    def _move_on(self) -> None:
        """Let the window begin later, so that its total stays one that the server counts exactly."""
        if len(self._known) < EXACT_TOTAL:
            return
        moments = sorted(self._known.values())
        self._since = since = min(moments[-KEPT], moments[-1] - OVERLAP)
        self._known = {event_id: moment for event_id, moment in self._known.items() if moment >= since}


def _event(shown: dict[str, Any]) -> Event:
    data = shown["data"]
    occurred_at = datetime.fromisoformat(shown["timestamp"])
    return Event(shown["id"], shown["type"], occurred_at, data["id"], data.get("sequence", 0))
