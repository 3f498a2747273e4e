"""Processes killed for real: what was acknowledged is carried out, and told."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from core import embedded_mongo
from tests.conftest import Server, free_port, serving
from tests.factories import Account, Psp
from tests.processes import running
from tests.receiver import Receiver

STEPS = ["payment.completed", "payment.created", "payment.processing"]


@contextmanager
def client(server: Server) -> Iterator[Psp]:
    with httpx.Client(base_url=server.url, timeout=35, verify=False) as http:
        yield Psp(http, "", "")


def completes(psp: Psp, account: Account, payment_id: str) -> None:
    deadline = time.monotonic() + 60
    # (Without a status: while MongoDB is away the answer is a 503.)
    while psp.get(f"/payments/{payment_id}", headers=account.key).json().get("status") != "completed":
        assert time.monotonic() < deadline, "the payment never completed"
        time.sleep(0.1)


def types(receiver: Receiver) -> list[str]:
    return sorted({json.loads(request.body)["type"] for request in receiver.requests})


def mongod_pid(data_dir: Path) -> int:
    """The mongod that has this directory's data open."""
    listing = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    found = [line for line in listing.splitlines() if "mongod" in line and f"{data_dir}/mongodb " in f"{line} "]
    (pid,) = [int(line.split()[0]) for line in found if "--dbpath" in line]
    return pid


@pytest.mark.parametrize(
    "victims",
    [
        pytest.param(["server"], marks=pytest.mark.long),
        ["mongod"],
        pytest.param(["server", "mongod"], marks=pytest.mark.long),
    ],
    ids="+".join,
)
def test_a_payment_completes_and_is_told_although_processes_were_killed_after_its_answer(
    tmp_path: Path, receiver: Receiver, victims: list[str]
) -> None:
    settings = {"DATA_DIR": str(tmp_path / "data"), "PROCESSING_DELAY_SECONDS": "1", "PORT": str(free_port())}
    with serving(tmp_path / "first.log", **settings) as server, client(server) as psp:
        account = psp.register()
        payment = psp.charge(account, webhookUrl=receiver.url).json()
        if "mongod" in victims:
            os.kill(mongod_pid(tmp_path / "data"), signal.SIGKILL)
        if "server" not in victims:
            completes(psp, account, payment["id"])
            receiver.wait_for(3)
        else:
            server.kill()

    if "server" in victims:
        with serving(tmp_path / "second.log", **settings) as server, client(server) as psp:
            completes(psp, account, payment["id"])
            receiver.wait_for(3)
    assert types(receiver) == STEPS


@pytest.mark.long
def test_a_delivery_that_failed_is_tried_again_after_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = lambda number, request: 503 if number < 3 else 200
    settings = {"DATA_DIR": str(tmp_path / "data"), "WEBHOOK_RETRY_SCHEDULE": "3"}
    with serving(tmp_path / "first.log", **settings) as server, client(server) as psp:
        psp.charge(psp.register(), webhookUrl=receiver.url)
        receiver.wait_for(3)
        time.sleep(1)  # for the outcomes to be written; else it is the lease that is waited for
        server.kill()

    with serving(tmp_path / "second.log", **settings):
        requests = receiver.wait_for(6)

    assert len({request.headers["webhook-id"] for request in requests}) == 3


def test_a_shutdown_gives_back_what_was_under_way(tmp_path: Path, data_dir: Path, mongo_uri: str) -> None:
    settings = {"DATA_DIR": str(data_dir), "MONGODB_DB": "shutdown"}
    with Receiver() as receiver:
        receiver.answers = lambda number, request: time.sleep(20) or 200 if number < 1 else 200  # type: ignore[func-returns-value]
        with serving(tmp_path / "first.log", **settings) as server, client(server) as psp:
            psp.charge(psp.register(), webhookUrl=receiver.url)
            receiver.wait_for(1)
            server.stop()
        with pymongo.MongoClient[dict[str, Any]](mongo_uri) as mongo:
            assert mongo["shutdown"]["deliveries"].count_documents({"lease_token": {"$exists": True}}) == 0
        with serving(tmp_path / "second.log", **settings):
            receiver.wait_for(1 + 3)


@pytest.mark.long
def test_workers_outside_the_api_processes_do_the_work(
    tmp_path: Path, data_dir: Path, mongo_uri: str, receiver: Receiver
) -> None:
    settings = {"DATA_DIR": str(data_dir), "MONGODB_DB": "outside", "WORKER": "off", "PROCESSING_DELAY_SECONDS": "0"}
    with serving(tmp_path / "api.log", **settings) as server, client(server) as psp:
        account = psp.register()
        payment = psp.charge(account, {"Prefer": "wait=1"}, webhookUrl=receiver.url).json()
        assert payment["status"] == "pending", "nobody works, so it waits"
        workers = [running(["cli.py", "worker"], tmp_path / f"worker-{n}.log", **settings) for n in (1, 2)]
        with workers[0], workers[1]:
            completes(psp, account, payment["id"])
            receiver.wait_for(3)
            for _ in range(20):
                psp.completed(account, webhookUrl=receiver.url)
            receiver.wait_for(63)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 63


@pytest.mark.long
def test_one_key_on_two_api_processes_makes_one_payment(tmp_path: Path, data_dir: Path, mongo_uri: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    settings = {"DATA_DIR": str(data_dir), "MONGODB_DB": "twins"}
    with (
        serving(tmp_path / "one.log", **settings) as one,
        serving(tmp_path / "two.log", **settings) as two,
        client(one) as first,
        client(two) as second,
        ThreadPoolExecutor(16) as pool,
    ):
        account = first.register()
        for key in range(10):
            headers = {"Idempotency-Key": f"key-{key}"}
            charges = [pool.submit(psp.charge, account, headers) for psp in (first, second) * 10]
            assert len({(answer.result().status_code, answer.result().content) for answer in charges}) == 1
        assert second.get("/payments/all", headers=account.key).json()["totalTransactions"] == 10


@pytest.mark.long
def test_without_mongodb_requests_get_a_503_and_work_again_when_it_is_back(tmp_path: Path) -> None:
    """A mongod that hangs, as behind a broken network: nothing answers, and no connection is refused."""
    mongo = embedded_mongo.start(tmp_path / "data")
    try:
        settings = {
            "MONGODB_URI": mongo.uri,
            "JWT_SECRET": "a-secret-of-more-than-thirty-two-bytes",
            "ENCRYPTION_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        }
        with serving(tmp_path / "server.log", **settings) as server, client(server) as psp:
            account = psp.register()
            pid = mongod_pid(tmp_path / "data")
            os.kill(pid, signal.SIGSTOP)
            try:
                charged = psp.charge(account, {"Idempotency-Key": "k"})
                read = psp.get("/payments/all", headers=account.key)
                status = psp.get("/status")
                login = psp.login(account.email)
            finally:
                os.kill(pid, signal.SIGCONT)
            for answer in (charged, read, login):
                assert answer.status_code == 503
                assert answer.json()["code"] in ("database_unavailable", "outcome_unknown")
                assert answer.headers["Retry-After"] == "1"
            assert (status.status_code, status.json()["status"]) == (503, "degraded")

            assert until_created(lambda: psp.charge(account, {"Idempotency-Key": "k"}))
            assert psp.get("/payments/all", headers=account.key).json()["totalTransactions"] == 1
            psp.completed(account)
    finally:
        mongo.close()


def until_created(charge: Callable[[], httpx.Response]) -> bool:
    deadline = time.monotonic() + 60
    while (answer := charge()).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return answer.status_code == 201
