"""Events: what has happened, byte for byte as webhooks tell it."""

import json
import time
from typing import Any

import pytest

from tests.factories import Account, Psp
from tests.receiver import Receiver

Row = dict[str, Any]
LIFE = ["payment.completed", "payment.processing", "payment.created"]


def listed(psp: Psp, account: Account, count: int, **query: Any) -> list[Row]:
    """The events of a list, once there are as many: the publisher writes them a moment after the change."""
    deadline = time.monotonic() + 30
    while True:
        page = psp.get("/events", params=query, headers=account.key)
        assert page.status_code == 200, page.text
        events: list[Row] = page.json()["events"]
        if len(events) >= count:
            assert len(events) == count, events
            return events
        assert time.monotonic() < deadline, events
        time.sleep(0.02)


@pytest.fixture(scope="module")
def history(shared_psp: Psp) -> tuple[Account, dict[str, Row]]:
    """An account to which nothing happens any more: a payment with a refund, another payment, a customer."""
    account = shared_psp.register()
    refunded, other = shared_psp.completed(account), shared_psp.completed(account)
    refund = shared_psp.post("/refunds", json={"paymentId": refunded["id"], "amount": 1}, headers=account.key).json()
    shared_psp.reach(account, refunded["id"], "partially_refunded")
    customer = shared_psp.post("/customers", json={"name": "Ada"}, headers=account.key).json()
    listed(shared_psp, account, 10)
    return account, {"refunded": refunded, "other": other, "refund": refund, "customer": customer}


def test_an_event_is_shown_as_the_bytes_that_its_webhook_sends(psp: Psp, receiver: Receiver) -> None:
    account = psp.register()
    psp.charge(account, webhookUrl=receiver.url, details="na\u00efve", paymentAmount=1e9)

    arrived = {request.headers["webhook-id"]: request.body for request in receiver.wait_for(3)}

    for event_id, body in arrived.items():
        shown = psp.get(f"/events/{event_id}", headers=account.key)
        assert (shown.status_code, shown.headers["content-type"]) == (200, "application/json")
        assert shown.content == body
        assert list(shown.json()) == ["id", "event", "type", "timestamp", "data"]
    page = psp.get("/events", headers=account.key).content
    assert all(body in page for body in arrived.values())


def test_what_has_not_changed_is_not_sent_again(psp: Psp, history: tuple[Account, dict[str, Row]]) -> None:
    account, _ = history
    path = f"/events/{listed(psp, account, 10)[0]['id']}"
    etag = psp.get(path, headers=account.key).headers["ETag"]

    known = psp.get(path, headers={**account.key, "If-None-Match": etag})
    other = psp.get(path, headers={**account.key, "If-None-Match": '"another"'})

    assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", etag)
    assert other.status_code == 200


@pytest.mark.parametrize("role", ["user", "merchant", "admin"])
def test_every_role_reads_its_own_by_key_or_token(psp: Psp, role: str) -> None:
    account = psp.register(role)
    payment = psp.completed(account)

    events = listed(psp, account, 3)

    assert [event["type"] for event in events] == LIFE
    assert events[0]["data"] == payment
    for headers in (account.key, account.bearer, account.both):
        assert psp.get("/events", headers=headers).json()["events"] == events
        assert psp.get(f"/events/{events[0]['id']}", headers=headers).json() == events[0]


def test_anothers_event_looks_like_one_that_does_not_exist(
    psp: Psp, admin: Account, history: tuple[Account, dict[str, Row]]
) -> None:
    owner, objects = history
    event_id = listed(psp, owner, 10)[0]["id"]

    for stranger in (psp.register(), admin):
        for one in (event_id, "evt_none"):
            answer = psp.get(f"/events/{one}", headers=stranger.key)
            assert (answer.status_code, answer.json()["detail"]) == (404, f"Event '{one}' not found.")
        assert listed(psp, stranger, 0, objectId=objects["refunded"]["id"]) == []


@pytest.mark.parametrize(
    ("pattern", "types"),
    [
        ("payment.completed", ["payment.completed"] * 2),
        ("payment.*", ["payment.partially_refunded", *LIFE, *LIFE]),
        ("refund.*", ["refund.created", "refund.succeeded"]),
        ("customer.*", ["customer.created"]),
        ("payment.failed", []),
        ("*", ["customer.created", "refund.created", "refund.succeeded", "payment.partially_refunded", *LIFE, *LIFE]),
    ],
)
def test_a_type_or_a_kind_of_them_finds_its_events(
    psp: Psp, history: tuple[Account, dict[str, Row]], pattern: str, types: list[str]
) -> None:
    account, _ = history

    events = listed(psp, account, len(types), type=pattern)

    assert sorted(event["type"] for event in events) == sorted(types)
    moments = [event["timestamp"] for event in events]
    assert moments == sorted(moments, reverse=True), "the newest first"


def test_an_object_finds_what_happened_to_it(psp: Psp, history: tuple[Account, dict[str, Row]]) -> None:
    account, objects = history

    def told(name: str, **query: str) -> set[str]:
        found = psp.get("/events", params={"objectId": objects[name]["id"], **query}, headers=account.key).json()
        assert {event["data"]["id"] for event in found["events"]} <= {objects[name]["id"]}
        assert found["totalEvents"] == len(found["events"])
        return {event["type"] for event in found["events"]}

    assert told("other") == set(LIFE)
    assert told("refunded") == {*LIFE, "payment.partially_refunded"}
    assert told("refund") == {"refund.created", "refund.succeeded"}
    assert told("customer") == {"customer.created"}
    assert told("refunded", type="payment.completed") == {"payment.completed"}
    assert told("refunded", type="customer.*") == set()


def test_a_time_finds_what_happened_from_and_until_then(psp: Psp, history: tuple[Account, dict[str, Row]]) -> None:
    account, _ = history
    moments = [event["timestamp"] for event in listed(psp, account, 10)]
    middle = moments[4]

    since = psp.get("/events", params={"createdFrom": middle}, headers=account.key).json()["events"]
    until = psp.get("/events", params={"createdTo": middle}, headers=account.key).json()["events"]
    then = psp.get("/events", params={"createdFrom": middle, "createdTo": middle}, headers=account.key).json()["events"]

    assert [event["timestamp"] for event in since] == [moment for moment in moments if moment >= middle]
    assert [event["timestamp"] for event in until] == [moment for moment in moments if moment <= middle]
    assert {event["timestamp"] for event in then} == {middle}


@pytest.mark.parametrize("query", [{}, {"type": "*"}, {"type": "payment.*"}, {"createdFrom": "2020-01-01T00:00:00Z"}])
def test_pages_show_each_event_once(psp: Psp, history: tuple[Account, dict[str, Row]], query: Row) -> None:
    account, _ = history
    whole = psp.get("/events", params=query, headers=account.key).json()
    seen: list[Row] = []
    cursor: Row = {}
    while True:
        page = psp.get("/events", params={**query, "limit": 3, **cursor}, headers=account.key).json()
        assert (page["totalEvents"], page["totalIsLowerBound"]) == (len(whole["events"]), False)
        seen += page["events"]
        if not page["hasMore"]:
            break
        cursor = {"cursor": page["nextCursor"]}

    assert seen == whole["events"]
    assert page["nextCursor"] is None


def test_an_account_to_which_nothing_happened_has_an_empty_list(psp: Psp) -> None:
    answer = psp.get("/events", headers=psp.register().key)

    assert answer.status_code == 200
    assert (
        answer.content
        == json.dumps(
            {"events": [], "totalEvents": 0, "totalIsLowerBound": False, "hasMore": False, "nextCursor": None},
            separators=(",", ":"),
        ).encode()
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"type": "payment.compelted"}, "type"),
        ({"type": "payment"}, "type"),
        ({"type": ""}, "type"),
        ({"objectId": ""}, "objectId"),
        ({"objectId": "x" * 65}, "objectId"),
        ({"createdFrom": "yesterday"}, "createdFrom"),
        ({"createdTo": "0001-01-01T00:00:00+23:00"}, "createdTo"),
        ({"limit": "101"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"object": "txn_1"}, "object"),
    ],
)
def test_a_wrong_parameter_is_named(psp: Psp, merchant: Account, query: Row, field: str) -> None:
    answer = psp.get("/events", params=query, headers=merchant.key)

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["query", field]
