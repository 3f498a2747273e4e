"""The way from the gateway to its bank: one port, in this process or over HTTP."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from bank.books import Books
from bank.engine import BankEngine
from core import metrics
from core.config import Settings
from core.database import Database
from domain.acquiring import Answer, Operation
from services.http_bank import HttpBank


class Bank(Protocol):
    """Where operations go. Nothing that the bank does, or that happens on the way to it, raises here."""

    async def submit(self, operations: Sequence[Operation]) -> list[Answer | None]:
        """Have each carried out once. None where no answer came: look it up before it is submitted again."""
        ...

    async def look_up(self, operations: Sequence[Operation]) -> list[Answer | None]:
        """What became of each; UNKNOWN where the bank has never carried it out. None where no answer came."""
        ...


class InProcessBank:
    """The bank simulator inside this process. A DriverError of its books comes through: they are in our database."""

    def __init__(self, engine: BankEngine):
        self._engine = engine

    async def submit(self, operations: Sequence[Operation]) -> list[Answer | None]:
        outcomes = await self._engine.submit(operations)
        return [outcome if isinstance(outcome, Answer) else None for outcome in outcomes]

    async def look_up(self, operations: Sequence[Operation]) -> list[Answer | None]:
        return [*await self._engine.look_up(operations)]


class CountedBank:
    """A bank whose answers are counted."""

    def __init__(self, bank: Bank):
        self._bank = bank

    async def submit(self, operations: Sequence[Operation]) -> list[Answer | None]:
        with metrics.BANK_DURATION.labels("submit").time():
            return _counted("submit", await self._bank.submit(operations))

    async def look_up(self, operations: Sequence[Operation]) -> list[Answer | None]:
        with metrics.BANK_DURATION.labels("look_up").time():
            return _counted("look_up", await self._bank.look_up(operations))


def _counted(call: str, answers: list[Answer | None]) -> list[Answer | None]:
    for answer, count in Counter("none" if one is None else one.verdict.value for one in answers).items():
        metrics.BANK_OPERATIONS.labels(call, answer).inc(count)
    return answers


@asynccontextmanager
async def open_bank(settings: Settings, database: Database, hash_key: bytes) -> AsyncIterator[Bank]:
    """The bank that the settings name: the one at BANK_URL, or one inside this process. Raises DriverError."""
    if settings.bank_url is not None:
        distant = HttpBank(settings.bank_url)
        try:
            yield distant
        finally:
            await distant.close()
        return
    books = Books(database)
    await books.create_indexes()
    yield InProcessBank(BankEngine(books, hash_key, magic_amounts=settings.magic_amounts))
