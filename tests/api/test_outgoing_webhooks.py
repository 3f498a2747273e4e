"""What a payment tells its webhookUrl."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pymongo.database
import pytest
from standardwebhooks import Webhook

from tests.conftest import Server
from tests.factories import Psp
from tests.receiver import Received, Receiver
from tests.waiting import until

Database = pymongo.database.Database[dict[str, Any]]


def by_type(requests: list[Received]) -> dict[str, Received]:
    return {json.loads(one.body)["type"]: one for one in requests}


def test_each_step_of_a_payment_arrives_with_the_object_as_it_was_then(psp: Psp, receiver: Receiver) -> None:
    account = psp.register()
    payment = psp.completed(account, webhookUrl=f"{receiver.url}/hook?a=1")

    arrived = by_type(receiver.wait_for(3))

    assert arrived.keys() == {"payment.created", "payment.processing", "payment.completed"}
    for event_type, request in arrived.items():
        event = json.loads(request.body)
        assert list(event) == ["id", "event", "type", "timestamp", "data"]
        assert event["event"] == event_type
        assert event["id"] == request.headers["webhook-id"]
        assert event["data"]["status"] == {"payment.created": "pending"}.get(event_type, event_type.split(".")[1])
        assert request.path == "/hook?a=1"
        assert request.headers["content-type"] == "application/json"
    assert json.loads(arrived["payment.completed"].body)["data"] == payment


def test_the_body_is_compact_ascii_json(psp: Psp, receiver: Receiver) -> None:
    psp.charge(psp.register(), webhookUrl=receiver.url, details="naïve ☕")

    body = receiver.wait_for(1)[0].body

    assert body.isascii()
    assert json.dumps(json.loads(body), separators=(",", ":")).encode() == body


def test_the_standard_webhooks_package_verifies_what_arrives(psp: Psp, receiver: Receiver) -> None:
    account = psp.register()
    psp.charge(account, webhookUrl=receiver.url)

    for request in receiver.wait_for(3):
        assert Webhook(account.webhook_secret).verify(request.body, request.headers)


def test_plain_hmac_verifies_x_signature(psp: Psp, receiver: Receiver) -> None:
    account = psp.register()
    psp.charge(account, webhookUrl=receiver.url)

    for request in receiver.wait_for(3):
        expected = hmac.new(account.webhook_secret.encode(), request.body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(expected, request.headers["x-signature"])


def test_a_failed_delivery_is_sent_again_with_the_same_bytes_and_id(
    psp: Psp, receiver: Receiver, database: Database
) -> None:
    receiver.answers = lambda number, request: 500 if number < 4 else 200
    payment = psp.charge(psp.register(), webhookUrl=receiver.url).json()

    requests = receiver.wait_for(3 + 4)

    attempts: dict[str, set[bytes]] = {}
    for request in requests:
        attempts.setdefault(request.headers["webhook-id"], set()).add(request.body)
    assert len(attempts) == 3
    assert all(len(bodies) == 1 for bodies in attempts.values())
    deliveries = until(lambda: delivered(database, payment["id"], 3))
    assert sum(len(one["attempts"]) for one in deliveries) == 7
    assert {attempt["status"] for one in deliveries for attempt in one["attempts"]} == {500, 200}


def test_after_the_last_attempt_a_delivery_is_dead_and_kept(psp: Psp, receiver: Receiver, database: Database) -> None:
    receiver.answers = lambda number, request: 404
    payment = psp.charge(psp.register(), webhookUrl=receiver.url).json()

    dead = until(lambda: in_state(database, payment["id"], "dead", 3))

    # One attempt at once, and one for each delay of the schedule.
    assert all(len(one["attempts"]) == one["failures"] == 4 for one in dead)


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_for_time_is_given_it(psp: Psp, receiver: Receiver, status: int) -> None:
    receiver.answers = lambda number, request: status if number == 0 else 200
    receiver.headers = {"Retry-After": "2"}
    psp.charge(psp.register(), webhookUrl=receiver.url)

    arrived = receiver.wait_for(4)

    refused = arrived[0]
    (again,) = [one for one in arrived[1:] if one.headers["webhook-id"] == refused.headers["webhook-id"]]
    assert again.at - refused.at >= 2


def test_a_receiver_that_is_gone_gets_nothing_again(psp: Psp, receiver: Receiver, database: Database) -> None:
    receiver.answers = lambda number, request: 410
    payment = psp.completed(psp.register(), webhookUrl=receiver.url)

    dead = until(lambda: in_state(database, payment["id"], "dead", 3))

    assert [len(one["attempts"]) for one in dead] == [1, 1, 1]


def test_a_redirect_is_a_failure_and_is_not_followed(psp: Psp, receiver: Receiver, database: Database) -> None:
    receiver.answers = lambda number, request: 302
    payment = psp.charge(psp.register(), webhookUrl=receiver.url).json()

    until(lambda: in_state(database, payment["id"], "dead", 3))


def test_a_target_that_hangs_holds_up_nobody_else(psp: Psp, receiver: Receiver) -> None:
    with Receiver() as hanging:
        hanging.answers = lambda number, request: time.sleep(20) or 200  # type: ignore[func-returns-value]
        account = psp.register()
        for _ in range(10):
            psp.charge(account, webhookUrl=hanging.url)
        hanging.wait_for(1)

        psp.charge(account, webhookUrl=receiver.url)
        receiver.wait_for(3)

        assert len(hanging.requests) == 1, "nobody has seen it answer"


def test_a_cancelled_payment_says_so(patient_psp: Psp, receiver: Receiver) -> None:
    account = patient_psp.register()
    payment = patient_psp.charge(account, webhookUrl=receiver.url).json()
    cancelled = patient_psp.post(f"/payments/{payment['id']}/cancel", headers=account.key)

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    arrived = by_type(receiver.wait_for(2))
    assert arrived.keys() == {"payment.created", "payment.cancelled"}


def test_with_private_networks_closed_no_connection_reaches_a_private_address(
    receiver: Receiver,
    start_server: Callable[..., Server],
    mongo: pymongo.MongoClient[dict[str, Any]],
) -> None:
    """As on a hosted demo, where strangers name the URLs."""
    server = start_server(WEBHOOK_ALLOW_PRIVATE_NETWORKS="false", MONGODB_DB="closed_networks")
    port = receiver.url.rpartition(":")[2]
    hosts = ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "127.1"]
    with httpx.Client(base_url=server.url, timeout=30, verify=False) as client:
        own = Psp(client, "", "")
        account = own.register()
        for host in hosts:
            charged = own.charge(account, webhookUrl=f"http://{host}:{port}/hook")
            if charged.status_code == 422:
                continue
            looking = partial(in_state, mongo["closed_networks"], charged.json()["id"], "dead", 3)
            dead = until(looking)
            # Not even tried again: no later attempt could succeed.
            assert {attempt["error"] for one in dead for attempt in one["attempts"]} <= {
                "target_forbidden",
                "invalid_url",
            }
            assert {len(one["attempts"]) for one in dead} == {1}

    assert receiver.requests == []


def in_state(database: Database, payment_id: str, state: str, count: int) -> list[dict[str, Any]] | None:
    events = [row["_id"] for row in database["events"].find({"object_id": payment_id})]
    rows = list(database["deliveries"].find({"event_id": {"$in": events}, "state": state}))
    return rows if len(rows) == count else None


def delivered(database: Database, payment_id: str, count: int) -> list[dict[str, Any]] | None:
    return in_state(database, payment_id, "delivered", count)
