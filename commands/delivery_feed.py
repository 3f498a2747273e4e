"""What becomes of an account's deliveries from now on: each change of state, and each further attempt."""

from datetime import datetime, timedelta
from typing import Any

from commands.api import Api
from core.clock import rfc3339

PAGE = 100
MAX_PAGES = 10
"""The newest thousand are followed."""
OVERLAP = timedelta(seconds=60)
"""A delivery is listed by when its event happened, and made when a worker comes to it: by so much later than others."""

Delivery = dict[str, Any]


class DeliveryFeed:
    """A delivery changes until it is delivered or dead. So each look is at a window that begins with the oldest one
    that is still pending, and reaches back over OVERLAP at least."""

    def __init__(self, api: Api):
        self._api = api
        self._since: datetime | None = None
        self._known: dict[str, tuple[str, int]] = {}
        """The state and the number of attempts that were seen, by id."""

    async def changed(self) -> list[Delivery]:
        """The deliveries that are not as they were at the last look, in the order of their changes. The first look
        finds all that there are."""
        window = await self._window()
        changed = [one for one in window if self._known.get(one["id"]) != _state(one)]
        self._known = {one["id"]: _state(one) for one in window}
        if window:
            self._since = self._beginning(window)
        return sorted(changed, key=lambda one: str(one["updatedAt"]))

    def _beginning(self, window: list[Delivery]) -> datetime:
        """Where the next window begins: never earlier than this one, or what it lacks would seem to be new."""
        pending = [_created_at(one) for one in window if one["status"] == "pending"]
        wanted = min([_created_at(window[0]) - OVERLAP, *pending])
        return max(wanted, self._since or _created_at(window[-1]))

    async def _window(self) -> list[Delivery]:
        """Newest first."""
        query: dict[str, str | int] = {"limit": PAGE}
        if self._since is not None:
            query["createdFrom"] = rfc3339(self._since)
        window: list[Delivery] = []
        for _ in range(MAX_PAGES):
            page = await self._api.get("/deliveries", **query)
            window += page["deliveries"]
            if not page["hasMore"]:
                break
            query["cursor"] = page["nextCursor"]
        return window


def _created_at(delivery: Delivery) -> datetime:
    return datetime.fromisoformat(delivery["createdAt"])


def _state(delivery: Delivery) -> tuple[str, int]:
    return delivery["status"], delivery["attemptCount"]
