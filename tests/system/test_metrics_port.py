"""METRICS_PORT: workers and banks that have a DATA_DIR of their own, as containers do, tell what they count."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from secrets import token_bytes, token_urlsafe
from typing import Any

import httpx
import pymongo
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, QUICK, READY_S, free_port, serving
from tests.factories import Psp, card
from tests.processes import running
from tests.waiting import until

DATABASE = "metrics_port"
TOKEN = token_urlsafe(16)


@pytest.fixture(scope="module")
def secrets(mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """What all of them are given: the database, which is nobody's own, and its secrets."""
    yield {
        **QUICK,
        "MONGODB_URI": mongo_uri,
        "MONGODB_DB": DATABASE,
        "JWT_SECRET": token_urlsafe(48),
        "ENCRYPTION_KEY": b64encode(token_bytes(32)).decode(),
    }
    mongo.drop_database(DATABASE)


def scrape(port: str, token: str | bytes | None = TOKEN, path: str = "/metrics") -> httpx.Response:
    sent = token.encode() if isinstance(token, str) else token
    headers = {} if sent is None else {b"Authorization": b"Bearer " + sent}
    return httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=15, verify=False)


def listening(port: str) -> bool:
    try:
        return scrape(port).status_code > 0
    except httpx.TransportError:
        return False


def total(text: str, name: str, **labels: str) -> float:
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())


def test_worker_and_bank_are_scraped_on_ports_of_their_own(secrets: dict[str, str], tmp_path: Path) -> None:
    worker_port, bank_metrics_port, bank_port = str(free_port()), str(free_port()), str(free_port())
    shared = {**secrets, "BANK_URL": f"http://127.0.0.1:{bank_port}", "METRICS_TOKEN": TOKEN, "WORKER": "off"}
    of_worker = {**shared, "DATA_DIR": str(tmp_path / "of_worker"), "METRICS_PORT": worker_port}
    of_bank = {**shared, "DATA_DIR": str(tmp_path / "of_bank"), "METRICS_PORT": bank_metrics_port}
    with ExitStack() as stack:
        stack.enter_context(running(["cli.py", "bank", "--port", bank_port], tmp_path / "bank.log", **of_bank))
        stack.enter_context(running(["cli.py", "worker"], tmp_path / "worker.log", **of_worker))
        of_server = {**shared, "DATA_DIR": str(tmp_path / "of_server"), "METRICS_PORT": str(free_port())}
        server = stack.enter_context(serving(tmp_path / "server.log", **of_server))
        for port in (worker_port, bank_metrics_port):
            until(lambda port=port: listening(port), READY_S)  # type: ignore[misc]
        client = stack.enter_context(httpx.Client(base_url=server.url, timeout=35, verify=False))
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        psp.completed(psp.register(), card=card())

        of_worker_now, of_bank_now = scrape(worker_port), scrape(bank_metrics_port)
        of_api_now = scrape(server.url.rpartition(":")[2])
        assert not listening(of_server["METRICS_PORT"]), "the API has a path for it"
        refused = [
            scrape(port, token) for port in (worker_port, bank_metrics_port) for token in (None, "wrong", b"\xff")
        ]
        assert scrape(worker_port, path="/other").status_code == 404

    assert of_worker_now.headers["content-type"].startswith("text/plain")
    approved = {"call": "submit", "answer": "approved"}
    assert total(of_worker_now.text, "mock_psp_bank_operations_total", **approved) == 1
    assert total(of_api_now.text, "mock_psp_bank_operations_total", **approved) == 0
    assert total(of_worker_now.text, "mock_psp_processes", role="worker") == 1
    assert total(of_bank_now.text, "mock_psp_processes", role="bank") == 1
    assert {(answer.status_code, answer.headers["www-authenticate"]) for answer in refused} == {(401, "Bearer")}


def test_in_production_there_is_nothing_to_read_without_a_token(secrets: dict[str, str], tmp_path: Path) -> None:
    port = str(free_port())
    production = {**secrets, "ENVIRONMENT": "production", "PASSWORD_HASH_COST": "12", "METRICS_PORT": port}
    with running(["cli.py", "worker"], tmp_path / "worker.log", **production, DATA_DIR=str(tmp_path / "data")):
        until(lambda: listening(port), READY_S)

        assert scrape(port).status_code == scrape(port, None).status_code == 404


@pytest.mark.parametrize("command", ["worker", "bank"])
def test_a_port_that_is_taken_is_told_in_one_sentence(secrets: dict[str, str], tmp_path: Path, command: str) -> None:
    port, log = str(free_port()), tmp_path / "second.log"
    settings = {**secrets, "METRICS_PORT": port}
    with ExitStack() as stack:
        first = stack.enter_context(
            running(["cli.py", "worker"], tmp_path / "first.log", **settings, DATA_DIR=str(tmp_path / "first"))
        )
        until(lambda: listening(port), READY_S)
        second = stack.enter_context(running(["cli.py", command], log, **settings, DATA_DIR=str(tmp_path / "second")))
        assert second.wait(READY_S) != 0
        assert first.poll() is None

    assert f"METRICS_PORT: nothing can listen on 127.0.0.1:{port}" in log.read_text()
    assert "Traceback" not in log.read_text()
