"""Hints between processes."""

import asyncio
import contextlib

from core.database import Database
from repositories.indexes import create_indexes
from repositories.signals import SignalRepository
from services.signals import Signals


async def test_a_worker_still_listens_after_a_long_silence(mongo_uri: str) -> None:
    database = Database(mongo_uri, "silence_test")
    await create_indexes(database)
    worker = Signals(SignalRepository(database), tell_others=False)
    listening = asyncio.create_task(worker.listen())
    try:
        await asyncio.wait({listening}, timeout=8)
        assert not listening.done()
        worker.outbox.clear()
        await SignalRepository(database).send()
        await worker.outbox.wait()
    finally:
        listening.cancel()
        await asyncio.wait({listening})
        await database.drop()
        database.close()


async def test_a_process_without_workers_rings_the_bells_of_those_that_have_them(mongo_uri: str) -> None:
    database = Database(mongo_uri, "signals_test")
    await create_indexes(database)
    api = Signals(SignalRepository(database), tell_others=True)
    worker = Signals(SignalRepository(database), tell_others=False)
    listening = asyncio.create_task(worker.listen())
    try:
        for ring in (api.outbox_filled, lambda: api.payment_due(0)):
            worker.outbox.clear()
            worker.payments.clear()
            while not worker.outbox.is_set():  # the first ones may come before anybody listens
                assert not listening.done()
                ring()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(worker.outbox.wait(), 0.5)
            assert worker.payments.is_set()
    finally:
        listening.cancel()
        await asyncio.wait({listening})
        await api.close()
        await database.drop()
        database.close()
