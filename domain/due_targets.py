"""Which targets may have something due, so that a look for work asks for those and for no others.

A target is looked at when something was published for it, when a retry of it is due, or when a sweep of all targets has
found something due; afterwards it is forgotten, unless there was more. So any number of targets that wait for a distant
retry cost nothing but the sweep.
"""

import heapq


class DueTargets:
    """Targets in the order in which they became due, and times at which others will be (seconds of any one clock)."""

    def __init__(self) -> None:
        self._due: dict[str, None] = {}
        self._later: list[tuple[float, str]] = []

    def add(self, target: str) -> None:
        """It may have something due now. One that is there already keeps its place."""
        self._due.setdefault(target)

    def add_at(self, target: str, at_s: float) -> None:
        heapq.heappush(self._later, (at_s, target))

    def due(self, now_s: float) -> list[str]:
        """Who waits to be looked at, the longest waiting first."""
        while self._later and self._later[0][0] <= now_s:
            self.add(heapq.heappop(self._later)[1])
        return list(self._due)

    def discard(self, target: str) -> None:
        """It is being looked at: what is added from now on is news."""
        self._due.pop(target, None)

    def next_at_s(self) -> float | None:
        """When the next becomes due."""
        return self._later[0][0] if self._later else None
