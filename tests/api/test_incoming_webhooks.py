"""Incoming webhooks: verified by either scheme, stored once, and nothing of what does not verify."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pymongo.database import Database
from standardwebhooks import Webhook

from core.security import new_webhook_secret
from domain.signing import plain_signature
from tests.conftest import Server
from tests.factories import API, Account, Psp

MESSAGE = {"id": "evt_1", "event": "order.paid", "data": {"total": 12.5}, "anything": ["else", None]}
Headers = dict[str, str]


def encoded(message: object) -> bytes:
    return json.dumps(message).encode()


def plain(account: Account, body: bytes) -> Headers:
    return {"X-Signature": plain_signature(account.webhook_secret, body)}


def standard(account: Account, body: bytes, webhook_id: str = "msg_1", at: datetime | None = None) -> Headers:
    at = at or datetime.now(UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(account.webhook_secret).sign(webhook_id, at, body.decode()),
    }


def send(psp: Psp, account: Account, body: bytes, headers: Headers) -> httpx.Response:
    everything = {"Content-Type": "application/json", **account.key, **headers}
    return psp.post("/webhook-receive", content=body, headers=everything)


@pytest.fixture
def stored(database: Database[Any]) -> Callable[[Account], int]:
    return lambda account: database.incoming_webhooks.count_documents({"owner_id": account.id})


@pytest.mark.parametrize("sign", [plain, standard, lambda *sent: {**plain(*sent), **standard(*sent)}])
def test_a_webhook_that_verifies_is_received(psp: Psp, stored: Callable[[Account], int], sign: Any) -> None:
    account, body = psp.register("user"), encoded(MESSAGE)

    answer = send(psp, account, body, sign(account, body))

    assert (answer.status_code, answer.json()) == (200, {"status": "verified", "id": "evt_1", "duplicate": False})
    assert stored(account) == 1


def test_the_same_webhook_id_again_is_a_duplicate_whatever_it_carries(
    psp: Psp, stored: Callable[[Account], int]
) -> None:
    account = psp.register("user")
    first, other = encoded(MESSAGE), encoded({**MESSAGE, "id": "evt_2"})
    send(psp, account, first, standard(account, first))

    again = send(psp, account, first, standard(account, first, at=datetime.now(UTC) - timedelta(seconds=60)))
    assert (again.status_code, again.json()) == (200, {"status": "verified", "id": "evt_1", "duplicate": True})
    assert send(psp, account, other, standard(account, other)).json()["duplicate"] is True
    assert stored(account) == 1
    assert send(psp, account, first, standard(account, first, "msg_2")).json()["duplicate"] is False


def test_the_same_body_under_x_signature_again_is_a_duplicate(psp: Psp, stored: Callable[[Account], int]) -> None:
    account = psp.register("user")
    body, spaced = encoded(MESSAGE), encoded(MESSAGE) + b" "

    assert [send(psp, account, body, plain(account, body)).json()["duplicate"] for _ in range(3)] == [False, True, True]
    assert send(psp, account, spaced, plain(account, spaced)).json()["duplicate"] is False
    assert stored(account) == 2


def test_what_one_account_received_is_new_to_another(psp: Psp) -> None:
    body = encoded(MESSAGE)
    for account in (psp.register("user"), psp.register("user")):
        assert send(psp, account, body, standard(account, body)).json()["duplicate"] is False


def test_of_many_copies_at_once_one_is_new(psp: Psp, server: Server, stored: Callable[[Account], int]) -> None:
    account, body = psp.register("user"), encoded(MESSAGE)
    headers = {"Content-Type": "application/json", **account.key, **standard(account, body)}

    def copy(_: int) -> httpx.Response:
        return httpx.post(f"{server.url}{API}/webhook-receive", content=body, headers=headers, timeout=30, verify=False)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(copy, range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["duplicate"] for answer in answers) == [False] + [True] * 19
    assert stored(account) == 1


@pytest.mark.parametrize("away_s", [-290, 290])
def test_a_timestamp_within_five_minutes_is_fresh(shared_psp: Psp, user: Account, away_s: int) -> None:
    body, at = encoded(MESSAGE), datetime.now(UTC) + timedelta(seconds=away_s)

    assert send(shared_psp, user, body, standard(user, body, f"msg_{away_s}", at)).status_code == 200


BODY = encoded(MESSAGE)
REFUSED: dict[str, Callable[[Account], Headers]] = {
    "nothing": lambda account: {},
    "empty": lambda account: {"X-Signature": ""},
    "of another body": lambda account: plain(account, BODY + b" "),
    "one digit off": lambda account: {"X-Signature": plain(account, BODY)["X-Signature"][:-1] + "g"},
    "cut": lambda account: {"X-Signature": plain(account, BODY)["X-Signature"][:-1]},
    "with a prefix": lambda account: {"X-Signature": "sha256=" + plain(account, BODY)["X-Signature"]},
    "of another secret": lambda account: {"X-Signature": plain_signature(new_webhook_secret(), BODY)},
    "of the API key": lambda account: {"X-Signature": plain_signature(account.api_key, BODY)},
    "of the secret's inner part": lambda account: {
        "X-Signature": plain_signature(account.webhook_secret.removeprefix("whsec_"), BODY)
    },
    "stale": lambda account: standard(account, BODY, at=datetime.now(UTC) - timedelta(seconds=330)),
    "from the future": lambda account: standard(account, BODY, at=datetime.now(UTC) + timedelta(seconds=330)),
    "without an id": lambda account: without(standard(account, BODY), "webhook-id"),
    "without a timestamp": lambda account: without(standard(account, BODY), "webhook-timestamp"),
    "without a signature": lambda account: without(standard(account, BODY), "webhook-signature"),
    "of another id": lambda account: {**standard(account, BODY), "webhook-id": "msg_2"},
    "of another time": lambda account: {
        **standard(account, BODY),
        "webhook-timestamp": str(int(datetime.now(UTC).timestamp()) + 5),
    },
    "time in words": lambda account: {**standard(account, BODY), "webhook-timestamp": "now"},
    "negative time": lambda account: {**standard(account, BODY), "webhook-timestamp": "-1"},
    "infinite time": lambda account: {**standard(account, BODY), "webhook-timestamp": "9" * 400},
    "unknown version": lambda account: {**standard(account, BODY), "webhook-signature": "v2,AAAA"},
    "not base64": lambda account: {**standard(account, BODY), "webhook-signature": "v1,%%%"},
    "no version": lambda account: {**standard(account, BODY), "webhook-signature": "AAAA"},
    "good standard, wrong plain": lambda account: {**standard(account, BODY), "X-Signature": "0" * 64},
    "good plain, wrong standard": lambda account: {**plain(account, BODY), "webhook-id": "msg_1"},
    "very long": lambda account: {**standard(account, BODY), "webhook-signature": "v1,A " * 5000 + "v1,A"},
}


def without(headers: Headers, name: str) -> Headers:
    return {kept: value for kept, value in headers.items() if kept != name}


@pytest.mark.parametrize("wrong", REFUSED)
def test_whatever_does_not_verify_is_a_401_and_leaves_nothing(
    shared_psp: Psp, merchant: Account, stored: Callable[[Account], int], wrong: str
) -> None:
    answer = send(shared_psp, merchant, BODY, REFUSED[wrong](merchant))

    assert (answer.status_code, answer.json()["detail"]) == (401, "Invalid webhook signature")
    assert stored(merchant) == 0


def test_another_accounts_signature_does_not_verify(
    shared_psp: Psp, user: Account, merchant: Account, stored: Callable[[Account], int]
) -> None:
    for headers in (plain(user, BODY), standard(user, BODY)):
        assert send(shared_psp, merchant, BODY, headers).status_code == 401
    assert stored(merchant) == 0


def test_a_signature_that_is_no_ascii_does_not_verify(shared_psp: Psp, merchant: Account) -> None:
    for name in ("X-Signature", "webhook-id", "webhook-timestamp", "webhook-signature"):
        headers: Any = {**merchant.key, "Content-Type": "application/json", name: b"\xe9\xff"}

        assert shared_psp.post("/webhook-receive", content=BODY, headers=headers).status_code == 401


def test_the_key_is_asked_for_before_the_signature(shared_psp: Psp) -> None:
    answer = shared_psp.post("/webhook-receive", json=MESSAGE)

    assert (answer.status_code, answer.json()["detail"]) == (401, "Invalid or missing X-API-Key. Access denied.")


@pytest.mark.parametrize(
    "message",
    [
        {"id": "evt_1", "type": "order.paid", "data": {}},
        {"id": "evt_1", "event": "x", "type": "y", "data": {"$where": "1", "a.b": {"$gt": 0}}},
        {"id": "$ne", "event": "$where", "data": {}, "": "", "$set": {"role": "admin"}, "__proto__": {}},
        {"id": "e" * 255, "event": "e" * 255, "data": {"n": 1e300, "deep": [[[[{}]]]], "emoji": "\U0001f600"}},
    ],
)
def test_whatever_else_the_sender_puts_in_is_welcome(
    psp: Psp, database: Database[Any], message: dict[str, Any]
) -> None:
    account, body = psp.register("user"), encoded(message)

    answer = send(psp, account, body, plain(account, body))

    assert (answer.status_code, answer.json()["id"]) == (200, message["id"])
    row = database.incoming_webhooks.find_one({"owner_id": account.id})
    assert row is not None
    assert row["body"] == body


@pytest.mark.parametrize(
    "message",
    [
        {},
        [],
        "text",
        None,
        1,
        {"event": "x", "data": {}},
        {"id": "evt_1", "data": {}},
        {"id": "evt_1", "event": "x"},
        {"id": "evt_1", "event": None, "type": None, "data": {}},
        {"id": "", "event": "x", "data": {}},
        {"id": 1, "event": "x", "data": {}},
        {"id": {"$ne": None}, "event": "x", "data": {}},
        {"id": "evt_1", "event": "", "data": {}},
        {"id": "evt_1", "event": ["x"], "data": {}},
        {"id": "evt_1", "event": "x", "data": "text"},
        {"id": "e" * 256, "event": "x", "data": {}},
    ],
    ids=str,
)
def test_what_verifies_and_is_no_webhook_is_a_422(
    shared_psp: Psp, merchant: Account, stored: Callable[[Account], int], message: object
) -> None:
    body = encoded(message)

    for headers in (plain(merchant, body), standard(merchant, body)):
        answer = send(shared_psp, merchant, body, headers)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"][0] == "body"
    assert stored(merchant) == 0


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b'{"id": NaN}', b'{"id": "a", "id": "b"}', b'"\\ud800"', b"\x1f\x8b\x08"]
)
def test_unreadable_bodies_are_a_422_with_any_signature(
    shared_psp: Psp, merchant: Account, stored: Callable[[Account], int], body: bytes
) -> None:
    for headers in (plain(merchant, body), {}):
        assert send(shared_psp, merchant, body, headers).status_code == 422
    assert stored(merchant) == 0
