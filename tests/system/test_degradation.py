"""What clients and other workers see while the database is away and while a process stops."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from tests.conftest import Server, serving
from tests.factories import Psp
from tests.processes import running
from tests.receiver import Receiver
from tests.wire import Wire

DRAINED_S = 15
"""From SIGTERM to the end: ten seconds, and five for a machine that has other things to do."""
BUSY = 365
"""TemporarilyUnavailable, which comes at once and which the driver does not try again by itself."""
Client = pymongo.MongoClient[dict[str, Any]]


@contextmanager
def client(server: Server) -> Iterator[Psp]:
    with httpx.Client(base_url=server.url, timeout=60, verify=False) as http:
        yield Psp(http, "", "")


@pytest.fixture
def settings(server: Server, data_dir: Path, tmp_path: Path, mongo: Client) -> Iterator[dict[str, str]]:
    """Of processes that share a database of the test's own."""
    name = f"degraded_{tmp_path.name}"[:60]
    yield {**json.loads((data_dir / "secrets.json").read_text()), "MONGODB_DB": name}
    mongo.drop_database(name)


def stopped_after_s(server: Server) -> float:
    began_at_s = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(60)
    return time.monotonic() - began_at_s


def test_a_charge_that_waits_is_answered_with_what_it_has_reached_although_the_database_has_gone(
    wire: Wire, settings: dict[str, str], tmp_path: Path, mongo: Client
) -> None:
    log = tmp_path / "server.log"
    with (
        serving(log, MONGODB_URI=wire.uri, WORKER="off", **settings) as server,
        client(server) as psp,
        ThreadPoolExecutor() as pool,
    ):
        account = psp.register()
        waiting = pool.submit(psp.charge, account, {"Prefer": "wait=3"})
        while mongo[settings["MONGODB_DB"]]["payments"].find_one() is None:
            time.sleep(0.01)
        time.sleep(0.5)  # until the server knows of it as well
        wire.cut()

        assert waiting.result().status_code == 201, waiting.result().text
        assert waiting.result().json()["status"] == "pending"
        server.kill()  # to stop in order it would wait for the database


def test_a_charge_that_waits_asks_a_database_in_trouble_no_more_often_than_a_healthy_one(
    mongo_uri: str, settings: dict[str, str], tmp_path: Path, mongo: Client
) -> None:
    def refuse_finds(mode: str) -> int:
        """How often it was done so far."""
        data = {"failCommands": ["find"], "namespace": f"{settings['MONGODB_DB']}.payments", "errorCode": BUSY}
        told = mongo.admin.command("configureFailPoint", "failCommand", mode=mode, data=data)
        return int(told["count"])

    with (
        serving(tmp_path / "server.log", MONGODB_URI=mongo_uri, WORKER="off", **settings) as server,
        client(server) as psp,
    ):
        account = psp.register()
        before = refuse_finds("alwaysOn")
        try:
            answer = psp.charge(account, {"Prefer": "wait=2"})
        finally:
            finds = refuse_finds("off") - before

        assert (answer.status_code, answer.json()["status"]) == (201, "pending")
        assert 0 < finds <= 2 * 20 + 1, "twenty a second"


@pytest.mark.long
@pytest.mark.parametrize("trouble", [Wire.cut, Wire.fall_silent], ids=["gone", "silent"])
def test_a_server_that_is_stopped_while_the_database_is_away_ends_in_time_and_answers_whom_it_can(
    wire: Wire, settings: dict[str, str], tmp_path: Path, receiver: Receiver, trouble: Callable[[Wire], None]
) -> None:
    receiver.answers = lambda number, request: time.sleep(30) or 200  # type: ignore[func-returns-value]
    with (
        serving(tmp_path / "server.log", MONGODB_URI=wire.uri, **settings) as server,
        client(server) as psp,
        ThreadPoolExecutor() as pool,
    ):
        account = psp.register()
        psp.charge(account, webhookUrl=receiver.url)
        receiver.wait_for(1)
        trouble(wire)
        under_way = [pool.submit(psp.charge, account), pool.submit(psp.login, account.email)]
        time.sleep(0.5)
        took_s = stopped_after_s(server)

        assert {answer.result().status_code for answer in under_way} == {503}
        assert took_s < DRAINED_S, server.log.read_text()


@pytest.mark.long
@pytest.mark.parametrize("trouble", [Wire.cut, Wire.fall_silent], ids=["gone", "silent"])
def test_a_worker_that_is_stopped_while_the_database_is_away_ends_in_time(
    wire: Wire, settings: dict[str, str], tmp_path: Path, receiver: Receiver, trouble: Callable[[Wire], None]
) -> None:
    receiver.answers = lambda number, request: time.sleep(30) or 200  # type: ignore[func-returns-value]
    log = tmp_path / "worker.log"
    with (
        serving(tmp_path / "server.log", MONGODB_URI=wire.uri, WORKER="off", **settings) as server,
        client(server) as psp,
        running(["cli.py", "worker"], log, MONGODB_URI=wire.uri, **settings) as worker,
    ):
        psp.charge(psp.register(), webhookUrl=receiver.url)
        receiver.wait_for(1)
        trouble(wire)
        time.sleep(0.5)
        began_at_s = time.monotonic()
        worker.terminate()
        worker.wait(60)

        assert time.monotonic() - began_at_s < DRAINED_S, log.read_text()


def test_a_server_that_is_stopped_answers_what_waits_and_says_on_each_connection_that_it_closes(
    mongo_uri: str, settings: dict[str, str], tmp_path: Path
) -> None:
    with (
        serving(tmp_path / "server.log", MONGODB_URI=mongo_uri, WORKER="off", **settings) as server,
        client(server) as psp,
        ThreadPoolExecutor() as pool,
    ):
        account = psp.register()
        waiting = pool.submit(psp.charge, account, {"Prefer": "wait=30"})
        time.sleep(0.5)
        took_s = stopped_after_s(server)

        assert waiting.result().status_code == 201
        assert waiting.result().json()["status"] == "pending"
        assert waiting.result().headers["connection"] == "close"
        assert took_s < DRAINED_S
