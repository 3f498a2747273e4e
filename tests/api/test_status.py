"""Whether the service works, and what clients read while MongoDB is away."""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from cli import KEEP_ALIVE_S  # noqa: TID251 - what the server is started with
from tests.conftest import Server
from tests.factories import Account, Psp
from tests.wire import Wire

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_the_status_is_that_of_the_contract(psp: Psp) -> None:
    answer = psp.get("/status")

    assert answer.status_code == 200
    status = answer.json()
    metrics = status.pop("metrics")
    assert status == {
        "status": "ok",
        "service": "Mock Payment Gateway",
        "version": "v1.0.0",
        "message": "All systems operational.",
    }
    assert set(metrics) == {"totalTransactions", "lastRestart"}
    assert type(metrics["totalTransactions"]) is int
    assert MOMENT.fullmatch(metrics["lastRestart"])


def test_the_figures_follow_what_happens(psp: Psp) -> None:
    before = psp.get("/status").json()["metrics"]
    psp.charge(psp.register())
    after = psp.get("/status").json()["metrics"]

    assert after["totalTransactions"] > before["totalTransactions"]
    assert after["lastRestart"] == before["lastRestart"]


def test_nobody_needs_credentials_for_the_root_which_leads_to_the_documentation(psp: Psp) -> None:
    root = psp.client.get("/")

    assert root.status_code in (302, 303, 307, 308)
    assert root.headers["location"] == "/docs"
    assert psp.client.get("/docs").status_code == 200


def test_without_mongodb_everything_is_a_503_that_says_so_and_comes_back_by_itself(
    wire: Wire, start_server: Callable[..., Server], data_dir: Path, server: Server
) -> None:
    secrets = json.loads((data_dir / "secrets.json").read_text())
    apart = start_server(MONGODB_URI=wire.uri, **secrets)
    with httpx.Client(base_url=apart.url, timeout=30, verify=False) as client:
        psp = Psp(client, "", "")
        account = psp.register("merchant")

        wire.cut()
        with ThreadPoolExecutor(5) as pool:
            status = pool.submit(psp.get, "/status")
            answers = list(pool.map(lambda ask: ask(), requests_of(psp, account)))
        for answer in answers:
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert answer.json()["code"] in ("database_unavailable", "outcome_unknown")
            assert "127.0.0.1" not in answer.text
        assert (status.result().status_code, status.result().json()["status"]) == (503, "degraded")
        assert status.result().json()["metrics"]["totalTransactions"] == 0

        wire.mend()
        while psp.get("/status").status_code != 200:
            time.sleep(0.05)
        assert psp.completed(account)["status"] == "completed"
        assert psp.get("/protected", headers=account.bearer).status_code == 200


def requests_of(psp: Psp, account: Account) -> list[Callable[[], httpx.Response]]:
    return [
        lambda: psp.charge(account),
        lambda: psp.get("/protected", headers=account.bearer),
        lambda: psp.login(account.email),
    ]


def test_the_server_keeps_an_idle_connection_for_longer_than_clients_and_load_balancers_do() -> None:
    assert KEEP_ALIVE_S > 60


@pytest.mark.long
def test_a_connection_that_lay_idle_for_longer_than_clients_keep_theirs_is_still_answered(server: Server) -> None:
    with closing(HTTPConnection(urlsplit(server.url).netloc)) as connection:
        for pause_s in (0, 7):
            time.sleep(pause_s)
            connection.request("GET", "/api/v1/status")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
