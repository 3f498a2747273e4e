"""Webhook endpoints: where an account's events are sent, which of them, and signed with what."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pymongo.database
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from domain.signing import plain_signature
from schemas.webhook_endpoints import WebhookEndpointMade, WebhookEndpointOut
from services.webhook_endpoints import MAX_ENDPOINTS
from tests.conftest import Server
from tests.factories import API, Account, Psp
from tests.receiver import Received, Receiver
from tests.waiting import until

Row = dict[str, Any]
Database = pymongo.database.Database[Row]
NOWHERE = "http://127.0.0.1:9/hook"


def make(psp: Psp, account: Account, url: str = NOWHERE, **fields: Any) -> Row:
    answer = psp.post("/webhook-endpoints", json={"url": url, "events": ["*"], **fields}, headers=account.key)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def get(psp: Psp, account: Account, endpoint: Row) -> Row:
    return dict(psp.get(f"/webhook-endpoints/{endpoint['id']}", headers=account.key).json())


def amend(psp: Psp, account: Account, endpoint: Row, **fields: Any) -> Row:
    answer = psp.patch(f"/webhook-endpoints/{endpoint['id']}", json=fields, headers=account.key)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def rotate(psp: Psp, account: Account, endpoint: Row, **fields: Any) -> Row:
    answer = psp.post(f"/webhook-endpoints/{endpoint['id']}/rotate", json=fields, headers=account.key)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ask_for_a_test(psp: Psp, account: Account, endpoint: Row) -> Row:
    answer = psp.post(f"/webhook-endpoints/{endpoint['id']}/test", headers=account.key)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def types(requests: list[Received]) -> list[str]:
    return sorted(json.loads(one.body)["type"] for one in requests)


def fits(secret: str, request: Received) -> bool:
    try:
        Webhook(secret).verify(request.body, request.headers)
    except WebhookVerificationError:
        return False
    return True


# Making, reading, changing, deleting


def test_an_endpoint_is_made_with_a_secret_that_is_shown_in_its_own_place_later(psp: Psp, merchant: Account) -> None:
    made = make(psp, merchant, events=["payment.completed", "refund.*", "payment.completed"])

    assert WebhookEndpointMade.model_validate(made).model_dump(mode="json", by_alias=True) == made
    assert made["id"].startswith("we_")
    assert made["secret"].startswith("whsec_")
    assert made["events"] == ["payment.completed", "refund.*"]
    assert (made["status"], made["retrySchedule"], made["ordering"]) == ("enabled", None, "none")
    assert (made["timeout"], made["maxInFlight"]) == (15, 8)
    shown = get(psp, merchant, made)
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert WebhookEndpointOut.model_validate(shown).model_dump(mode="json", by_alias=True) == shown
    secret = psp.get(f"/webhook-endpoints/{made['id']}/secret", headers=merchant.bearer).json()
    assert secret == {"secret": made["secret"], "previousSecret": None, "previousSecretExpiresAt": None}


def test_a_secret_is_nowhere_in_plain_text(psp: Psp, merchant: Account, database: Database) -> None:
    made = make(psp, merchant)
    rotated = rotate(psp, merchant, made, overlapDays=1)

    row = str(database["webhook_endpoints"].find_one({"_id": made["id"]}))

    assert made["secret"] not in row
    assert rotated["secret"] not in row


def test_what_is_sent_replaces_what_is_there_and_null_clears_it(psp: Psp, merchant: Account) -> None:
    made = make(psp, merchant, description="d", metadata={"a": "b"}, retrySchedule=[1, 2], timeout=3)

    changed = amend(
        psp,
        merchant,
        made,
        url="http://127.0.0.1:9/other",
        events=["customer.*"],
        description=None,
        metadata=None,
        retrySchedule=None,
        maxInFlight=2,
        ordering="object",
    )

    assert changed == get(psp, merchant, made)
    assert (changed["url"], changed["events"]) == ("http://127.0.0.1:9/other", ["customer.*"])
    assert (changed["description"], changed["metadata"], changed["retrySchedule"]) == (None, {}, None)
    assert (changed["timeout"], changed["maxInFlight"], changed["ordering"]) == (3, 2, "object")
    assert changed["updatedAt"] > made["updatedAt"]
    assert amend(psp, merchant, made, maxInFlight=2) == changed, "nothing changed, so nothing is written"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("events", []),
        ("events", ["payment.unheard_of"]),
        ("events", ["payment"]),
        ("events", ["*.completed"]),
        ("events", ["pay*"]),
        ("events", None),
        ("url", None),
        ("url", "ftp://localhost/hook"),
        ("url", "http://user:password@localhost/hook"),
        ("url", "http://2130706433:4977/"),
        ("url", "http://a..b/"),
        ("status", "deleted"),
        ("status", None),
        ("retrySchedule", []),
        ("retrySchedule", [1] * 21),
        ("retrySchedule", [-1]),
        ("retrySchedule", [604_801]),
        ("retrySchedule", ["1"]),
        ("timeout", 16),
        ("timeout", 0),
        ("timeout", "5"),
        ("timeout", None),
        ("maxInFlight", 65),
        ("ordering", "payment"),
    ],
)
def test_what_an_endpoint_cannot_be_is_refused(psp: Psp, merchant: Account, field: str, value: object) -> None:
    body = {"url": NOWHERE, "events": ["*"], field: value}
    made = make(psp, merchant)

    for answer in (
        psp.post("/webhook-endpoints", json=body, headers=merchant.key),
        psp.patch(f"/webhook-endpoints/{made['id']}", json={field: value}, headers=merchant.key),
    ):
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"][0]["loc"][:2] == ["body", field]
    psp.delete(f"/webhook-endpoints/{made['id']}", headers=merchant.key)


def test_a_list_shows_ones_own_newest_first(psp: Psp) -> None:
    account, other = psp.register(), psp.register()
    make(psp, other)
    made = [make(psp, account)["id"] for _ in range(3)]

    first = psp.get("/webhook-endpoints", params={"limit": 2}, headers=account.key).json()
    after = {"limit": 2, "cursor": first["nextCursor"]}
    second = psp.get("/webhook-endpoints", params=after, headers=account.key).json()

    assert (first["totalWebhookEndpoints"], first["hasMore"], second["hasMore"]) == (3, True, False)
    shown = [one["id"] for page in (first, second) for one in page["webhookEndpoints"]]
    assert shown == made[::-1]
    wrong = psp.get("/webhook-endpoints", params={"cursor": "x"}, headers=account.key)
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["query", "cursor"])


def test_an_account_has_a_bounded_number_of_endpoints(psp: Psp) -> None:
    account = psp.register()
    made = [make(psp, account) for _ in range(MAX_ENDPOINTS)]

    refused = psp.post("/webhook-endpoints", json={"url": NOWHERE, "events": ["*"]}, headers=account.key)

    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_endpoints")
    assert f"at most {MAX_ENDPOINTS} " in refused.json()["detail"]
    psp.delete(f"/webhook-endpoints/{made[0]['id']}", headers=account.key)
    make(psp, account)


def test_the_bound_holds_for_sixty_at_once_and_for_those_of_an_older_version(
    psp: Psp, server: Server, database: Database
) -> None:
    account = psp.register()
    old = [make(psp, account)["id"] for _ in range(10)]
    database["webhook_endpoints"].update_many({"_id": {"$in": old}}, {"$unset": {"place": ""}})
    body = {"url": NOWHERE, "events": ["*"]}

    def one(_: int) -> int:
        url = f"{server.url}{API}/webhook-endpoints"
        return httpx.post(url, json=body, headers=account.key, timeout=30, verify=False).status_code

    with ThreadPoolExecutor(60) as pool:
        statuses = list(pool.map(one, range(60)))

    assert sorted(statuses) == [201] * (MAX_ENDPOINTS - 10) + [409] * 20
    assert database["webhook_endpoints"].count_documents({"owner_id": account.id}) == MAX_ENDPOINTS


def test_anothers_endpoint_looks_like_a_missing_one(psp: Psp, merchant: Account) -> None:
    stranger = psp.register()
    made = make(psp, merchant)

    for method, end, body in (
        ("GET", "", None),
        ("PATCH", "", {"timeout": 5}),
        ("DELETE", "", None),
        ("GET", "/secret", None),
        ("POST", "/rotate", {}),
        ("POST", "/test", {}),
    ):
        for endpoint_id in (made["id"], "we_none"):
            path = f"/api/v1/webhook-endpoints/{endpoint_id}{end}"
            answer = psp.client.request(method, path, json=body, headers=stranger.key)
            assert answer.status_code == 404, answer.text
            assert answer.json()["detail"] == f"Webhook endpoint '{endpoint_id}' not found."
    assert get(psp, merchant, made)["timeout"] == 15


def test_a_deleted_endpoint_is_gone_with_its_secret(psp: Psp, merchant: Account, database: Database) -> None:
    made = make(psp, merchant)

    gone = psp.delete(f"/webhook-endpoints/{made['id']}", headers=merchant.key)

    assert gone.json() == {"message": f"Webhook endpoint '{made['id']}' deleted successfully."}
    assert psp.get(f"/webhook-endpoints/{made['id']}", headers=merchant.key).status_code == 404
    assert psp.delete(f"/webhook-endpoints/{made['id']}", headers=merchant.key).status_code == 404
    row = database["webhook_endpoints"].find_one({"_id": made["id"]})
    assert row is not None
    assert "sealed_secrets" not in row


# What is sent


def test_an_event_goes_to_the_endpoints_that_want_it_and_to_the_payments_own_url(psp: Psp, receiver: Receiver) -> None:
    account = psp.register()
    for path, events in {"all": ["*"], "kind": ["payment.*"], "one": ["payment.completed"]}.items():
        make(psp, account, f"{receiver.url}/{path}", events=events)
    make(psp, account, f"{receiver.url}/others", events=["refund.*", "customer.created"])
    make(psp, account, f"{receiver.url}/off", status="disabled")
    make(psp, psp.register(), f"{receiver.url}/stranger")

    psp.completed(account, webhookUrl=f"{receiver.url}/own")
    psp.post("/customers", json={"name": "Ada"}, headers=account.key)

    steps = ["payment.completed", "payment.created", "payment.processing"]
    wanted = {
        "/all": ["customer.created", *steps],
        "/kind": steps,
        "/one": ["payment.completed"],
        "/others": ["customer.created"],
        "/own": steps,
    }
    arrived = receiver.wait_for(sum(len(events) for events in wanted.values()))
    by_path: dict[str, list[Received]] = {}
    for request in arrived:
        by_path.setdefault(request.path, []).append(request)
    assert {path: types(requests) for path, requests in by_path.items()} == wanted
    bodies: dict[str, set[bytes]] = {}
    for request in arrived:
        bodies.setdefault(request.headers["webhook-id"], set()).add(request.body)
    assert all(len(same) == 1 for same in bodies.values()), "one body for every target"


def test_each_endpoint_is_signed_with_its_own_secret(psp: Psp, receiver: Receiver) -> None:
    account = psp.register()
    made = {f"/{number}": make(psp, account, f"{receiver.url}/{number}") for number in range(2)}

    psp.post("/customers", json={"name": "Ada"}, headers=account.key)

    for request in receiver.wait_for(2):
        own = made[request.path]["secret"]
        assert fits(own, request)
        assert request.headers["x-signature"] == plain_signature(own, request.body)
        assert not fits(account.webhook_secret, request)


def test_a_test_event_goes_to_the_endpoint_that_it_is_asked_of(
    psp: Psp, receiver: Receiver, database: Database
) -> None:
    account = psp.register()
    made = make(psp, account, f"{receiver.url}/wanted", events=["refund.failed"])
    make(psp, account, f"{receiver.url}/other")

    asked = [ask_for_a_test(psp, account, made) for _ in range(2)]

    first, second = receiver.wait_for(2)
    assert {first.path, second.path} == {"/wanted"}
    assert {request.headers["webhook-id"] for request in (first, second)} == {one["eventId"] for one in asked}
    body = json.loads(first.body)
    assert (body["type"], body["data"]) == ("webhook.test", get(psp, account, made))
    rows = list(database["events"].find({"stream_id": made["id"]}).sort("sequence", 1))
    assert [(row["_id"], row["sequence"]) for row in rows] == [(one["eventId"], n + 1) for n, one in enumerate(asked)]
    deliveries = {row["_id"] for row in database["deliveries"].find({"endpoint_id": made["id"]})}
    assert deliveries == {one["deliveryId"] for one in asked}
    assert len(receiver.requests) == 2


def test_tests_that_are_asked_for_at_once_are_all_sent_and_numbered_without_gaps(
    psp: Psp, receiver: Receiver, database: Database
) -> None:
    account = psp.register()
    made = make(psp, account, receiver.url)

    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda _: ask_for_a_test(psp, account, made), range(24)))

    arrived = {request.headers["webhook-id"] for request in receiver.wait_for(24)}
    assert arrived == {one["eventId"] for one in asked}
    rows = database["events"].find({"stream_id": made["id"]})
    assert sorted(row["sequence"] for row in rows) == list(range(1, 25))


def test_an_endpoints_own_schedule_and_address_of_the_moment_are_used(
    psp: Psp, receiver: Receiver, database: Database
) -> None:
    account = psp.register()
    made = make(psp, account, retrySchedule=[1, 0, 0, 0, 0, 0])
    asked = ask_for_a_test(psp, account, made)
    until(lambda: database["deliveries"].find_one({"_id": asked["deliveryId"], "failures": 1}))

    amend(psp, account, made, url=f"{receiver.url}/moved")

    (request,) = receiver.wait_for(1)
    assert request.path == "/moved"
    refusing = make(psp, account, f"{receiver.url}/refusing", retrySchedule=[0, 0])
    receiver.answers = lambda number, request: 500
    asked = ask_for_a_test(psp, account, refusing)
    dead = until(lambda: database["deliveries"].find_one({"_id": asked["deliveryId"], "state": "dead"}))
    assert len(dead["attempts"]) == 3


def test_an_endpoints_own_timeout_is_used(psp: Psp, receiver: Receiver, database: Database) -> None:
    account = psp.register()
    made = make(psp, account, receiver.url, timeout=1)
    receiver.answers = lambda number, request: (time.sleep(3), 200)[1]

    asked = ask_for_a_test(psp, account, made)

    row = until(lambda: database["deliveries"].find_one({"_id": asked["deliveryId"], "failures": {"$gte": 1}}))
    assert row["attempts"][0]["error"] == "timeout"
    assert row["attempts"][0]["duration_ms"] >= 1000


# Rotating


def test_while_a_rotation_overlaps_both_secrets_fit_and_the_plain_signature_is_the_old_ones(
    psp: Psp, receiver: Receiver, database: Database
) -> None:
    account = psp.register()
    made = make(psp, account, receiver.url)

    rotated = rotate(psp, account, made, overlapDays=7)
    ask_for_a_test(psp, account, made)

    assert rotated["secret"] != rotated["previousSecret"] == made["secret"]
    ends_at = datetime.fromisoformat(rotated["previousSecretExpiresAt"])
    assert abs(ends_at - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=1)
    assert psp.get(f"/webhook-endpoints/{made['id']}/secret", headers=account.key).json() == rotated
    (request,) = receiver.wait_for(1)
    assert fits(made["secret"], request)
    assert fits(rotated["secret"], request)
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    assert request.headers["x-signature"] == plain_signature(made["secret"], request.body)

    past = datetime.now(UTC) - timedelta(seconds=1)
    database["webhook_endpoints"].update_one({"_id": made["id"]}, {"$set": {"previous_secret_ends_at": past}})
    ask_for_a_test(psp, account, made)

    after = receiver.wait_for(2)[1]
    assert not fits(made["secret"], after)
    assert fits(rotated["secret"], after)
    assert after.headers["x-signature"] == plain_signature(rotated["secret"], after.body)
    shown = psp.get(f"/webhook-endpoints/{made['id']}/secret", headers=account.key).json()
    assert shown == {"secret": rotated["secret"], "previousSecret": None, "previousSecretExpiresAt": None}


def test_without_an_overlap_the_old_secret_ends_at_once(psp: Psp, receiver: Receiver) -> None:
    account = psp.register()
    made = make(psp, account, receiver.url)

    rotated = rotate(psp, account, made, overlapDays=0)
    ask_for_a_test(psp, account, made)

    assert (rotated["previousSecret"], rotated["previousSecretExpiresAt"]) == (None, None)
    (request,) = receiver.wait_for(1)
    assert fits(rotated["secret"], request)
    assert not fits(made["secret"], request)


def test_a_secret_that_no_key_opens_is_not_shown_and_can_be_exchanged_without_an_overlap(
    psp: Psp, merchant: Account, database: Database
) -> None:
    made = make(psp, merchant)
    sealed = {"sealed_secrets": b"old!" + os.urandom(80)}
    database["webhook_endpoints"].update_one({"_id": made["id"]}, {"$set": sealed})

    path = f"/webhook-endpoints/{made['id']}"
    refused = [psp.get(f"{path}/secret", headers=merchant.key), psp.post(f"{path}/rotate", headers=merchant.key)]

    assert [(one.status_code, one.json()["code"]) for one in refused] == [(503, "secret_unreadable")] * 2
    assert database["audit"].count_documents({"target_id": made["id"], "action": {"$regex": "secret"}}) == 0, (
        "nothing was shown"
    )
    assert rotate(psp, merchant, made, overlapDays=0)["previousSecret"] is None


def test_two_secrets_at_most_are_live(psp: Psp, merchant: Account) -> None:
    made = make(psp, merchant)

    first, second = (rotate(psp, merchant, made) for _ in range(2))

    assert (first["previousSecret"], second["previousSecret"]) == (made["secret"], first["secret"])


@pytest.mark.parametrize("days", [-1, 8, 0.5, "1", True, None])
def test_an_overlap_is_of_nought_to_seven_days(psp: Psp, merchant: Account, days: object) -> None:
    made = make(psp, merchant)

    answer = psp.post(f"/webhook-endpoints/{made['id']}/rotate", json={"overlapDays": days}, headers=merchant.key)

    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "overlapDays"])
    psp.delete(f"/webhook-endpoints/{made['id']}", headers=merchant.key)


# Dead letters


@pytest.mark.parametrize("ending", ["disabled", "deleted"])
def test_what_waits_for_an_endpoint_that_ends_becomes_dead_letters(
    psp: Psp, receiver: Receiver, database: Database, ending: str
) -> None:
    account = psp.register()
    made, other = make(psp, account, retrySchedule=[3600]), make(psp, account, retrySchedule=[3600])
    psp.completed(account)
    waiting = {"target": made["id"], "state": "pending", "failures": 1}
    until(lambda: database["deliveries"].count_documents(waiting) == 3)

    if ending == "disabled":
        amend(psp, account, made, status="disabled")
    else:
        psp.delete(f"/webhook-endpoints/{made['id']}", headers=account.key)

    rows = list(database["deliveries"].find({"target": made["id"]}))
    assert [row["state"] for row in rows] == ["dead"] * 3
    # The worker may have looked at one at just that moment, and said so.
    assert {row["dead_reason"] for row in rows} <= {f"endpoint_{ending}", "endpoint_gone"}
    assert database["deliveries"].count_documents({"target": other["id"], "state": "pending"}) == 3


def test_what_was_published_while_its_endpoint_ended_is_a_dead_letter_and_not_sent(
    psp: Psp, receiver: Receiver, database: Database
) -> None:
    account = psp.register()
    made = make(psp, account, receiver.url)
    asked = ask_for_a_test(psp, account, made)
    receiver.wait_for(1)
    until(lambda: database["deliveries"].find_one({"_id": asked["deliveryId"], "state": "delivered"}))
    amend(psp, account, made, status="disabled")

    database["deliveries"].update_one({"_id": asked["deliveryId"]}, {"$set": {"state": "pending"}})

    dead = until(lambda: database["deliveries"].find_one({"_id": asked["deliveryId"], "state": "dead"}))
    assert dead["dead_reason"] == "endpoint_gone"
    assert "lease_token" not in dead
    assert len(receiver.requests) == 1


def test_a_disabled_endpoint_is_sent_no_test_until_it_is_enabled_again(psp: Psp, receiver: Receiver) -> None:
    account = psp.register()
    made = make(psp, account, receiver.url, status="disabled")

    refused: httpx.Response = psp.post(f"/webhook-endpoints/{made['id']}/test", headers=account.key)

    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    assert refused.json()["detail"] == f"Webhook endpoint '{made['id']}' is disabled."
    amend(psp, account, made, status="enabled")
    ask_for_a_test(psp, account, made)
    receiver.wait_for(1)
