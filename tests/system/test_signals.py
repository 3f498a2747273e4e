"""Hints between processes."""

import asyncio
import contextlib

import pytest

from core.database import Database
from repositories.customers import CustomerRepository
from repositories.indexes import create_indexes
from repositories.signals import Hint, SignalRepository
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
        await SignalRepository(database).send(Hint(frozenset({"payments"})))
        await worker.outbox.wait()
    finally:
        listening.cancel()
        await asyncio.wait({listening})
        await database.drop()
        database.close()


@pytest.mark.parametrize("bell", ["outbox", "payments"])
async def test_a_process_without_workers_rings_the_bell_of_those_that_have_them(mongo_uri: str, bell: str) -> None:
    database = Database(mongo_uri, "signals_test")
    await create_indexes(database)
    api = Signals(SignalRepository(database), tell_others=True)
    worker = Signals(SignalRepository(database), tell_others=False)
    listening = asyncio.create_task(worker.listen())
    customers = CustomerRepository(database).outbox
    rung: asyncio.Event = getattr(worker, bell)
    try:
        while not rung.is_set():  # the first ones may come before anybody listens
            assert not listening.done()
            api.outbox_filled(customers) if bell == "outbox" else api.payment_due(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(rung.wait(), 0.5)
        assert worker.filled_outboxes == ({"customers"} if bell == "outbox" else set())
        assert worker.outbox.is_set() != worker.payments.is_set(), "who has nothing to do is left alone"
    finally:
        listening.cancel()
        await asyncio.wait({listening})
        await api.close()
        await database.drop()
        database.close()


async def test_a_hint_that_names_nothing_rings_no_bell_and_ends_nothing(mongo_uri: str) -> None:
    """Processes of an older version write such."""
    database = Database(mongo_uri, "nameless_test")
    await create_indexes(database)
    worker = Signals(SignalRepository(database), tell_others=False)
    listening = asyncio.create_task(worker.listen())
    try:
        await database["signals"].insert_one({})
        while not worker.payments.is_set():
            assert not listening.done()
            await SignalRepository(database).send(Hint(payments_due=True))
            await asyncio.sleep(0.05)
        assert not worker.outbox.is_set()
    finally:
        listening.cancel()
        await asyncio.wait({listening})
        await database.drop()
        database.close()
