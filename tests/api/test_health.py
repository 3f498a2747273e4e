"""Whether the process answers, and whether it is ready: for those who start it, and those who send it requests."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pymongo

from routers.rate_limits import policy_of
from tests.conftest import Server, running
from tests.wire import Wire

NO_WORKER = "No worker has shown a sign of life for 30 seconds."


def ask(server: Server, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}/health/{path}", timeout=10, verify=False)


def answers(server: Server, path: str, status: int) -> httpx.Response:
    """The answer, once it has this status."""
    deadline = time.monotonic() + 20
    while (answer := ask(server, path)).status_code != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)
    return answer


def test_a_server_with_its_worker_is_live_and_ready(server: Server) -> None:
    live, ready = answers(server, "live", 200), answers(server, "ready", 200)

    assert (live.json(), ready.json()) == ({"status": "live"}, {"status": "ready"})
    for answer in (live, ready):
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_no_limit_keeps_a_monitor_from_its_answer() -> None:
    assert policy_of("GET", "/health/live") is None
    assert policy_of("GET", "/health/ready") is None


def test_a_server_without_any_worker_is_live_and_not_ready_until_there_is_one(
    start_server: Callable[..., Server], data_dir: Path, mongo_uri: str, tmp_path: Path
) -> None:
    settings = {"DATA_DIR": str(data_dir), "MONGODB_DB": "without_worker"}
    server = start_server(WORKER="off", **settings)

    unready = ask(server, "ready")
    assert (unready.status_code, unready.json()["code"], unready.json()["detail"]) == (503, "not_ready", NO_WORKER)
    assert unready.headers["retry-after"]
    assert ask(server, "live").status_code == 200

    with running(["cli.py", "worker"], tmp_path / "worker.log", **settings):
        answers(server, "ready", 200)


def test_a_server_whose_database_is_away_is_live_and_not_ready_until_it_is_back(
    server: Server, start_server: Callable[..., Server], wire: Wire, data_dir: Path
) -> None:
    secrets = json.loads((data_dir / "secrets.json").read_text())
    apart = start_server(MONGODB_URI=wire.uri, **secrets)
    answers(apart, "ready", 200)

    wire.cut()
    unready = answers(apart, "ready", 503)
    assert unready.json()["detail"] == "MongoDB does not answer."
    assert ask(apart, "live").status_code == 200

    wire.mend()
    answers(apart, "ready", 200)


def test_a_server_whose_indexes_are_gone_is_not_ready(start_server: Callable[..., Server], mongo_uri: str) -> None:
    server = start_server(MONGODB_DB="without_index")
    with closing(pymongo.MongoClient[dict[str, Any]](mongo_uri)) as mongo:
        mongo["without_index"]["payments"].drop_index("claims")

    assert ask(server, "ready").json()["detail"] == "Indexes are missing: payments.claims."


def test_an_index_that_a_newer_version_defines_otherwise_takes_no_server_out_of_service(
    start_server: Callable[..., Server], mongo_uri: str
) -> None:
    server = start_server(MONGODB_DB="with_newer_index")
    with closing(pymongo.MongoClient[dict[str, Any]](mongo_uri)) as mongo:
        payments = mongo["with_newer_index"]["payments"]
        payments.drop_index("due")
        payments.create_index([("due_at", 1), ("_id", 1)], name="due")

    answers(server, "ready", 200)
