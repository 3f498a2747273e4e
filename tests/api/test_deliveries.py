"""Deliveries: what was sent where, and what came of it."""

import time
from typing import Any

import pymongo.database
import pytest

from tests.factories import Account, Psp
from tests.receiver import Receiver

Row = dict[str, Any]
SUMMARY = [
    "id",
    "eventId",
    "eventType",
    "webhookEndpointId",
    "url",
    "status",
    "deadReason",
    "attemptCount",
    "lastStatus",
    "lastError",
    "nextAttemptAt",
    "resendId",
    "createdAt",
    "updatedAt",
]
ATTEMPT = [
    "at",
    "url",
    "durationMs",
    "phases",
    "status",
    "error",
    "requestHeaders",
    "responseHeaders",
    "response",
]


def make_endpoint(psp: Psp, account: Account, receiver: Receiver, **fields: Any) -> str:
    body = {"url": receiver.url, "events": ["*"], **fields}
    made = psp.post("/webhook-endpoints", json=body, headers=account.key)
    assert made.status_code == 201, made.text
    endpoint_id: str = made.json()["id"]
    return endpoint_id


def listed(psp: Psp, account: Account, count: int, path: str = "/deliveries", **query: Any) -> list[Row]:
    """The deliveries of a list, once there are as many."""
    deadline = time.monotonic() + 30
    while True:
        page = psp.get(path, params={"limit": 100, **query}, headers=account.key)
        assert page.status_code == 200, page.text
        rows: list[Row] = page.json()["deliveries"]
        if len(rows) == count:
            assert page.json()["totalDeliveries"] == count
            return rows
        assert time.monotonic() < deadline, rows
        time.sleep(0.02)


@pytest.fixture(scope="module")
def history(shared_psp: Psp) -> tuple[Account, dict[str, Any]]:
    """An account to which nothing happens any more. Of a payment's three events each went to an endpoint that takes
    them, to one that refuses them (which is deleted since), and to the payment's own URL."""
    account = shared_psp.register()
    with Receiver() as good, Receiver() as bad:
        bad.answers = lambda number, request: 500
        bad.headers = {"X-Reason": "out of order"}
        taking = make_endpoint(shared_psp, account, good)
        refusing = make_endpoint(shared_psp, account, bad, retrySchedule=[0])
        payment = shared_psp.completed(account, webhookUrl=f"{good.url}/own")
        listed(shared_psp, account, 6, status="delivered")
        listed(shared_psp, account, 3, status="dead")
    shared_psp.delete(f"/webhook-endpoints/{refusing}", headers=account.key)
    return account, {"taking": taking, "refusing": refusing, "payment": payment, "url": good.url, "bad_url": bad.url}


def test_a_list_says_what_became_of_each_event_at_each_target(
    psp: Psp, history: tuple[Account, dict[str, Any]]
) -> None:
    account, made = history
    rows = listed(psp, account, 9)

    assert all(list(row) == SUMMARY for row in rows)
    by_endpoint: dict[str | None, list[Row]] = {}
    for row in rows:
        by_endpoint.setdefault(row["webhookEndpointId"], []).append(row)
    assert by_endpoint.keys() == {made["taking"], made["refusing"], None}
    for endpoint_id, url, status, attempts, last in (
        (made["taking"], made["url"], "delivered", 1, 200),
        (None, f"{made['url']}/own", "delivered", 1, 200),
        (made["refusing"], made["bad_url"], "dead", 2, 500),
    ):
        told = by_endpoint[endpoint_id]
        assert [row["eventType"] for row in told] == ["payment.completed", "payment.processing", "payment.created"]
        for row in told:
            assert (row["url"], row["status"], row["attemptCount"]) == (url, status, attempts)
            assert (row["lastStatus"], row["lastError"]) == (last, None)
            assert row["nextAttemptAt"] is row["resendId"] is None
            assert row["createdAt"] < row["updatedAt"]
    events = psp.get("/events", headers=account.key).json()["events"]
    assert {row["eventId"] for row in rows} == {event["id"] for event in events}


def test_one_delivery_is_shown_with_its_attempts(psp: Psp, history: tuple[Account, dict[str, Any]]) -> None:
    account, made = history
    row = listed(psp, account, 3, webhookEndpointId=made["refusing"])[0]

    answer = psp.get(f"/deliveries/{row['id']}", headers=account.key)

    shown = answer.json()
    assert list(shown) == [*SUMMARY, "attempts"]
    assert {name: shown[name] for name in SUMMARY} == row
    assert [attempt["status"] for attempt in shown["attempts"]] == [500, 500]
    for attempt in shown["attempts"]:
        assert list(attempt) == ATTEMPT
        assert attempt["phases"].keys() == {"dnsMs", "connectMs", "waitMs", "receiveMs"}
        assert (attempt["error"], attempt["response"]) == (None, "")
        assert row["createdAt"] < attempt["at"] <= row["updatedAt"]
    known = psp.get(f"/deliveries/{row['id']}", headers={**account.key, "If-None-Match": answer.headers["ETag"]})
    assert (known.status_code, known.content) == (304, b"")


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"status": "delivered"}, 6),
        ({"status": "dead"}, 3),
        ({"status": "pending"}, 0),
        ({"webhookEndpointId": "taking"}, 3),
        ({"webhookEndpointId": "refusing"}, 3),
        ({"webhookEndpointId": "refusing", "status": "delivered"}, 0),
        ({"webhookEndpointId": "we_none"}, 0),
        ({"eventId": "first"}, 3),
        ({"eventId": "first", "status": "dead"}, 1),
        ({"eventId": "first", "webhookEndpointId": "taking"}, 1),
        ({"eventId": "evt_none"}, 0),
        ({"resendId": "rs_none"}, 0),
        ({"resendId": "rs_none", "webhookEndpointId": "taking"}, 0),
        ({"createdFrom": "2020-01-01T00:00:00Z", "createdTo": "2099-01-01T00:00:00Z"}, 9),
        ({"createdFrom": "2099-01-01T00:00:00Z"}, 0),
        ({"createdTo": "2020-01-01T00:00:00Z", "status": "dead"}, 0),
    ],
)
def test_filters_find_their_deliveries(
    psp: Psp, history: tuple[Account, dict[str, Any]], query: dict[str, str], count: int
) -> None:
    account, made = history
    whole = listed(psp, account, 9)
    known = {**made, "first": whole[-1]["eventId"]}
    asked = {name: known.get(value, value) for name, value in query.items()}

    found = listed(psp, account, count, **asked)

    for name, field in (("status", "status"), ("webhookEndpointId", "webhookEndpointId"), ("eventId", "eventId")):
        assert {row[field] for row in found} <= {asked.get(name, row[field]) for row in found}
    assert [row for row in whole if row in found] == found, "the newest first"


@pytest.mark.parametrize("query", [{}, {"status": "delivered"}, {"webhookEndpointId": "taking"}, {"eventId": "first"}])
def test_pages_show_each_delivery_once(
    psp: Psp, history: tuple[Account, dict[str, Any]], query: dict[str, str]
) -> None:
    account, made = history
    known = {**made, "first": listed(psp, account, 9)[-1]["eventId"]}
    asked = {name: known.get(value, value) for name, value in query.items()}
    whole = psp.get("/deliveries", params=asked, headers=account.key).json()
    seen: list[Row] = []
    cursor: Row = {}
    while True:
        page = psp.get("/deliveries", params={**asked, "limit": 2, **cursor}, headers=account.key).json()
        assert (page["totalDeliveries"], page["totalIsLowerBound"]) == (len(whole["deliveries"]), False)
        seen += page["deliveries"]
        if not page["hasMore"]:
            break
        cursor = {"cursor": page["nextCursor"]}

    assert seen == whole["deliveries"]
    assert page["nextCursor"] is None


def test_an_endpoints_own_list_is_that_endpoints(psp: Psp, history: tuple[Account, dict[str, Any]]) -> None:
    account, made = history
    path = f"/webhook-endpoints/{made['taking']}/deliveries"

    assert listed(psp, account, 3, path) == listed(psp, account, 3, webhookEndpointId=made["taking"])
    assert listed(psp, account, 0, path, status="dead") == []
    refused = psp.get(path, params={"webhookEndpointId": made["taking"]}, headers=account.key)
    assert refused.json()["detail"][0]["loc"] == ["query", "webhookEndpointId"]
    gone = psp.get(f"/webhook-endpoints/{made['refusing']}/deliveries", headers=account.key)
    assert (gone.status_code, gone.json()["detail"]) == (404, f"Webhook endpoint '{made['refusing']}' not found.")


@pytest.mark.parametrize("role", ["user", "merchant", "admin"])
def test_every_role_reads_its_own_by_key_or_token(psp: Psp, receiver: Receiver, role: str) -> None:
    account = psp.register(role)
    psp.completed(account, webhookUrl=receiver.url)
    rows = listed(psp, account, 3, status="delivered")

    for headers in (account.key, account.bearer, account.both):
        assert psp.get("/deliveries", headers=headers).json()["deliveries"] == rows
        assert psp.get(f"/deliveries/{rows[0]['id']}", headers=headers).status_code == 200


def test_anothers_delivery_looks_like_one_that_does_not_exist(
    psp: Psp, admin: Account, history: tuple[Account, dict[str, Any]]
) -> None:
    owner, made = history
    delivery = listed(psp, owner, 9)[0]

    for stranger in (psp.register(), admin):
        for one in (delivery["id"], "dlv_none"):
            answer = psp.get(f"/deliveries/{one}", headers=stranger.key)
            assert (answer.status_code, answer.json()["detail"]) == (404, f"Delivery '{one}' not found.")
        answer = psp.get(f"/webhook-endpoints/{made['taking']}/deliveries", headers=stranger.key)
        assert answer.status_code == 404
        assert listed(psp, stranger, 0, webhookEndpointId=made["taking"]) == []
        assert listed(psp, stranger, 0, eventId=delivery["eventId"]) == []


def test_what_waits_says_when_it_is_tried_again(psp: Psp, receiver: Receiver) -> None:
    receiver.answers = lambda number, request: 500
    account = psp.register()
    endpoint_id = make_endpoint(psp, account, receiver, events=["payment.created"], retrySchedule=[600])
    psp.charge(account)
    receiver.wait_for(1)
    deadline = time.monotonic() + 30
    while (row := listed(psp, account, 1)[0])["attemptCount"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)

    assert (row["status"], row["deadReason"]) == ("pending", None)
    assert row["nextAttemptAt"] > row["updatedAt"]

    psp.patch(f"/webhook-endpoints/{endpoint_id}", json={"status": "disabled"}, headers=account.key)
    (buried,) = listed(psp, account, 1, status="dead")
    assert (buried["deadReason"], buried["nextAttemptAt"]) == ("endpoint_disabled", None)
    assert buried["updatedAt"] > row["updatedAt"]


def test_a_list_says_what_went_wrong_last(psp: Psp, receiver: Receiver) -> None:
    receiver.answers = lambda number, request: 500 if number == 0 else 302
    account = psp.register()
    made = make_endpoint(psp, account, receiver, events=["customer.created"], retrySchedule=[0])

    psp.post("/customers", json={"name": "Ada"}, headers=account.key)

    (row,) = listed(psp, account, 1, status="dead")
    assert (row["lastStatus"], row["lastError"]) == (302, "redirect_not_followed")
    psp.patch(f"/webhook-endpoints/{made}", json={"url": "http://127.0.0.1:1/"}, headers=account.key)
    resent = psp.post(f"/deliveries/{row['id']}/resend", headers=account.key).json()
    assert (resent["lastStatus"], resent["lastError"]) == (None, None)
    (again,) = listed(psp, account, 1, resendId=resent["resendId"], status="dead")
    assert (again["id"], again["lastStatus"], again["lastError"]) == (resent["id"], None, "connection_failed")


def test_a_delivery_of_an_older_version_is_shown_with_what_it_has(
    psp: Psp, database: pymongo.database.Database[Row], receiver: Receiver
) -> None:
    account = psp.register()
    psp.completed(account, webhookUrl=receiver.url)
    row = listed(psp, account, 3, status="delivered")[0]
    older = {"updated_at": "", "attempts.0.phases": "", "attempts.0.request_headers": ""}
    database.deliveries.update_one({"_id": row["id"]}, {"$unset": {**older, "attempts.0.response_headers": ""}})

    shown = psp.get(f"/deliveries/{row['id']}", headers=account.key).json()

    assert shown["updatedAt"] == shown["createdAt"]
    (attempt,) = shown["attempts"]
    assert attempt["phases"] == {"dnsMs": None, "connectMs": None, "waitMs": None, "receiveMs": None}
    assert attempt["requestHeaders"] == attempt["responseHeaders"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "failed"}, "status"),
        ({"status": ""}, "status"),
        ({"eventId": ""}, "eventId"),
        ({"resendId": "x" * 65}, "resendId"),
        ({"webhookEndpointId": "x" * 65}, "webhookEndpointId"),
        ({"createdFrom": "yesterday"}, "createdFrom"),
        ({"createdTo": "0001-01-01T00:00:00+23:00"}, "createdTo"),
        ({"limit": "101"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"state": "dead"}, "state"),
    ],
)
def test_a_wrong_parameter_is_named(psp: Psp, merchant: Account, query: Row, field: str) -> None:
    answer = psp.get("/deliveries", params=query, headers=merchant.key)

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["query", field]
