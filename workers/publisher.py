"""Empties outboxes, batch after batch."""

from services.publishing import Publishing
from services.signals import Signals
from workers.loop import finish, rest


async def run(publishing: Publishing, signals: Signals) -> None:
    while True:
        signals.outbox.clear()
        if await finish(publishing.publish_batch()) == 0:
            while not await rest(signals.outbox) and not await publishing.anything_waits():
                pass
