"""What a server writes to its log: a line for each request, JSON in production, to read in a terminal otherwise."""

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from os import urandom
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import httpx
import pymongo
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, QUICK, Server, free_port, serving
from tests.factories import Psp
from tests.processes import ROOT, clean_environment

DATABASE = "log_lines"
PAN = "4242424242424242"


@pytest.fixture(scope="module")
def production(
    data_dir: Path, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    settings = {
        "ENVIRONMENT": "production",
        "PASSWORD_HASH_COST": "12",
        "JWT_SECRET": token_urlsafe(48),
        "ENCRYPTION_KEY": b64encode(urandom(32)).decode(),
    }
    log = tmp_path_factory.mktemp("production") / "server.log"
    with serving(log, DATA_DIR=str(data_dir), MONGODB_DB=DATABASE, **settings) as server:
        yield server
    mongo.drop_database(DATABASE)


def lines_of(server: Server, request_id: str) -> list[str]:
    """Those that name it, once one does."""
    return [line for line in server.log_with(request_id).splitlines() if request_id in line]


def test_in_production_each_line_is_json_and_each_request_has_one(production: Server) -> None:
    with httpx.Client(base_url=production.url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        account = psp.register("merchant")
        made = psp.completed(account)
        read = psp.get(f"/payments/{made['id']}", headers={**account.key, "X-Request-ID": "shown-in-the-log"})
        assert read.status_code == 200
        nobodys = psp.client.get("/no/such/path", headers={"X-Request-ID": "of-nobody"})
        assert nobodys.status_code == 404

    (line,) = [json.loads(one) for one in lines_of(production, "shown-in-the-log")]
    assert line.pop("duration_ms") >= 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "mock_psp.access",
        "event": "request",
        "request_id": "shown-in-the-log",
        "account": account.id,
        "method": "GET",
        "route": "/api/v1/payments/{payment_id}",
        "status": 200,
    }
    (line,) = [json.loads(one) for one in lines_of(production, "of-nobody")]
    assert (line["status"], line["account"], line["route"]) == (404, None, "other")
    written = [
        json.loads(one) for one in production.log.read_text().splitlines() if one.strip() and not one.startswith("  ")
    ]
    assert all({"timestamp", "level", "logger", "event"} <= one.keys() for one in written)


def test_in_development_a_line_is_to_be_read(psp: Psp, server: Server) -> None:
    psp.client.get("/health/live", headers={"X-Request-ID": "read-by-somebody"})

    (line,) = lines_of(server, "read-by-somebody")
    assert "method=GET  route=/health/live  status=200" in line
    assert "\x1b" not in line, "it is no terminal"


def test_a_request_id_with_a_secret_in_it_is_logged_without(psp: Psp, server: Server) -> None:
    logged = server.log.stat().st_size
    assert psp.client.get("/health/live", headers={"X-Request-ID": f"my-card-{PAN}"}).status_code == 200

    lines_of(server, "my-card-")
    assert PAN.encode() not in server.log.read_bytes()[logged:]


def test_without_an_access_log_requests_have_no_line(data_dir: Path, mongo_uri: str, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "uvicorn.log"
    settings = {"MONGODB_DB": "no_access_log", "DATA_DIR": str(data_dir), **QUICK}
    options = ["--app-dir", str(ROOT), "--port", str(port), "--no-access-log"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *options, "main:app"],
            cwd=tmp_path,
            env=clean_environment(**settings),
            stdout=output,
            stderr=output,
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        server.wait_until_ready()
    finally:
        server.stop()
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as mongo:
        mongo.drop_database("no_access_log")

    assert "Application startup complete" in log.read_text()
    assert "/api/v1/status" not in log.read_text()
