"""Counting requests against the limits: over all processes together, and exactly, however many come at once."""

import math
from base64 import urlsafe_b64encode

from core import clock, metrics
from core.crypto import keyed_hash
from core.database import DriverError, outage
from core.errors import DatabaseUnavailable, RateLimited
from domain.rate_limits import Policy, Standing
from repositories.rate_counters import RateCounterRepository

_PURPOSE = "rate_limit"


class RateLimits:
    def __init__(self, counters: RateCounterRepository, hash_key: bytes):
        self._counters = counters
        self._hash_key = hash_key

    async def count(self, policy: Policy, source: str) -> Standing:
        """Count a request of this source. Raises RateLimited where it is one too many, and DatabaseUnavailable where it
        cannot be counted: what nobody counts would be no limit.

        Windows begin at multiples of their length, the same for all, so that counting is one round trip.
        """
        now_s = clock.now().timestamp()
        window, into_s = divmod(now_s, policy.window_s)
        try:
            counted = await self._counters.count(f"{self._hash(policy, source)} {window:.0f}", policy.window_s)
        except DriverError as error:
            if not outage(error):
                raise
            raise DatabaseUnavailable from None
        standing = Standing(policy, counted, math.ceil(policy.window_s - into_s))
        if standing.exceeded:
            metrics.RATE_LIMITED.labels(policy.name).inc()
            raise RateLimited(headers={"Retry-After": str(standing.reset_s), **standing.headers})
        return standing

    def _hash(self, policy: Policy, source: str) -> str:
        # Who asks for what, and from where, is nobody's to read.
        hashed = keyed_hash(self._hash_key, _PURPOSE, f"{policy.name} {source}".encode())
        return urlsafe_b64encode(hashed[:16]).decode()
