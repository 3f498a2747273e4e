"""No secret stands in plain text anywhere in the database: not in a collection, not in the oplog, not in the log; nor
may a cache keep one."""

import secrets
from base64 import b64decode
from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.collection import Collection

from domain.signing import plain_signature
from main import app  # noqa: TID251 - the application itself is looked at here
from tests.conftest import ADMIN_PASSWORD, Server
from tests.factories import Account, Psp, card
from tests.receiver import Receiver

SECRET_FIELDS = {
    "access_token",
    "apiKey",
    "paymentKey",
    "previousSecret",
    "refresh_token",
    "secret",
    "token",
    "webhookSecret",
}


def raw(collection: Collection[Any], query: dict[str, Any] | None = None) -> list[bytes]:
    options = collection.codec_options.with_options(document_class=RawBSONDocument)
    return [document.raw for document in collection.with_options(options).find(query or {})]


@pytest.fixture
def known_secrets(psp: Psp, receiver: Receiver) -> dict[str, str]:
    """The secrets of an account that has done everything that can be done."""
    password = secrets.token_urlsafe(24)
    account = psp.register("merchant", password=password)
    found = {"access token": account.token, "refresh token": account.refresh_token}
    exercise(psp, account, receiver)
    endpoint = psp.post("/webhook-endpoints", json={"url": receiver.url, "events": ["*"]}, headers=account.key).json()
    rotated = psp.post(f"/webhook-endpoints/{endpoint['id']}/rotate", headers=account.key).json()
    psp.post(f"/webhook-endpoints/{endpoint['id']}/test", headers=account.key)
    receiver.wait_for(4)
    replacing = psp.post("/users/me/webhook-secret/rotate", headers=account.key).json()
    psp.get(f"/webhook-endpoints/{endpoint['id']}/secret", headers=account.key)
    made = psp.post("/api-keys", json={"name": "a", "scopes": ["webhooks"]}, headers=account.key).json()
    exchanged = psp.post(f"/api-keys/{made['id']}/rotate", headers=account.key).json()
    psp.get("/webhook-endpoints", headers={"X-API-Key": exchanged["apiKey"]})
    again = psp.login(account.email, password).json()
    form = psp.post("/auth/token", data={"username": account.email, "password": password}).json()
    refreshed = psp.post("/users/refresh", json={"refresh_token": again["refresh_token"]}).json()
    psp.post("/users/refresh", json={"refresh_token": again["refresh_token"]})
    psp.post("/users/logout", headers={"Authorization": f"Bearer {form['access_token']}"})
    wrong = secrets.token_urlsafe(24)
    psp.login(account.email, wrong)
    psp.post("/users/register", json={"name": "x", "email": "no", "password": wrong, "Password": wrong})
    psp.delete(f"/users/{account.id}", headers=psp.root())
    for number, session in enumerate((again, form, refreshed)):
        found |= {f"access token {number}": session["access_token"]}
        found |= {f"refresh token {number}": session["refresh_token"]}
    return {
        **found,
        "password": password,
        "password that was wrong": wrong,
        "first admin's password": ADMIN_PASSWORD,
        "API key": account.api_key,
        "named API key": made["apiKey"],
        "rotated API key": exchanged["apiKey"],
        "webhook secret": account.webhook_secret,
        "webhook secret after": replacing["webhookSecret"],
        "endpoint's secret": rotated["secret"],
        "endpoint's secret before": endpoint["secret"],
    }


def exercise(psp: Psp, account: Account, receiver: Receiver) -> None:
    payment = psp.completed(account, webhookUrl=receiver.url, metadata={"a": "b"}, details="d", reference="r")
    receiver.wait_for(3)
    again = psp.charge(account, {"Idempotency-Key": "k"})
    psp.post(f"/payments/{again.json()['id']}/cancel", headers={**account.key, "Idempotency-Key": "k"})
    psp.patch(f"/payments/{payment['id']}", json={"details": "new"}, headers=account.key)
    psp.get("/payments/query", headers=account.both)
    body = b'{"id": "evt_1", "event": "x", "data": {}}'
    signature = {"X-Signature": plain_signature(account.webhook_secret, body), "Content-Type": "application/json"}
    assert psp.post("/webhook-receive", content=body, headers={**account.key, **signature}).status_code == 200
    psp.delete(f"/transactions/{payment['id']}", headers=account.bearer)


def test_no_secret_is_in_the_database_the_oplog_or_the_log(
    known_secrets: dict[str, str], mongo: MongoClient[dict[str, Any]], server: Server
) -> None:
    places = {name: raw(mongo["tests"][name]) for name in mongo["tests"].list_collection_names()}
    places["oplog"] = raw(mongo.local["oplog.rs"], {"ns": {"$in": ["admin.$cmd", "tests.$cmd"]}})
    places["oplog"] += raw(mongo.local["oplog.rs"], {"ns": {"$regex": "^tests\\."}})
    places["log"] = [server.log.read_bytes()]

    assert len(places["users"]) > 0
    assert len(places["oplog"]) > len(places["payments"])
    # As one text each, since a search in each document of the oplog by itself takes minutes.
    texts = {place: b"\n".join(documents) for place, documents in places.items()}
    leaks = [
        (kind, place)
        for place, documents in texts.items()
        for kind, secret in known_secrets.items()
        if secret.encode() in documents
    ]
    assert leaks == []


def test_no_cache_keeps_an_answer_that_shows_a_secret(psp: Psp) -> None:
    email, password = f"{secrets.token_hex(8)}@example.com", secrets.token_urlsafe(24)
    owner = {"name": "Ada", "email": email, "password": password, "role": "merchant"}
    registered = psp.post("/users/register", json=owner)
    key = {"X-API-Key": registered.json()["apiKey"]}
    session = psp.login(email, password)
    made = psp.post("/webhook-endpoints", json={"url": "http://127.0.0.1:9/", "events": ["*"]}, headers=key)
    endpoint = f"/webhook-endpoints/{made.json()['id']}"
    named = psp.post("/api-keys", json={"name": "a", "scopes": ["webhooks"]}, headers=key)

    showing = {
        "register": registered,
        "login": session,
        "token": psp.post("/auth/token", data={"username": email, "password": password}),
        "refresh": psp.post("/users/refresh", json={"refresh_token": session.json()["refresh_token"]}),
        "the account's secret": psp.post("/users/me/webhook-secret/rotate", headers=key),
        "an endpoint": made,
        "an endpoint's secret": psp.get(f"{endpoint}/secret", headers=key),
        "an endpoint's new secret": psp.post(f"{endpoint}/rotate", headers=key),
        "an API key": named,
        "an API key's new text": psp.post(f"/api-keys/{named.json()['id']}/rotate", headers=key),
        "a card token": psp.post("/tokens", json=card(), headers=key),
        "a payment key": psp.post("/payment-keys", json={}, headers=key),
    }

    assert {name: answer.status_code // 100 for name, answer in showing.items()} == dict.fromkeys(showing, 2)
    told = {name: answer.headers.get("Cache-Control") for name, answer in showing.items()}
    assert told == dict.fromkeys(showing, "no-store")
    assert "Cache-Control" not in psp.get(endpoint, headers=key).headers


def test_each_answer_with_a_secret_among_its_fields_is_kept_by_no_cache() -> None:
    """So that no new one is forgotten: the OpenAPI document knows the fields of every answer."""
    document = app.openapi()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    shows, says = set(), set()
    for operation in operations:
        answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        for answer in answers:
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            fields = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
            if SECRET_FIELDS & fields.get("properties", {}).keys():
                shows.add(operation["operationId"])
            if "Cache-Control" in answer.get("headers", {}):
                says.add(operation["operationId"])

    assert len(shows) == 11
    assert says == {*shows, "create_token"}  # whose `id` is the token


def test_the_inner_bytes_of_a_webhook_secret_are_not_in_the_database_either(
    psp: Psp, mongo: MongoClient[dict[str, Any]]
) -> None:
    account = psp.register("merchant")
    inner = b64decode(account.webhook_secret.removeprefix("whsec_"))

    assert not any(inner in document for document in raw(mongo["tests"].users))
