"""Takes due payments to the bank, batch after batch."""

from services.processing import Processing
from services.signals import Signals
from workers.loop import finish, rest, seconds_until


async def run(processing: Processing, signals: Signals) -> None:
    while True:
        signals.payments.clear()
        if await finish(processing.process_batch()) == 0:
            await rest(signals.payments, seconds_until(await processing.next_due_at()))
