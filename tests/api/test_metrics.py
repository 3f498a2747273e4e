"""GET /metrics: what is counted, over all processes of a machine, for whom it may be read, and what is not in it."""

import json
import re
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from os import urandom
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

import httpx
import pymongo
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core import metrics
from tests.conftest import Server, running, serving
from tests.docs.markdown import code, read, rows, section
from tests.factories import Psp
from tests.receiver import Receiver
from tests.wire import Wire

CHARGE = {"method": "POST", "route": "/api/v1/payments/charge"}
PAYMENT = {"method": "GET", "route": "/api/v1/payments/{payment_id}"}
DATABASE = "metrics"


def scrape(server: Server, token: str | None = None) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{server.url}/metrics", headers=headers, timeout=15, verify=False)


class Figures:
    """The samples of a scrape."""

    def __init__(self, server: Server):
        answer = scrape(server)
        assert answer.status_code == 200, answer.text
        self.text = answer.text
        self.samples = [one for family in text_string_to_metric_families(answer.text) for one in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        return sum(
            one.value for one in self.samples if one.name == f"mock_psp_{name}" and labels.items() <= one.labels.items()
        )


def becomes(server: Server, wanted: float, name: str, **labels: str) -> Figures:
    deadline = time.monotonic() + 25
    while (figures := Figures(server)).sum(name, **labels) != wanted:
        assert time.monotonic() < deadline, figures.text
        time.sleep(0.2)
    return figures


@pytest.fixture
def settings(
    data_dir: Path, mongo_uri: str, tmp_path: Path, mongo: pymongo.MongoClient[dict[str, Any]]
) -> Iterator[dict[str, str]]:
    """Of processes that share a machine with nobody else."""
    secrets = json.loads((data_dir / "secrets.json").read_text())
    yield {"DATA_DIR": str(tmp_path / "data"), "MONGODB_URI": mongo_uri, "MONGODB_DB": DATABASE, **secrets}
    mongo.drop_database(DATABASE)


@contextmanager
def client(server: Server) -> Iterator[Psp]:
    with httpx.Client(base_url=server.url, timeout=35, verify=False) as http:
        yield Psp(http, "", "")


def test_a_scrape_of_any_process_tells_of_all_and_nothing_is_lost_with_one(
    server: Server, settings: dict[str, str], tmp_path: Path, receiver: Receiver
) -> None:
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(serving(tmp_path / f"{name}.log", WORKER="off", **settings))
            for name in ("one", "other")
        )
        worker = stack.enter_context(running(["cli.py", "worker"], tmp_path / "worker.log", **settings))
        for server in (one, other):
            psp = stack.enter_context(client(server))
            account = psp.register("merchant")
            for _ in range(2):
                psp.completed(account, webhookUrl=receiver.url)
        becomes(one, 12, "delivery_attempts_total", result="delivered", error="")
        becomes(one, 12, "deliveries", state="delivered")
        figures = becomes(one, 0, "outbox_waiting")

        assert figures.sum("http_requests_total", status="201", **CHARGE) == 4
        assert figures.sum("http_request_duration_seconds_count", **CHARGE) == 4
        assert figures.sum("bank_operations_total", call="submit", answer="approved") == 4
        assert figures.sum("events_published_total", type="payment.completed") == 4
        assert figures.sum("delivery_duration_seconds_count", result="delivered") == 12
        assert figures.sum("payments", status="completed") == 4
        assert figures.sum("deliveries_waiting") == 0
        assert (figures.sum("mongodb_up"), figures.sum("workers")) == (1, 1)
        assert figures.sum("mongodb_command_duration_seconds_count", command="insert") > 0
        assert figures.sum("mongodb_pool_connections", state="open") >= 3
        assert figures.sum("process_resident_memory_bytes", role="worker") > 10_000_000
        assert (figures.sum("processes", role="api"), figures.sum("processes", role="worker")) == (2, 1)

        told = rows(section(read("api_documentation.md"), "## Metrics"))
        exported = {re.sub("_(bucket|sum|count)$", "", one.name) for one in figures.samples}
        assert exported <= {code(row[0]) for row in told}
        names = [code(row[0]) for row in told]
        assert set(names[names.index("mock_psp_mongodb_up") :]) <= exported

        worker.kill()
        worker.wait()
        after = Figures(other)
        assert after.sum("delivery_attempts_total", result="delivered", error="") == 12
        assert after.sum("delivery_duration_seconds_count", result="delivered") == 12
        assert (after.sum("processes", role="api"), after.sum("processes", role="worker")) == (2, 0)
        assert not list((tmp_path / "data" / "metrics").glob("gauge_*ended*"))


def test_labels_are_never_what_a_client_makes_up(psp: Psp, server: Server) -> None:
    account = psp.register("merchant")
    psp.get("/payments/txn_of_nobody", headers=account.key)
    psp.client.get("/nobodys/path")
    psp.client.request("BREW", "/api/v1/payments/charge")

    figures = Figures(server)

    assert figures.sum("http_requests_total", status="404", **PAYMENT) >= 1
    assert figures.sum("http_requests_total", status="404", route="other", method="GET") >= 1
    assert figures.sum("http_requests_total", method="other") >= 1
    for made_up in ("txn_of_nobody", "nobodys", "BREW", account.id, account.email, account.api_key[:20]):
        assert made_up not in figures.text


def test_one_who_leaves_in_the_middle_of_a_request_is_no_failure_of_the_server(server: Server) -> None:
    address, before = urlsplit(server.url), Figures(server)
    failed, left = (before.sum("http_requests_total", status=status, **CHARGE) for status in ("503", "400"))
    with socket.create_connection((address.hostname or "", address.port or 80)) as leaving:
        leaving.sendall(
            b"POST /api/v1/payments/charge HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )

    after = becomes(server, left + 1, "http_requests_total", status="400", **CHARGE)
    assert after.sum("http_requests_total", status="503", **CHARGE) == failed


def test_what_was_refused_and_failed_is_counted(psp: Psp, server: Server) -> None:
    account = psp.register("merchant")
    before = Figures(server).sum("delivery_attempts_total", error="connection_failed")
    psp.completed(account, webhookUrl="http://127.0.0.1:1/nobody")

    becomes(server, before + 12, "delivery_attempts_total", error="connection_failed")


def test_metrics_are_told_without_those_of_a_database_that_is_away(
    server: Server, settings: dict[str, str], wire: Wire, tmp_path: Path
) -> None:
    with serving(tmp_path / "apart.log", **{**settings, "MONGODB_URI": wire.uri}) as apart:
        assert Figures(apart).sum("mongodb_up") == 1
        wire.cut()
        figures = becomes(apart, 0, "mongodb_up")
        assert "mock_psp_outbox_oldest_seconds" not in figures.text
        assert figures.sum("processes", role="api") == 1
        wire.mend()
        becomes(apart, 1, "mongodb_up")


def test_a_file_that_a_killed_process_had_only_begun_is_in_nobodys_way(
    server: Server, settings: dict[str, str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    (data / "metrics").mkdir(parents=True)
    for name in ("killed.alive", "counter_killed.db", "histogram_killed.db"):
        (data / "metrics" / name).touch()

    with serving(tmp_path / "next.log", **{**settings, "DATA_DIR": str(data)}) as started:
        assert Figures(started).sum("processes", role="api") == 1

    assert not (data / "metrics" / "counter_killed.db").exists()


def test_a_token_guards_them(start_server: Callable[..., Server]) -> None:
    token = token_urlsafe(24)
    guarded = start_server(METRICS_TOKEN=token)

    for wrong in (None, "wrong", f"{token}x"):
        answer = scrape(guarded, wrong)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_metrics_token")
        assert answer.headers["www-authenticate"] == "Bearer"
    right = scrape(guarded, token)
    assert right.status_code == 200
    assert right.headers["content-type"].startswith("text/plain; version=")
    assert token not in right.text


def test_in_production_nobody_reads_them_without_a_token(
    data_dir: Path, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    settings = {
        "ENVIRONMENT": "production",
        "PASSWORD_HASH_COST": "12",
        "JWT_SECRET": token_urlsafe(48),
        "ENCRYPTION_KEY": b64encode(urandom(32)).decode(),
    }
    with serving(tmp_path / "production.log", DATA_DIR=str(data_dir), MONGODB_DB="metrics_off", **settings) as server:
        answer = scrape(server)
    mongo.drop_database("metrics_off")

    assert (answer.status_code, answer.json()["detail"]) == (404, "Not Found")


def test_every_family_has_the_products_name_and_labels() -> None:
    for family in metrics.REGISTRY.collect():
        assert re.fullmatch(r"mock_psp_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
