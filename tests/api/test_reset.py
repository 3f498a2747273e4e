"""POST /admin/reset and `cli.py reset`: a server with nothing in it goes on as after its first start."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from bank.books import INDEXES as BANK_INDEXES
from repositories.indexes import INDEXES
from services.reset import KEPT
from tests.command_line import command, environment, fresh_command
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server
from tests.factories import PASSWORD, Account, Psp

Mongo = pymongo.MongoClient[dict[str, Any]]
DATABASE = "reset"
PRODUCTION = {
    "ENVIRONMENT": "production",
    "JWT_SECRET": "a-jwt-secret-of-more-than-thirty-two-bytes",
    "ENCRYPTION_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "SYSTEM_ADMIN_PASSWORD": ADMIN_PASSWORD,
    "PASSWORD_HASH_COST": "12",
}


@pytest.fixture
def house(start_server: Callable[..., Server]) -> Iterator[Psp]:
    """A server whose database nobody else uses."""
    server = start_server(MONGODB_DB=DATABASE)
    with httpx.Client(base_url=server.url, timeout=60, verify=False) as client:
        yield Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)


def use(psp: Psp) -> Account:
    """An account that has left something in most collections."""
    account = psp.register(email="ada@example.com")
    psp.post("/webhook-endpoints", json={"url": "http://127.0.0.1:9/hook", "events": ["*"]}, headers=account.key)
    psp.post("/customers", json={"name": "Grace Hopper"}, headers=account.key)
    payment = psp.completed(account)
    psp.post("/refunds", json={"paymentId": payment["id"]}, headers=account.key)
    psp.reach(account, payment["id"], "refunded")
    return account


def left(mongo: Mongo) -> dict[str, int]:
    found = {name: mongo[DATABASE][name].count_documents({}) for name in INDEXES.keys() | BANK_INDEXES.keys()}
    return {name: count for name, count in found.items() if count}


def test_everything_goes_but_the_system_admins_and_the_audit_log(house: Psp, mongo: Mongo) -> None:
    account, root = use(house), house.root()
    indexes = {name: mongo[DATABASE][name].index_information() for name in INDEXES}

    answer = house.post("/admin/reset", json={"database": DATABASE}, headers=root)
    remaining = left(mongo)

    assert answer.status_code == 200, answer.text
    assert answer.json()["deleted"] > 10
    # The request log's own row of this request may have been written since.
    assert remaining.keys() <= {"request_logs", "users", "sessions", *KEPT}
    assert (remaining["users"], remaining["keyring"]) == (1, 1)
    assert mongo[DATABASE]["sessions"].distinct("owner_id") == mongo[DATABASE]["users"].distinct("_id")
    assert {name: mongo[DATABASE][name].index_information() for name in INDEXES} == indexes
    assert house.get("/payments/all", headers=account.key).status_code == 401
    assert house.get("/users/me", headers=account.bearer).status_code == 401
    assert house.get("/admin/dashboard", headers=root).json()["usersByRole"]["merchant"] == 0

    again = use(house)
    assert house.get("/payments/all", headers=again.key).json()["totalTransactions"] == 1
    rows = house.get("/audit", params={"action": "data.reset"}, headers=root).json()["auditRows"]
    (row,) = rows
    assert (row["actorRole"], row["targetId"], row["outcome"]) == ("system_admin", None, "success")


def test_another_database_and_another_role_delete_nothing(house: Psp) -> None:
    account, root = use(house), house.root()
    admin = house.register("admin")

    wrong = house.post("/admin/reset", json={"database": "mock_psp"}, headers=root)
    refused = house.post("/admin/reset", json={"database": DATABASE}, headers=admin.bearer)

    assert (wrong.status_code, wrong.json()["code"]) == (409, "wrong_database")
    assert (refused.status_code, refused.json()["detail"]) == (403, "Access denied. Allowed roles: ('system_admin',)")
    assert house.post("/admin/reset", json={}, headers=root).status_code == 422
    assert house.get("/payments/all", headers=account.key).json()["totalTransactions"] == 1
    assert house.login(account.email, PASSWORD).status_code == 200


def test_in_production_nothing_is_deleted(
    start_server: Callable[..., Server], mongo_uri: str, mongo: Mongo, tmp_path: Path
) -> None:
    server = start_server(MONGODB_DB=DATABASE, MONGODB_URI=mongo_uri, **PRODUCTION)
    with httpx.Client(base_url=server.url, timeout=60, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        psp.register()
        answer = psp.post("/admin/reset", json={"database": DATABASE}, headers=psp.root())
    settings = environment(None, None, MONGODB_DB=DATABASE, MONGODB_URI=mongo_uri, **PRODUCTION)
    done = fresh_command("reset", "--yes", cwd=tmp_path, **settings)

    assert (answer.status_code, answer.json()["detail"]) == (
        403,
        "Access denied. A server in production is never reset.",
    )
    assert (done.returncode, done.stderr) == (
        2,
        "Error: A server in production is never reset: ENVIRONMENT is production.\n",
    )
    assert left(mongo)["users"] == 2


def test_the_command_asks_first_and_says_what_it_did(house: Psp, mongo: Mongo, data_dir: Path, tmp_path: Path) -> None:
    use(house)
    settings = environment(None, None, MONGODB_DB=DATABASE, DATA_DIR=str(data_dir))

    unanswered = command("reset", cwd=tmp_path, **settings)
    assert unanswered.returncode == 1
    assert "Everything in 'reset'" in unanswered.stdout
    assert "Nothing was deleted. --yes deletes without asking." in unanswered.stderr
    assert left(mongo)["payments"] == 1

    done = command("reset", "--yes", "--json", cwd=tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["database"] == DATABASE
    assert told["deleted"] > 10
    assert "payments" not in left(mongo)
