"""Takes due payments to the bank, batch after batch."""

from core import clock
from services.processing import Processing
from services.signals import Signals
from workers.loop import finish, rest, seconds_until


async def run(processing: Processing, signals: Signals) -> None:
    while True:
        signals.payments.clear()
        next_due_at = await processing.next_due_at()
        if next_due_at is None or next_due_at > clock.now():
            await rest(signals.payments, seconds_until(next_due_at))
        else:
            while await finish(processing.process_batch()):
                pass
