"""Hints between processes: "there is new work of this kind". Never the truth, which is in the work's own collection.

An API process without a worker inserts a tiny document into a capped collection, and workers wait at its end. A change
stream would make MongoDB look at every write of the database to find these: it took a tenth of what a payment costs.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

from core.database import CursorType, Database, Document

COLLECTION = "signals"
SIZE_BYTES = 64 * 1024
"""Hundreds of hints. A worker that is further behind than that begins anew."""

_LONGEST_WAIT_MS = 3000
"""Below the time limit of an operation; longer would only mean fewer of them."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Where new work is."""

    outboxes: frozenset[str] = frozenset()
    """By their collections' names."""
    payments_due: bool = False

    def and_also(self, other: "Hint") -> "Hint":
        return Hint(self.outboxes | other.outboxes, self.payments_due or other.payments_due)


class SignalRepository:
    def __init__(self, database: Database):
        self._signals = database[COLLECTION]
        # A hint that is lost costs a second, so nobody waits for its acknowledgement.
        self._unacknowledged = database.unacknowledged(COLLECTION)

    async def send(self, hint: Hint) -> None:
        await self._unacknowledged.insert_one(_to_document(hint))

    async def watch(self) -> AsyncIterator[Hint]:
        """Yields each hint, until the connection fails. What came earlier counts, too."""
        # At the end of an empty collection MongoDB lets nobody wait. Acknowledged, so that there is something to find.
        await self._signals.insert_one(_to_document(Hint()))
        found = False
        while not found:
            # Whoever looks while the very first hints are being written may see none, and then never sees any.
            newest = self._signals.find({}, cursor_type=CursorType.TAILABLE_AWAIT).max_await_time_ms(_LONGEST_WAIT_MS)
            async for row in newest:
                found = True
                yield _from_document(row)
        while cast(bool, newest.alive):  # the iteration pauses whenever nothing has come for that long
            async for row in newest:
                yield _from_document(row)


def _to_document(hint: Hint) -> Document:
    return {"outboxes": list(hint.outboxes), "payments_due": hint.payments_due}


def _from_document(row: Document) -> Hint:
    """(What an older version wrote names nothing: a sweep finds it.)"""
    return Hint(frozenset(row.get("outboxes", ())), row.get("payments_due", False))
