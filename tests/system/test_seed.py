"""`cli.py seed`: what it writes could have come about by use, and is the same each time."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from core.config import Settings
from domain.payments import Status
from services.psp import open_psp
from tests.books import Books
from tests.command_line import command, environment, following, fresh_command
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server
from tests.factories import Psp
from tests.waiting import until

Mongo = pymongo.MongoClient[dict[str, Any]]
Row = dict[str, Any]
Seed = Callable[..., Row]
OWN = ("password_hash", "webhook_secret", "secrets", "sealed_pan", "fingerprint")
"""What no other database has, whatever the seed: secrets, and what is made with the database's own key."""
FINGERPRINT = re.compile(rb'"fingerprint":"[0-9a-f]{32}"')


@pytest.fixture
def seed(data_dir: Path, mongo: Mongo, tmp_path: Path) -> Iterator[Seed]:
    used: set[str] = set()

    def run(database: str, *arguments: str) -> Row:
        used.add(database)
        settings = environment(
            None, None, MONGODB_DB=database, DATA_DIR=str(data_dir), PASSWORD_HASH_COST="4", WORKER="off"
        )
        done = command("seed", "--until", "2026-06-01", "--json", *arguments, cwd=tmp_path, **settings)
        assert done.returncode == 0, done.stderr
        told: Row = json.loads(done.stdout)
        return told

    yield run
    for name in used:
        mongo.drop_database(name)


def contents(mongo: Mongo, database: str) -> dict[str, list[Row]]:
    names = ("users", "customers", "payments", "refunds", "events", "deliveries", "bank_authorisations")
    found = {name: list(mongo[database][name].find().sort("_id", 1)) for name in names}
    for rows in found.values():
        for row in (*rows, *(row["card"] for row in rows if "card" in row)):
            for name in OWN:
                row.pop(name, None)
    for row in found["events"]:
        row["body"] = FINGERPRINT.sub(b"", row["body"])
    return found


def test_the_same_seed_makes_the_same_data_and_a_larger_run_adds_to_it(seed: Seed, mongo: Mongo) -> None:
    told = seed("seeded", "--payments", "300", "--seed", "7")
    once = contents(mongo, "seeded")
    assert len(once["payments"]) == told["payments"] == 300

    seed("seeded", "--payments", "300", "--seed", "7")
    assert contents(mongo, "seeded") == once

    assert seed("seeded_too", "--payments", "300", "--seed", "7")["accounts"] == told["accounts"]
    assert contents(mongo, "seeded_too") == once

    seed("seeded", "--payments", "400", "--seed", "7")
    more = contents(mongo, "seeded")
    assert len(more["payments"]) == 400
    for name, rows in once.items():
        assert [row for row in more[name] if row["_id"] in {one["_id"] for one in rows}] == rows, name

    seed("seeded_too", "--payments", "20", "--seed", "8")
    assert len(contents(mongo, "seeded_too")["payments"]) == 320


def test_a_run_that_is_killed_leaves_whole_payments_and_is_completed_by_the_next(
    seed: Seed, mongo: Mongo, data_dir: Path, tmp_path: Path
) -> None:
    asked = ("seed", "--until", "2026-06-01", "--payments", "3000")
    settings = environment(None, None, MONGODB_DB="seeded", DATA_DIR=str(data_dir), PASSWORD_HASH_COST="4")
    database = mongo["seeded"]
    with following(*asked, cwd=tmp_path, **settings) as running:
        until(lambda: database["payments"].estimated_document_count())
        running.process.kill()
        running.process.wait()

    begun = list(database["payments"].find())
    assert 0 < len(begun) < 3000, "it was done before it could be killed"
    told = Counter(row["stream_id"] for row in database["events"].find())
    assert all(told[row["_id"]] == row["sequence"] for row in begun)
    assert {row["customer_id"] for row in begun} <= set(database["customers"].distinct("_id"))

    seed("seeded", "--payments", "3000")
    seed("seeded_too", "--payments", "3000")
    assert contents(mongo, "seeded") == contents(mongo, "seeded_too")


def test_what_it_makes_could_have_come_about_by_use(seed: Seed, mongo: Mongo) -> None:
    told = seed("seeded", "--payments", "400", "--seed", "8")
    database = mongo["seeded"]
    statuses: Counter[str] = Counter()

    for account in told["accounts"]:
        books = Books(database, account["userId"])
        customers = {name for name in books.streams if name.startswith("cus_")}
        for name in customers:
            assert [row["type"] for row in books.streams.pop(name)] == ["customer.created"]
        assert customers == {row["_id"] for row in database["customers"].find({"owner_id": account["userId"]})}
        books.check()
        statuses.update(payment["status"] for payment in books.payments)
        assert {payment["customer_id"] for payment in books.payments} <= customers
        assert all(payment["outbox"] == [] for payment in books.payments)

    written = list(database["payments"].find({}, {"created_at": 1}).sort("$natural", 1))
    assert [row["created_at"].date() for row in written] == sorted(row["created_at"].date() for row in written)
    oldest_first = sorted(written, key=lambda row: (row["created_at"], row["_id"]))
    assert [row["_id"] for row in oldest_first] == sorted(row["_id"] for row in written)
    assert statuses.keys() == set(Status) - {Status.PENDING, Status.PROCESSING, Status.REQUIRES_ACTION}
    refunds = {one["id"] for row in database["payments"].find() for one in row.get("refunds", ())}
    assert {row["_id"] for row in database["refunds"].find()} == refunds
    wanted = {"$or": [{"type": {"$in": ["payment.completed", "payment.failed"]}}, {"type": {"$regex": "^refund"}}]}
    assert database["deliveries"].count_documents({}) == database["events"].count_documents(wanted)
    assert set(database["deliveries"].distinct("state")) == {"delivered", "dead"}


def test_a_server_shows_it_and_goes_on_with_it(seed: Seed, start_server: Callable[..., Server]) -> None:
    told = seed("seeded", "--payments", "100")
    server = start_server(MONGODB_DB="seeded")
    with httpx.Client(base_url=server.url, timeout=60, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        token = psp.login(told["accounts"][0]["email"], told["password"]).json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        body = {"name": "of a test", "scopes": ["payments:read", "payments:write", "refunds:write"]}
        key = {"X-API-Key": psp.post("/api-keys", json=body, headers=bearer).json()["apiKey"]}

        listed = psp.get("/payments/all", headers=key).json()
        assert listed["totalTransactions"] == 20
        refundable = next(one for one in listed["transactions"] if one["status"] == "completed")
        made = psp.post("/refunds", json={"paymentId": refundable["id"]}, headers=key)
        assert made.status_code == 201, made.text
        for path in ("/customers", "/events", "/deliveries", "/refunds", "/webhook-endpoints"):
            assert psp.get(path, headers=bearer).status_code == 200, path
        (endpoint,) = psp.get("/webhook-endpoints", headers=bearer).json()["webhookEndpoints"]
        assert endpoint["status"] == "disabled"
        deadline = 200
        while psp.get(f"/payments/{refundable['id']}", headers=key).json()["status"] != "refunded":
            deadline -= 1
            assert deadline, "the refund did not come about"


def test_a_merchant_that_was_deleted_stays_so_and_the_seed_can_still_be_made_larger(
    seed: Seed, mongo: Mongo, start_server: Callable[..., Server]
) -> None:
    told = seed("seeded", "--payments", "20")
    gone = told["accounts"][0]["userId"]
    with httpx.Client(base_url=start_server(MONGODB_DB="seeded").url, timeout=60, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        assert psp.delete(f"/users/{gone}", headers=psp.root()).status_code == 200

    assert seed("seeded", "--payments", "40", "--until", "2026-05-01")["accounts"] == told["accounts"]
    seed("seeded_too", "--payments", "40")

    made, undisturbed = contents(mongo, "seeded"), contents(mongo, "seeded_too")
    assert [row["_id"] for row in made.pop("users") if row["deleted"]] == [gone]
    undisturbed.pop("users")
    assert made == undisturbed


def test_where_somebody_else_has_a_merchants_address_nothing_is_made(
    start_server: Callable[..., Server], mongo: Mongo, data_dir: Path, tmp_path: Path
) -> None:
    with httpx.Client(base_url=start_server(MONGODB_DB="seeded").url, timeout=60, verify=False) as client:
        Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD).register(email="Merchant-4@seed-1.example.com")
    before = contents(mongo, "seeded")
    settings = environment(None, None, MONGODB_DB="seeded", DATA_DIR=str(data_dir), PASSWORD_HASH_COST="4")

    done = command("seed", "--until", "2026-06-01", cwd=tmp_path, **settings)

    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == (
        "Error: Another account has an e-mail address that a merchant of seed 1 needs "
        "(merchant-1@seed-1.example.com to merchant-5@seed-1.example.com). Take another seed."
    )
    assert "Traceback" not in done.stderr
    assert contents(mongo, "seeded") == before


async def test_two_that_seed_the_same_at_once_leave_what_one_would_have_left(
    seed: Seed, mongo: Mongo, data_dir: Path
) -> None:
    ends = ("2026-06-01", "2026-05-01")
    alone = []
    for end in ends:
        seed(f"seeded_{end}", "--payments", "600", "--until", end)
        alone.append(contents(mongo, f"seeded_{end}"))
    settings = Settings(_env_file=None, data_dir=data_dir, mongodb_db="seeded", password_hash_cost=4)
    started = asyncio.Barrier(2)

    async def make(end: str) -> None:
        async with open_psp(settings, is_worker=False) as psp:
            await started.wait()
            async for _ in psp.seeding.seed(1, 600, datetime.fromisoformat(end).replace(tzinfo=UTC)):
                pass

    await asyncio.gather(*map(make, ends))

    assert contents(mongo, "seeded") in alone
    mongo.drop_database("seeded")


def test_what_lies_ahead_is_not_made_up(tmp_path: Path) -> None:
    settings = environment(None, None, DATA_DIR=str(tmp_path))
    done = fresh_command("seed", "--until", "2999-01-01", cwd=tmp_path, **settings)

    assert done.returncode == 2
    assert "has not come yet" in done.stderr


def test_in_production_it_makes_nothing_and_opens_nothing(mongo_uri: str, mongo: Mongo, tmp_path: Path) -> None:
    settings = environment(
        None,
        None,
        ENVIRONMENT="production",
        MONGODB_URI=mongo_uri,
        MONGODB_DB="seeded",
        JWT_SECRET="a-jwt-secret-of-more-than-thirty-two-bytes",
        ENCRYPTION_KEY="MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        SYSTEM_ADMIN_PASSWORD=ADMIN_PASSWORD,
    )
    done = command("seed", cwd=tmp_path, **settings)
    opened = "seeded" in mongo.list_database_names()
    mongo.drop_database("seeded")

    assert (done.returncode, opened) == (2, False)
    assert "A server in production is not filled" in done.stderr
