"""Runs the workers of one process, inside the API process or in one of their own."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.target_rate import TargetRate
from services.psp import Psp
from workers import heartbeat, incoming, linker, processor, publisher, resender
from workers.dispatcher import Dispatcher
from workers.loop import keep_going

STRANGERS_RATE_PER_S = 20
STRANGERS_BURST = 40
STOP_S = 1.5
"""To finish batches and give leases back. Where the database is away neither comes to an end, and leases end anyway; an
operation that is given up keeps the process for up to four seconds more."""
_LOG = logging.getLogger(__name__)


@asynccontextmanager
async def running_workers(psp: Psp) -> AsyncIterator[None]:
    """Workers run inside the block and are stopped at its end; what they hold is leased, and others go on with it."""
    # Where private networks are closed, strangers name the URLs: see TargetRate.
    named_by_strangers = not psp.settings.webhook_allow_private_networks
    rate = TargetRate(STRANGERS_RATE_PER_S, STRANGERS_BURST) if named_by_strangers else None
    dispatcher = Dispatcher(psp.delivery, psp.signals, rate)
    loops = {
        "processor": lambda: processor.run(psp.processing, psp.signals),
        "publisher": lambda: publisher.run(psp.publishing, psp.signals),
        "dispatcher": dispatcher.run,
        "incoming": lambda: incoming.run(psp.incoming_webhooks, psp.signals),
        "resender": lambda: resender.run(psp.resend_jobs, psp.signals),
        "linker": lambda: linker.run(psp.audit_chain),
        "listener": psp.signals.listen,
        "heartbeat": lambda: heartbeat.run(psp.health),
    }
    tasks = [asyncio.create_task(keep_going(name, work), name=name) for name, work in loops.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        try:
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*tasks, return_exceptions=True)
                await dispatcher.stop()
        except TimeoutError:
            _LOG.warning("the workers did not come to an end in %s s; others go on when their leases end", STOP_S)
