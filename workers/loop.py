"""What the loops have in common: resting until there is work, and going on after an outage."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any, TypeVar

from core import clock
from core.database import DriverError, outage
from services.signals import SWEEP_S

T = TypeVar("T")
QUIET_S = 10.0
"""An outage that goes on is said once."""
_LOG = logging.getLogger(__name__)


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Await the work; being cancelled waits for its end first, so that a shutdown leaves no batch half done."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def rest(bell: asyncio.Event, timeout_s: float = SWEEP_S) -> bool:
    """Return when the bell rings, or after the time; whether it rang."""
    try:
        async with asyncio.timeout(timeout_s):
            return await bell.wait()
    except TimeoutError:
        return False


def seconds_until(moment: datetime | None) -> float:
    """How long to rest: until the next work is due, and never longer than a sweep."""
    if moment is None:
        return SWEEP_S
    return min(max((moment - clock.now()).total_seconds(), 0.001), SWEEP_S)


async def keep_going(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run an endless loop, and again after whatever stopped it. Leases and outboxes keep what was under way."""
    said_at_s = -math.inf
    while True:
        try:
            await work()
        except Exception as error:
            now_s = asyncio.get_running_loop().time()
            if not (isinstance(error, DriverError) and outage(error)):
                _LOG.exception("%s was stopped by an error and goes on", name)
            elif now_s - said_at_s > QUIET_S:
                _LOG.warning("%s waits for the database: %s", name, type(error).__name__)
                said_at_s = now_s
        await asyncio.sleep(SWEEP_S)
