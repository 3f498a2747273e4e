"""Hashing costs a core's time: who has to wait makes none of it, and what is too much is refused."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from core import clock
from core.config import Settings
from core.database import Database
from core.security import PasswordHasher
from main import create_app  # noqa: TID251 - the application itself, with a hasher that can be watched
from services import psp
from tests.chaos.lanes import SECRETS
from tests.conftest import QUICK
from tests.factories import API, PASSWORD

DATABASE = "password_hashing"
LOGIN = {"email": "ada@example.com", "password": PASSWORD}
MOST = 2


class Watched(PasswordHasher):
    """One that counts, and that can be kept from getting on."""

    def __init__(self, cost: int):
        super().__init__(cost, max_waiting=MOST)
        self.verified = 0
        self.released = threading.Event()

    async def verify(self, password: str, password_hash: str | None) -> bool:
        self.verified += 1
        return await super().verify(password, password_hash)

    def hold(self) -> None:
        """Keep all its threads busy until they are released."""
        for _ in range(self._threads._max_workers):
            self._threads.submit(self.released.wait)


@pytest.fixture
async def hasher(monkeypatch: pytest.MonkeyPatch) -> Watched:
    hasher = Watched(4)
    monkeypatch.setattr(psp, "PasswordHasher", lambda cost: hasher)
    return hasher


@pytest.fixture
async def api(mongo_uri: str, hasher: Watched) -> AsyncIterator[httpx.AsyncClient]:
    """An application with an account."""
    named: dict[str, Any] = {**QUICK, **SECRETS, "MONGODB_URI": mongo_uri, "MONGODB_DB": DATABASE, "WORKER": "off"}
    named["LOGIN_THROTTLE"] = "on"
    settings = Settings(_env_file=None, **{name.lower(): value for name, value in named.items()})
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1{API}") as client:
            made = await client.post("/users/register", json={"name": "Ada Lovelace", **LOGIN})
            assert made.status_code == 201, made.text
            yield client
        hasher.released.set()
        await app.state.psp.database.drop()


@pytest.fixture
async def database(mongo_uri: str, api: httpx.AsyncClient) -> AsyncIterator[Database]:
    database = Database(mongo_uri, DATABASE)
    yield database
    database.close()


async def test_a_login_that_has_to_wait_costs_no_hashing(
    api: httpx.AsyncClient, database: Database, hasher: Watched
) -> None:
    failed = [await api.post("/users/login", json={**LOGIN, "password": "wrong"}) for _ in range(5)]
    assert [answer.status_code for answer in failed] == [401] * 5
    until = clock.now() + timedelta(minutes=1)
    await database["login_attempts"].update_many({}, {"$set": {"blocked_until": until}})

    refused = await api.post("/users/login", json=LOGIN)

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
    assert hasher.verified == 5


async def test_of_too_many_that_wait_for_a_hash_the_last_are_told_to_come_again(
    api: httpx.AsyncClient, database: Database, hasher: Watched
) -> None:
    hasher.hold()
    waiting = [asyncio.create_task(hasher.hash("whatever")) for _ in range(MOST)]
    await asyncio.sleep(0)

    answers = [
        await api.post("/users/login", json=LOGIN),
        await api.post("/auth/token", data={"username": LOGIN["email"], "password": PASSWORD}),
        await api.post("/users/register", json={"name": "Grace", **LOGIN, "email": "grace@example.com"}),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"
    assert await database["users"].count_documents({"email": "grace@example.com"}) == 0
    assert await database["sessions"].count_documents({}) == 0
    hasher.released.set()
    await asyncio.gather(*waiting)
    assert (await api.post("/users/login", json=LOGIN)).status_code == 200


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (8, 7), (None, 1)])
def test_one_core_is_left_to_payments_where_there_is_another(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, threads: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    hasher = PasswordHasher(4)

    assert hasher._threads._max_workers == threads
    hasher.close()
