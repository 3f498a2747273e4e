"""The audit log: what is done with secrets is written down, before the secret leaves and without it."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest
from bson.raw_bson import RawBSONDocument

from domain.signing import plain_signature
from tests.factories import Account, Psp

Row = dict[str, Any]
Database = pymongo.database.Database[Row]
Rows = Callable[[Account], list[Row]]
FIELDS = {
    *("_id", "at", "account_id", "role", "api_key_id", "session_id", "action", "target_id", "outcome"),
    *("before", "after", "request_id", "address", "route", "linked"),
}
CHAINED = {"seal", "sequence", "previous_hash", "hash"}
ROTATE = "/users/me/webhook-secret/rotate"


@pytest.fixture
def rows(database: Database) -> Rows:
    """What an account has done with secrets, in order."""
    about = {"$regex": "secret"}
    return lambda account: list(database["audit"].find({"account_id": account.id, "action": about}).sort("_id", 1))


@pytest.fixture
def endpoint(psp: Psp, merchant: Account) -> Row:
    body = {"url": "http://127.0.0.1:9", "events": ["*"]}
    return dict(psp.post("/webhook-endpoints", json=body, headers=merchant.key).json())


@contextmanager
def failing(mongo: pymongo.MongoClient[Row], database: Database) -> Iterator[None]:
    """No row can be written: MaxTimeMSExpired."""
    refused = {"failCommands": ["insert"], "namespace": f"{database.name}.audit", "errorCode": 50}
    mongo.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=refused)
    try:
        yield
    finally:
        mongo.admin.command("configureFailPoint", "failCommand", mode="off")


def test_what_is_done_with_secrets_is_written_down(psp: Psp, rows: Rows) -> None:
    account = psp.register()
    body = {"url": "http://127.0.0.1:9", "events": ["*"]}
    made = psp.post("/webhook-endpoints", json=body, headers=account.key).json()["id"]
    api_key = psp.get("/users/me", headers=account.bearer).json()["apiKeys"][0]["id"]
    named = {"X-Request-ID": "look-1"}

    read = psp.get(f"/webhook-endpoints/{made}/secret", headers={**account.key, **named})
    exchanged = psp.post(f"/webhook-endpoints/{made}/rotate", json={"overlapDays": 3}, headers=account.bearer)
    rotated = psp.post(ROTATE, json={"overlapDays": 0}, headers=account.both)

    found = rows(account)
    assert [(row["action"], row["target_id"]) for row in found] == [
        ("webhook_secret.read", made),
        ("webhook_secret.rotated", made),
        ("account.webhook_secret_rotated", account.id),
    ]
    assert [row["request_id"] for row in found] == [
        "look-1",
        *(answer.headers["x-request-id"] for answer in (exchanged, rotated)),
    ]
    for row in found:
        assert row.keys() - CHAINED == FIELDS
        assert re.fullmatch(r"aud_[0-9a-z]{26}", row["_id"])
        assert (row["role"], row["outcome"], row["address"]) == ("merchant", "success", "127.0.0.1")
        assert abs(row["at"] - datetime.now(UTC)) < timedelta(minutes=1)
    assert [row["api_key_id"] for row in found] == [api_key, None, api_key]
    by_key, by_token, by_both = (row["session_id"] for row in found)
    assert by_key is None
    assert by_token == by_both
    assert by_token.startswith("sess_")
    ends_at = datetime.fromisoformat(exchanged.json()["previousSecretExpiresAt"])
    assert [(row["before"], row["after"]) for row in found] == [
        (None, None),
        ({"previous_secret_ends_at": None}, {"previous_secret_ends_at": ends_at}),
        ({"previous_secret_ends_at": None}, {"previous_secret_ends_at": None}),
    ]
    assert read.is_success


def test_no_row_holds_a_secret(psp: Psp, merchant: Account, endpoint: Row, database: Database) -> None:
    secrets = [merchant.webhook_secret, merchant.api_key, merchant.token, endpoint["secret"]]
    for path in (ROTATE, f"/webhook-endpoints/{endpoint['id']}/rotate"):
        answer = psp.post(path, headers={**merchant.both, "X-Request-ID": "4242424242424242"}).json()
        secrets.append(answer.get("webhookSecret") or answer["secret"])
    psp.get(f"/webhook-endpoints/{endpoint['id']}/secret", headers=merchant.key)

    options = database["audit"].codec_options.with_options(document_class=RawBSONDocument)
    stored = [row.raw for row in database["audit"].with_options(options).find()]

    assert stored
    for secret in (*secrets, "4242424242424242"):
        assert not any(secret.removeprefix("whsec_").encode() in row for row in stored)


def test_what_was_refused_is_no_act(psp: Psp, merchant: Account, user: Account, endpoint: Row, rows: Rows) -> None:
    stranger, before = psp.register(), len(rows(merchant))
    path = f"/webhook-endpoints/{endpoint['id']}"

    for who in (stranger, user):
        assert psp.get(f"{path}/secret", headers=who.key).status_code in (403, 404)
        assert psp.post(f"{path}/rotate", headers=who.key).status_code in (403, 404)
        assert rows(who) == []
    for wrong in (f"{path}/rotate", ROTATE):
        assert psp.post(wrong, json={"overlapDays": 8}, headers=merchant.key).status_code == 422
    assert psp.get("/webhook-endpoints/we_none/secret", headers=merchant.key).status_code == 404
    assert len(rows(merchant)) == before


def test_a_secret_whose_showing_cannot_be_written_down_is_not_shown(
    psp: Psp, merchant: Account, endpoint: Row, mongo: pymongo.MongoClient[Row], database: Database
) -> None:
    path = f"/webhook-endpoints/{endpoint['id']}/secret"

    with failing(mongo, database):
        refused = psp.get(path, headers=merchant.key)

    assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
    assert psp.get(path, headers=merchant.key).json()["secret"] == endpoint["secret"]


def test_a_rotation_that_cannot_be_written_down_does_not_happen(
    psp: Psp, endpoint: Row, merchant: Account, mongo: pymongo.MongoClient[Row], database: Database
) -> None:
    account = psp.register("user")
    but_for_last_uses = {"api_keys.last_used_at": 0}
    before = database["users"].find_one({"_id": account.id}, but_for_last_uses)

    with failing(mongo, database):
        of_endpoint = psp.post(f"/webhook-endpoints/{endpoint['id']}/rotate", headers=merchant.key)
        of_account = psp.post(ROTATE, headers=account.key)

    assert [(one.status_code, one.json()["code"]) for one in (of_endpoint, of_account)] == [
        (503, "outcome_unknown")
    ] * 2
    assert database["users"].find_one({"_id": account.id}, but_for_last_uses) == before
    shown = psp.get(f"/webhook-endpoints/{endpoint['id']}/secret", headers=merchant.key).json()
    assert shown == {"secret": endpoint["secret"], "previousSecret": None, "previousSecretExpiresAt": None}
    body = b'{"id":"evt_1","event":"x","data":{}}'
    signed = {"X-Signature": plain_signature(account.webhook_secret, body), "Content-Type": "application/json"}
    assert psp.post("/webhook-receive", content=body, headers={**account.key, **signed}).status_code == 200


def test_of_an_endpoints_rotations_at_once_each_is_written_down_and_the_last_two_sign(
    psp: Psp, merchant: Account, endpoint: Row, database: Database
) -> None:
    path = f"/webhook-endpoints/{endpoint['id']}"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: psp.post(f"{path}/rotate", headers=merchant.key).json(), range(16)))

    shown = psp.get(f"{path}/secret", headers=merchant.key).json()
    assert shown in answers
    # Each took the place of another one, and the first that of the secret which the endpoint was made with.
    assert {one["previousSecret"] for one in answers} == {endpoint["secret"], *(one["secret"] for one in answers)} - {
        shown["secret"]
    }
    written = {"action": "webhook_secret.rotated", "target_id": endpoint["id"]}
    assert database["audit"].count_documents(written) == 16


@pytest.mark.parametrize("forwarded", ["203.0.113.7", "2001:db8::7"])
def test_the_address_is_that_of_whom_a_trusted_proxy_speaks_for(
    proxied_psp: Psp, merchant: Account, endpoint: Row, rows: Rows, forwarded: str
) -> None:
    headers = {**merchant.key, "X-Forwarded-For": forwarded}

    proxied_psp.get(f"/webhook-endpoints/{endpoint['id']}/secret", headers=headers)

    assert rows(merchant)[-1]["address"] == forwarded


def test_an_address_that_is_none_is_not_kept(proxied_psp: Psp, merchant: Account, endpoint: Row, rows: Rows) -> None:
    headers = {**merchant.key, "X-Forwarded-For": merchant.api_key}

    proxied_psp.get(f"/webhook-endpoints/{endpoint['id']}/secret", headers=headers)

    assert rows(merchant)[-1]["address"] is None
