"""When a failed webhook is sent again."""

import random
from collections.abc import Sequence

MAX_JITTER = 0.2


def delay_s(schedule_s: Sequence[float], failures: int, *, jitter: float | None = None) -> float | None:
    """Seconds until the attempt after this many failures (1 for the first), or None after the last.

    The schedule is stretched by up to 20 %, so that what failed together does not come back together.
    """
    if failures > len(schedule_s):
        return None
    stretch = random.uniform(0, MAX_JITTER) if jitter is None else jitter  # noqa: S311 - spreads load, guards nothing
    return schedule_s[failures - 1] * (1 + stretch)
