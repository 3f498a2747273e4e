"""Hints between processes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from core.database import OPERATION_TIMEOUT_S, Database
from repositories import signals
from repositories.customers import CustomerRepository
from repositories.signals import Hint, SignalRepository
from services.signals import Signals

DATABASE = "signals_test"


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    database = Database(mongo_uri, DATABASE)
    await database.ensure_capped(signals.COLLECTION, signals.SIZE_BYTES)
    yield database
    await database.drop()
    database.close()


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


async def test_a_worker_still_listens_after_a_silence_longer_than_any_operation_may_take(
    database: Database, mongo_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert signals._LONGEST_WAIT_MS / 1000 < OPERATION_TIMEOUT_S, "as here"
    monkeypatch.setattr(signals, "_LONGEST_WAIT_MS", 1000)
    hasty = Database(mongo_uri, DATABASE, timeout_s=1.5)
    worker = Signals(SignalRepository(hasty), tell_others=False)
    listening = asyncio.create_task(worker.listen())

    await asyncio.wait({listening}, timeout=2.5)

    assert not listening.done()
    await SignalRepository(database).send(Hint(frozenset({"payments"})))
    await worker.outbox.wait()
    listening.cancel()
    await asyncio.wait({listening})
    hasty.close()


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
