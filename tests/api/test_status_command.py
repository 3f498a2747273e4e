"""`cli.py status`: what is well, what is not, and the exit code for scripts that wait."""

import json
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from core.version import VERSION
from tests.command_line import command, environment
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, QUICK, Server, free_port
from tests.factories import Psp
from tests.processes import running
from tests.waiting import until

Mongo = pymongo.MongoClient[dict[str, Any]]
DATABASE = "status"


def told(tmp_path: Path, *arguments: str, **settings: str) -> tuple[int, dict[str, Any]]:
    done = command("status", "--json", *arguments, cwd=tmp_path, **environment(None, None, **settings))
    return done.returncode, json.loads(done.stdout)


def test_where_all_is_well_it_says_so(server: Server, data_dir: Path, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    settings = {"PORT": port, "DATA_DIR": str(data_dir), "MONGODB_DB": "tests"}

    code, report = told(tmp_path, **settings)
    shown = command("status", cwd=tmp_path, **environment(None, None, **settings))

    assert (code, report["ok"], report["server"], report["mongodb"]) == (0, True, "up", "up")
    assert report["worker"] in ("idle", "working")
    assert (report["serverVersion"], {one["version"] for one in report["workers"]}) == (VERSION, {VERSION})
    assert report["dueForSeconds"].keys() == {"events", "payments", "webhooks"}
    assert shown.returncode == 0
    assert [line.split()[:2] for line in shown.stdout.splitlines()][:2] == [["Server", "up"], ["MongoDB", "up"]]
    assert shown.stdout.startswith(f"Server   up        {server.url}, version {VERSION}\n")
    assert f"process {server.process.pid} since 2" in shown.stdout
    assert f", version {VERSION}, last seen " in shown.stdout


def test_a_server_elsewhere_is_asked_and_nothing_else(server: Server, tmp_path: Path) -> None:
    code, report = told(tmp_path, "--url", server.url, DATA_DIR=str(tmp_path / "untouched"))

    assert (code, report["server"], report["mongodb"], report["worker"]) == (0, "up", None, None)
    assert report["workers"] is None
    assert not (tmp_path / "untouched").exists()
    assert told(tmp_path, "--url", f"{server.url}/api/v1/")[1]["url"] == server.url, "as with the clients of the API"


def test_a_server_elsewhere_that_is_not_ready_is_not_well_and_says_why(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(MONGODB_DB=DATABASE, WORKER="off")

    code, report = told(tmp_path, "--url", server.url)
    shown = command("status", "--url", server.url, cwd=tmp_path, **environment(None, None))

    assert (code, report["ok"], report["server"], report["mongodb"]) == (1, False, "degraded", None)
    assert shown.returncode == 1
    assert "No worker has shown a sign of life for 30 seconds." in shown.stdout


@pytest.mark.parametrize("elsewhere", [True, False])
def test_no_server_is_no_zero_and_starts_no_database(tmp_path: Path, elsewhere: bool) -> None:
    nobody = str(free_port())
    arguments = ("--url", f"http://127.0.0.1:{nobody}") if elsewhere else ()

    code, report = told(tmp_path, *arguments, PORT=nobody, DATA_DIR=str(tmp_path / "data"))

    assert (code, report["ok"], report["server"], report["mongodb"]) == (1, False, "down", None)
    assert not list(tmp_path.rglob("mongo*"))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"ENCRYPTION_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}, "ENCRYPTION_KEY is not the one"),
        ({"MONGODB_URI": "mongodb://nobody:wrong-password@{address}"}, "Authentication failed"),
        ({"MONGODB_URI": "http://localhost"}, "Invalid URI scheme"),
    ],
)
def test_wrong_settings_are_told_and_not_taken_for_a_database_that_is_down(
    server: Server, mongo_uri: str, data_dir: Path, tmp_path: Path, wrong: dict[str, str], sentence: str
) -> None:
    kept = json.loads((data_dir / "secrets.json").read_text())
    address = mongo_uri.removeprefix("mongodb://")
    told = {name: value.format(address=address) for name, value in wrong.items()}
    settings = {"PORT": server.url.rpartition(":")[2], "MONGODB_DB": "tests", "MONGODB_URI": mongo_uri, **kept, **told}

    done = command("status", cwd=tmp_path, **environment(None, None, **settings))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert sentence in done.stderr


def test_a_database_that_does_not_answer_is_down_and_why_is_told(
    server: Server, data_dir: Path, tmp_path: Path
) -> None:
    kept = json.loads((data_dir / "secrets.json").read_text())
    nobody = free_port()
    settings = {"PORT": server.url.rpartition(":")[2], "MONGODB_URI": f"mongodb://127.0.0.1:{nobody}", **kept}

    code, report = told(tmp_path, **settings)
    shown = command("status", cwd=tmp_path, **environment(None, None, **settings))

    assert (code, report["ok"], report["server"], report["mongodb"]) == (1, False, "up", "down")
    assert shown.returncode == 1
    assert f"MongoDB  down      MongoDB does not answer as it should (127.0.0.1:{nobody}: " in shown.stdout
    assert "refused): check MONGODB_URI" in shown.stdout


def test_a_server_with_another_data_dir_is_told_and_no_database_is_made_for_the_question(
    server: Server, tmp_path: Path
) -> None:
    settings = {"PORT": server.url.rpartition(":")[2], "DATA_DIR": str(tmp_path / "mine")}

    code, report = told(tmp_path, **settings)
    shown = command("status", cwd=tmp_path, **environment(None, None, **settings))

    assert (code, report["server"], report["mongodb"], report["workers"]) == (0, "up", None, None)
    assert f"MongoDB  not asked there is none in {tmp_path / 'mine'}: set DATA_DIR as the server's" in shown.stdout
    assert not list(tmp_path.rglob("mongo*"))


def test_what_nobody_works_on_is_told_with_its_age(
    start_server: Callable[..., Server], data_dir: Path, mongo: Mongo, tmp_path: Path
) -> None:
    server = start_server(MONGODB_DB=DATABASE, WORKER="off")
    settings = {"PORT": server.url.rpartition(":")[2], "DATA_DIR": str(data_dir), "MONGODB_DB": DATABASE}
    with httpx.Client(base_url=server.url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        account = psp.register()
        older, payment = (psp.charge(account).json() for _ in range(2))
    payments, hour = mongo[DATABASE]["payments"], timedelta(hours=1)
    row = payments.find_one({"_id": payment["id"]}) or {}
    earlier = {"due_at": row["due_at"] - hour, "outbox.0.at": row["outbox"][0]["at"] - hour}
    payments.update_one({"_id": payment["id"]}, {"$set": earlier})
    # An older payment with a newer event.
    payments.update_one({"_id": older["id"]}, {"$set": {"created_at": row["created_at"] - 2 * hour}})

    code, report = told(tmp_path, **settings)

    assert (code, report["ok"], report["server"], report["worker"]) == (1, False, "degraded", "behind")
    assert report["dueForSeconds"]["payments"] > 3_500
    assert report["dueForSeconds"]["events"] > 3_500
    assert report["dueForSeconds"]["webhooks"] is None
    assert report["workers"] == []


def test_workers_are_told_with_where_they_run_and_since_when(
    start_server: Callable[..., Server], data_dir: Path, mongo: Mongo, tmp_path: Path
) -> None:
    server = start_server(MONGODB_DB=DATABASE, WORKER="off")
    settings = {"PORT": server.url.rpartition(":")[2], "DATA_DIR": str(data_dir), "MONGODB_DB": DATABASE}
    heartbeats = mongo[DATABASE]["heartbeats"]

    code, report = told(tmp_path, **settings)
    assert (code, report["ok"], report["worker"], report["workers"]) == (1, False, "idle", [])
    with running(["cli.py", "worker"], tmp_path / "worker.log", **{**QUICK, **settings}) as worker:
        # A server that has said that it is not ready says so for a second.
        until(lambda: told(tmp_path, **settings)[0] == 0)
        code, report = told(tmp_path, **settings)
        (row,) = heartbeats.find({})
    assert (code, report["ok"]) == (0, True)
    (alive,) = report["workers"]
    assert 0 <= alive.pop("lastSeenSeconds") < 30
    started_at = row["started_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    host = socket.gethostname()
    assert alive == {"id": row["_id"], "host": host, "process": worker.pid, "startedAt": started_at, "version": VERSION}

    of_older_versions = {"started_at": "", "host": "", "version": ""}
    older = {"$set": {"beat_at": row["beat_at"] - timedelta(minutes=2)}, "$unset": of_older_versions}
    heartbeats.update_one({"_id": row["_id"]}, older)
    code, report = told(tmp_path, **settings)
    shown = command("status", cwd=tmp_path, **environment(None, None, **settings))
    assert (code, report["ok"], report["workers"]) == (1, False, [])
    assert "Workers  none      no sign of life of any for 30 s" in shown.stdout
