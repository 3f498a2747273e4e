"""Hints between processes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from core.database import Database
from repositories.customers import CustomerRepository
from repositories.signals import Hint, SignalRepository
from services.signals import Signals
from tests.databases import own_database


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    async with own_database(mongo_uri, "signals_test") as database:
        yield database


@pytest.fixture
async def worker(database: Database) -> Signals:
    return Signals(SignalRepository(database), tell_others=False)


@pytest.fixture
async def listening(worker: Signals) -> AsyncIterator[asyncio.Task[None]]:
    """The worker, for as long as nothing ends it."""
    task = asyncio.create_task(worker.listen())
    yield task
    task.cancel()
    await asyncio.wait({task})


async def test_a_worker_still_listens_after_a_long_silence(
    database: Database, worker: Signals, listening: asyncio.Task[None]
) -> None:
    await asyncio.wait({listening}, timeout=8)
    assert not listening.done()
    await SignalRepository(database).send(Hint(frozenset({"payments"})))
    await worker.outbox.wait()


@pytest.mark.parametrize("bell", ["outbox", "payments"])
async def test_a_process_without_workers_rings_the_bell_of_those_that_have_them(
    database: Database, worker: Signals, listening: asyncio.Task[None], bell: str
) -> None:
    api = Signals(SignalRepository(database), tell_others=True)
    customers = CustomerRepository(database).outbox
    rung: asyncio.Event = getattr(worker, bell)
    while not rung.is_set():  # the first ones may come before anybody listens
        assert not listening.done()
        api.outbox_filled(customers) if bell == "outbox" else api.payment_due(0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(rung.wait(), 0.5)
    await api.close()

    assert worker.filled_outboxes == ({"customers"} if bell == "outbox" else set())
    assert worker.outbox.is_set() != worker.payments.is_set(), "who has nothing to do is left alone"


async def test_a_hint_that_names_nothing_rings_no_bell_and_ends_nothing(
    database: Database, worker: Signals, listening: asyncio.Task[None]
) -> None:
    """Processes of an older version write such."""
    await database["signals"].insert_one({})
    while not worker.payments.is_set():
        assert not listening.done()
        await SignalRepository(database).send(Hint(payments_due=True))
        await asyncio.sleep(0.05)

    assert not worker.outbox.is_set()
