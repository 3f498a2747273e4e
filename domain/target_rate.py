"""A token bucket for each host: strangers can name any URL, and this keeps us from flooding whoever they name."""

from urllib.parse import urlsplit

MOST_REMEMBERED = 10_000


class TargetRate:
    """Times are seconds of any one clock that never goes back."""

    def __init__(self, per_second: float, burst: int):
        self._per_second = per_second
        self._burst = burst
        self._buckets: dict[str, tuple[float, float]] = {}

    def available(self, host: str, now_s: float) -> int:
        """How many may be sent there now."""
        return int(self._refilled(host, now_s))

    def use(self, host: str, now_s: float) -> None:
        self._buckets[host] = (self._refilled(host, now_s) - 1, now_s)
        if len(self._buckets) > MOST_REMEMBERED:
            self._buckets = {
                name: bucket for name, bucket in self._buckets.items() if self._refilled(name, now_s) < self._burst
            }

    def _refilled(self, host: str, now_s: float) -> float:
        tokens, at_s = self._buckets.get(host, (float(self._burst), now_s))
        return min(self._burst, tokens + (now_s - at_s) * self._per_second)


def host_of(url: str) -> str:
    return urlsplit(url).hostname or url
