"""A reset beside what workers, banks and people do at the same moment."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from bank.books import INDEXES as BANK_INDEXES
from core.config import Settings
from repositories.indexes import INDEXES
from services.http_bank import TIMEOUT_S
from services.psp import open_psp
from services.reset import KEPT
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, READY_S, Server, free_port
from tests.factories import PASSWORD, Psp
from tests.processes import running

Mongo = pymongo.MongoClient[dict[str, Any]]
DATABASE = "reset_races"


@pytest.fixture
def house(start_server: Callable[..., Server]) -> Iterator[Callable[..., Psp]]:
    """Start a server on this file's own database."""
    clients: list[httpx.Client] = []

    def start(**settings: str) -> Psp:
        server = start_server(MONGODB_DB=DATABASE, **settings)
        clients.append(httpx.Client(base_url=server.url, timeout=60, verify=False))
        return Psp(clients[-1], ADMIN_EMAIL, ADMIN_PASSWORD)

    yield start
    for client in clients:
        client.close()


class Line:
    """The way to a bank, on which what is said can be held up."""

    def __init__(self, bank_port: int):
        self._bank_port = bank_port
        self.free = asyncio.Event()
        self.free.set()
        self.used = asyncio.Event()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._bank_port)
        await asyncio.gather(self._pass_on(reader, far_writer), self._pass_on(far_reader, writer))

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while chunk := await source.read(65536):
            self.used.set()
            await self.free.wait()
            target.write(chunk)
        target.close()


@asynccontextmanager
async def line_to_bank(data_dir: Path, tmp_path: Path) -> AsyncIterator[tuple[Line, str]]:
    port = free_port()
    settings = {"DATA_DIR": str(data_dir), "MONGODB_DB": DATABASE}
    with running(["cli.py", "bank", "--port", str(port)], tmp_path / "bank.log", **settings):
        async with asyncio.timeout(READY_S):
            while not await asyncio.to_thread(_answers, port):
                await asyncio.sleep(0.05)
        line = Line(port)
        async with await asyncio.start_server(line.connect, "127.0.0.1", 0) as listening:
            yield line, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            listening.close()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def left(mongo: Mongo) -> set[str]:
    names = (INDEXES.keys() | BANK_INDEXES.keys()) - KEPT - {"users", "sessions", "request_logs"}
    return {name for name in names if mongo[DATABASE][name].count_documents({})}


@pytest.mark.parametrize("held_s", [1, TIMEOUT_S + 1], ids=["while a worker waits", "after it has given up"])
async def test_what_a_bank_carries_out_during_a_reset_is_in_no_book_afterwards(
    held_s: float, house: Callable[..., Psp], mongo: Mongo, data_dir: Path, tmp_path: Path
) -> None:
    async with line_to_bank(data_dir, tmp_path) as (line, url):
        psp = await asyncio.to_thread(house, BANK_URL=url)
        account, root = await asyncio.to_thread(psp.register), await asyncio.to_thread(psp.root)
        line.free.clear()
        assert (await asyncio.to_thread(psp.charge, account)).status_code == 201
        await line.used.wait()

        body = {"database": DATABASE}
        resetting = asyncio.create_task(asyncio.to_thread(psp.post, "/admin/reset", json=body, headers=root))
        await asyncio.wait({resetting}, timeout=held_s)
        line.free.set()
        answer = await resetting

        assert answer.status_code == 200, answer.text
        # What was on its way arrives in no time, and a worker that has given up asks again within a second.
        await asyncio.sleep(2)
        assert left(mongo) == set()


@pytest.mark.long
async def test_what_nobody_will_go_on_with_is_deleted_all_the_same(house: Callable[..., Psp], mongo: Mongo) -> None:
    psp = await asyncio.to_thread(house, WORKER="off")
    account = await asyncio.to_thread(psp.register)
    assert (await asyncio.to_thread(psp.charge, account)).status_code == 201
    assert mongo[DATABASE]["payments"].find_one({"outbox.0": {"$exists": True}})

    answer = await asyncio.to_thread(psp.post, "/admin/reset", json={"database": DATABASE}, headers=psp.root())

    assert answer.status_code == 200, answer.text
    assert left(mongo) == set()


async def test_a_system_admin_who_is_made_during_a_reset_stays_with_their_session(
    house: Callable[..., Psp], mongo: Mongo, data_dir: Path
) -> None:
    psp = await asyncio.to_thread(house, WORKER="off")
    root, email = psp.root(), "second@example.com"
    # One that goes at once, and one that somebody has in hand: so there is a moment between its beginning and its end.
    payments, held_until = mongo[DATABASE]["payments"], datetime.now(UTC) + timedelta(seconds=8)
    payments.insert_many([{"owner_id": "user_1"}, {"owner_id": "user_2", "lease_until": held_until}])
    settings = Settings(_env_file=None, data_dir=data_dir, mongodb_db=DATABASE, password_hash_cost=4)

    async with open_psp(settings, is_worker=False) as inside:
        body = {"database": DATABASE}
        resetting = asyncio.create_task(asyncio.to_thread(psp.post, "/admin/reset", json=body, headers=root))
        while payments.count_documents({}) == 2 and not resetting.done():
            await asyncio.sleep(0.01)
        await inside.accounts.create_system_admin(email, PASSWORD)
        session = await asyncio.to_thread(psp.login, email)
        assert not resetting.done(), "it was over before there was anybody to keep"
        assert (await resetting).status_code == 200

    bearer = {"Authorization": f"Bearer {session.json()['access_token']}"}
    assert psp.get("/admin/dashboard", headers=bearer).status_code == 200
    assert left(mongo) == set()
