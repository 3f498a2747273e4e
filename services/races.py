"""Compare-and-set: read, decide, and write on condition that nobody else wrote meanwhile; a lost race begins again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.errors import Contention

T = TypeVar("T")
_TRIES = 30


async def until_won(turn: Callable[[], Awaitable[T | None]]) -> T:
    """What the first turn gives that wins; one that somebody else was faster than gives None.

    Raises what a turn raises, and Contention after many lost ones.
    """
    for number in range(_TRIES):
        if (won := await turn()) is not None:
            return won
        await asyncio.sleep(random.uniform(0, 0.002 * 2 ** min(number, 5)))  # noqa: S311 - spreads rivals
    raise Contention
