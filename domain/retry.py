"""When a failed webhook is sent again."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_JITTER = 0.2
MAX_RETRY_AFTER_S = 12 * 3600.0
"""A receiver may ask for this long and no longer."""


def delay_s(schedule_s: Sequence[float], failures: int, *, jitter: float | None = None) -> float | None:
    """Seconds until the attempt after this many failures (1 for the first), or None after the last.

    The schedule is stretched by up to 20 %, so that what failed together does not come back together.
    """
    if failures > len(schedule_s):
        return None
    stretch = random.uniform(0, MAX_JITTER) if jitter is None else jitter  # noqa: S311 - spreads load, guards nothing
    return schedule_s[failures - 1] * (1 + stretch)


def after_s(retry_after: str, now: datetime) -> float | None:
    """The seconds that a `Retry-After` header asks for, as a number or a date (RFC 9110, section 10.2.3), 12 hours at
    most; None where it says neither."""
    text = retry_after.strip()[:100]
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)
