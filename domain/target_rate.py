"""A token bucket for each host: strangers can name any URL, and this keeps us from flooding whoever they name."""

from collections.abc import Mapping
from urllib.parse import urlsplit

MOST_REMEMBERED = 10_000


class TargetRate:
    """Times are seconds of any one clock that never goes back."""

    def __init__(self, per_second: float, burst: int):
        self._per_second = per_second
        self._burst = burst
        self._buckets: dict[str, tuple[float, float]] = {}

    def within(self, wanted: Mapping[str, int], hosts: Mapping[str, str], now_s: float) -> dict[str, int]:
        """How many of those wanted for each target may be sent now; targets at one host share what it may get."""
        left = {host: int(self._refilled(host, now_s)) for host in hosts.values()}
        allowed: dict[str, int] = {}
        for target, count in wanted.items():
            host = hosts[target]
            if taken := min(count, left[host]):
                allowed[target] = taken
                left[host] -= taken
        return allowed

    def use(self, host: str, now_s: float) -> None:
        """One is sent there."""
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
