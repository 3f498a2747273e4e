"""What the loops have in common: resting until there is work, and going on after an outage."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from core import clock
from core.database import DriverError
from services.signals import SWEEP_S

_LOG = logging.getLogger(__name__)


async def rest(bell: asyncio.Event, timeout_s: float = SWEEP_S) -> None:
    """Return when the bell rings, or after the time."""
    try:
        async with asyncio.timeout(timeout_s):
            await bell.wait()
    except TimeoutError:
        pass


def seconds_until(moment: datetime | None) -> float:
    """How long to rest: until the next work is due, and never longer than a sweep."""
    if moment is None:
        return SWEEP_S
    return min(max((moment - clock.now()).total_seconds(), 0.001), SWEEP_S)


async def keep_going(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run an endless loop, and again after whatever stopped it. Leases and outboxes keep what was under way."""
    away = False
    while True:
        try:
            await work()
        except DriverError as error:
            if not away:
                _LOG.warning("%s waits for the database: %s", name, type(error).__name__)
            away = True
        except Exception:
            _LOG.exception("%s was stopped by an error and goes on", name)
        await asyncio.sleep(SWEEP_S)
