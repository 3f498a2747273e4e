"""Carries out what received webhooks cause, batch after batch."""

from services.incoming_webhooks import IncomingWebhooks
from services.signals import Signals
from workers.loop import finish, rest

REST_S = 5.0
"""The bell is rung in the same process. What another process received, or a killed worker left, may wait this long:
nobody waits for it, and looking each second would be one more operation a second in an idle worker."""


async def run(incoming: IncomingWebhooks, signals: Signals) -> None:
    while True:
        signals.incoming.clear()
        if await finish(incoming.process_batch()) == 0:
            await rest(signals.incoming, REST_S)
