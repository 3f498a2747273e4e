"""Empties outboxes, batch after batch."""

from collections.abc import Set

from services.publishing import Publishing
from services.signals import Signals
from workers.loop import finish, rest


async def run(publishing: Publishing, signals: Signals) -> None:
    waiting: Set[str] = publishing.outboxes
    while True:
        signals.outbox.clear()
        waiting = waiting | signals.filled_outboxes
        signals.filled_outboxes = set()
        if waiting:
            waiting = await finish(publishing.publish_batch(waiting))  # where there was something, there may be more
        elif not await rest(signals.outbox) and await publishing.anything_waits():
            waiting = publishing.outboxes
