"""Shows that this process's workers live."""

import asyncio

from services.health import BEAT_EVERY_S, Health


async def run(health: Health) -> None:
    while True:
        await health.beat()
        await asyncio.sleep(BEAT_EVERY_S)
