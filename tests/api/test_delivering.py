"""Delivering: what is written down of each attempt, in which order they go, and when an endpoint is ended."""

import json
import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo.database
import pytest

from domain.http_headers import LONGEST_VALUE
from domain.redaction import REDACTED
from domain.webhook_endpoints import LONGEST_FAILING
from tests.api.test_webhook_endpoints import amend, ask_for_a_test, get, make
from tests.factories import Account, Psp
from tests.receiver import Received, Receiver
from tests.waiting import until

Row = dict[str, Any]
Database = pymongo.database.Database[Row]


@pytest.fixture
def account(psp: Psp) -> Account:
    return psp.register()


def test_event(psp: Psp, account: Account, database: Database, endpoint: Row, state: str) -> Row:
    """The delivery of a test event, once it is in this state."""
    wanted = {"_id": ask_for_a_test(psp, account, endpoint)["deliveryId"], "state": state}
    return dict(until(lambda: database["deliveries"].find_one(wanted)))


test_event.__test__ = False  # type: ignore[attr-defined]


# What is written down of an attempt


def test_an_attempt_is_kept_as_it_went(psp: Psp, account: Account, receiver: Receiver, database: Database) -> None:
    receiver.headers = {"X-Trace": "abc", "X-Long": "x" * 5000, "Set-Cookie": "sid=1", "X-Auth-Token": "t"}
    made = make(psp, account, receiver.url)

    (attempt,) = test_event(psp, account, database, made, "delivered")["attempts"]

    assert (attempt["status"], attempt["error"], attempt["response"]) == (200, None, "")
    sent = dict(attempt["request_headers"])
    (request,) = receiver.requests
    assert sent.keys() == {
        *(
            "Content-Type",
            "User-Agent",
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
            "X-Signature",
            "X-Request-ID",
        )
    }
    assert {name: request.headers[name.lower()] for name in sent} == sent
    answered = dict(attempt["response_headers"])
    assert answered["X-Trace"] == "abc"
    assert answered["X-Long"] == "x" * LONGEST_VALUE
    assert answered["Set-Cookie"] == answered["X-Auth-Token"] == REDACTED
    phases = attempt["phases"]
    assert phases.keys() == {"dns_ms", "connect_ms", "wait_ms", "receive_ms"}
    assert phases["dns_ms"] is None  # an address needs no look-up
    spent = [took for took in phases.values() if took is not None]
    assert len(spent) >= 2
    assert sum(spent) <= attempt["duration_ms"] + len(spent)


def test_an_answer_of_any_bytes_is_kept(psp: Psp, account: Account, receiver: Receiver, database: Database) -> None:
    receiver.headers = {"X-Bytes": "caf\xe9 $set \x80"}  # Latin-1, which is what the server sends
    made = make(psp, account, receiver.url)

    (attempt,) = test_event(psp, account, database, made, "delivered")["attempts"]

    assert dict(attempt["response_headers"])["X-Bytes"] == "caf\ufffd $set \ufffd"


def test_an_answer_that_breaks_off_is_a_failure_and_what_there_was_of_it_is_kept(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    receiver.headers = {"content-length": "1000", "X-Trace": "abc", "Connection": "close"}
    made = make(psp, account, receiver.url, retrySchedule=[0], timeout=2)

    attempts = test_event(psp, account, database, made, "dead")["attempts"]

    assert [attempt["status"] for attempt in attempts] == [200, 200]
    assert {attempt["error"] for attempt in attempts} <= {"connection_closed", "timeout"}
    assert [dict(attempt["response_headers"])["X-Trace"] for attempt in attempts] == ["abc", "abc"]


def test_each_attempt_says_where_it_went(psp: Psp, account: Account, receiver: Receiver, database: Database) -> None:
    made = make(psp, account, retrySchedule=[1, 0, 0, 0])
    asked = ask_for_a_test(psp, account, made)
    until(lambda: database["deliveries"].find_one({"_id": asked["deliveryId"], "failures": 1}))

    amend(psp, account, made, url=f"{receiver.url}/moved")

    row = until(lambda: database["deliveries"].find_one({"_id": asked["deliveryId"], "state": "delivered"}))
    urls = [attempt["url"] for attempt in row["attempts"]]
    assert (urls[0], urls[-1]) == (made["url"], f"{receiver.url}/moved")


def test_a_phase_that_was_not_come_to_is_left_out(psp: Psp, account: Account, database: Database) -> None:
    made = make(psp, account, "http://no-such-host.invalid/", retrySchedule=[0])

    attempts = test_event(psp, account, database, made, "dead")["attempts"]

    assert [attempt["error"] for attempt in attempts] == ["dns_failed"] * 2
    assert {attempt["phases"]["connect_ms"] for attempt in attempts} == {None}
    assert {attempt["phases"]["wait_ms"] for attempt in attempts} == {None}


def test_a_redirect_is_named_as_what_failed(psp: Psp, account: Account, receiver: Receiver, database: Database) -> None:
    receiver.answers = lambda number, request: 302
    receiver.headers = {"Location": "/elsewhere"}
    made = make(psp, account, receiver.url, retrySchedule=[0])

    attempts = test_event(psp, account, database, made, "dead")["attempts"]

    assert [(one["status"], one["error"]) for one in attempts] == [(302, "redirect_not_followed")] * 2
    assert {request.path for request in receiver.requests} == {"/"}


def test_an_answer_that_asks_to_wait_until_no_real_date_is_a_failed_attempt_like_any_other(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    receiver.answers = lambda number, request: 503
    receiver.headers = {"Retry-After": "Mon, 01 Jan 2026 00:00:00 +9999999999999999999999999"}
    made = make(psp, account, receiver.url, retrySchedule=[0])

    attempts = test_event(psp, account, database, made, "dead")["attempts"]

    assert [(one["status"], one["error"]) for one in attempts] == [(503, None)] * 2


def test_an_unreadable_secret_fails_the_attempts_of_its_own_endpoint_and_no_others(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    broken, sound = make(psp, account, receiver.url, retrySchedule=[0]), make(psp, account, f"{receiver.url}/sound")
    database["webhook_endpoints"].update_one({"_id": broken["id"]}, {"$set": {"sealed_secrets": b"nonsense"}})

    dead = test_event(psp, account, database, broken, "dead")
    test_event(psp, account, database, sound, "delivered")

    assert [attempt["error"] for attempt in dead["attempts"]] == ["secret_unreadable"] * 2
    assert [request.path for request in receiver.requests] == ["/sound"]


def test_a_delivery_whose_event_is_no_longer_kept_is_a_dead_letter(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    made = make(psp, account, receiver.url)
    delivered = test_event(psp, account, database, made, "delivered")
    database["events"].delete_one({"_id": delivered["event_id"]})

    database["deliveries"].update_one({"_id": delivered["_id"]}, {"$set": {"state": "pending"}})

    dead = until(lambda: database["deliveries"].find_one({"_id": delivered["_id"], "state": "dead"}))
    assert dead["dead_reason"] == "event_gone"
    assert len(receiver.requests) == 1


# Whose turn it is


def test_an_endpoint_that_asks_for_order_is_sent_an_objects_events_one_after_the_other(
    psp: Psp, account: Account, receiver: Receiver
) -> None:
    make(psp, account, receiver.url, events=["payment.*"], ordering="object", retrySchedule=[0] * 8)
    finished: list[tuple[str, int]] = []
    seen: dict[str, int] = defaultdict(int)
    lock = threading.Lock()

    def answers(number: int, request: Received) -> int:
        """Each event fails twice before it is taken."""
        with lock:
            seen[request.headers["webhook-id"]] += 1
            status = 200 if seen[request.headers["webhook-id"]] > 2 else 500
            finished.append((request.headers["webhook-id"], status))
            return status

    receiver.answers = answers
    paid = [psp.completed(account) for _ in range(5)]

    arrived = receiver.wait_for(5 * 3 * 3)
    of_payment: dict[str, list[Row]] = defaultdict(list)
    for request in arrived:
        body = json.loads(request.body)
        of_payment[body["data"]["id"]].append(body)
    assert of_payment.keys() == {payment["id"] for payment in paid}
    for bodies in of_payment.values():
        assert [body["type"] for body in bodies] == [
            *["payment.created"] * 3,
            *["payment.processing"] * 3,
            *["payment.completed"] * 3,
        ]


def test_an_event_that_is_given_up_holds_up_its_successors_no_longer(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    made = make(psp, account, receiver.url, ordering="object", retrySchedule=[0])
    receiver.answers = lambda number, request: 500 if b'"payment.created"' in request.body else 200

    payment = psp.completed(account)

    types = [json.loads(request.body)["type"] for request in receiver.wait_for(4)]
    assert types == ["payment.created", "payment.created", "payment.processing", "payment.completed"]
    rows = database["deliveries"].find({"target": made["id"], "stream_id": payment["id"]}).sort("sequence")
    until(lambda: not database["deliveries"].count_documents({"target": made["id"], "state": "pending"}))
    assert [row["state"] for row in rows] == ["dead", "delivered", "delivered"]


def test_no_more_are_under_way_than_an_endpoint_allows(psp: Psp, account: Account, receiver: Receiver) -> None:
    make(psp, account, receiver.url, maxInFlight=2)
    under_way, most = 0, 0
    lock = threading.Lock()

    def answers(number: int, request: Received) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        threading.Event().wait(0.02)
        with lock:
            under_way -= 1
        return 200

    receiver.answers = answers
    for _ in range(20):
        psp.charge(account)

    receiver.wait_for(60)
    assert most == 2


def test_many_targets_that_are_not_due_hold_up_nobody(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    waiting = {"state": "pending", "due_at": later, "owner_id": account.id, "stream_id": "txn_1", "sequence": 1}
    rows = [{**waiting, "_id": f"dlv_later{number}", "target": f"http://later{number}:80"} for number in range(5000)]
    database["deliveries"].insert_many(rows, ordered=False)
    try:
        made = make(psp, account, receiver.url)
        for _ in range(5):
            ask_for_a_test(psp, account, made)
        receiver.wait_for(5)
    finally:
        database["deliveries"].delete_many({"_id": {"$in": [row["_id"] for row in rows]}})


# When an endpoint is ended


def test_an_endpoint_that_answers_410_is_disabled_once_with_an_event(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    gone = make(psp, account, f"{receiver.url}/gone", events=["payment.*"])
    make(psp, account, f"{receiver.url}/others", events=["webhook.disabled"])
    receiver.answers = lambda number, request: 410 if request.path == "/gone" else 200

    for _ in range(5):
        psp.charge(account)

    shown = until(lambda: (one := get(psp, account, gone))["status"] == "disabled" and one)
    assert shown["disabledReason"] == "gone"
    until(lambda: database["deliveries"].find_one({"target": gone["id"], "dead_reason": "receiver_gone"}))
    until(lambda: not database["deliveries"].count_documents({"target": gone["id"], "state": "pending"}))
    reasons = {row["dead_reason"] for row in database["deliveries"].find({"target": gone["id"]})}
    assert reasons <= {"receiver_gone", "endpoint_disabled", "endpoint_gone"}
    until(lambda: [request for request in receiver.requests if request.path == "/others"])
    events = psp.get("/events", params={"type": "webhook.disabled"}, headers=account.key).json()["events"]
    assert [event["data"] for event in events] == [shown]


def test_an_endpoint_to_which_nothing_came_through_for_five_days_is_disabled_once_with_an_event(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    made = make(psp, account, receiver.url, retrySchedule=[3600])
    receiver.answers = lambda number, request: 500
    ask_for_a_test(psp, account, made)
    failing = until(
        lambda: database["webhook_endpoints"].find_one({"_id": made["id"], "failing_since": {"$type": "date"}})
    )
    assert get(psp, account, made)["status"] == "enabled"

    long_ago = failing["failing_since"] - LONGEST_FAILING
    database["webhook_endpoints"].update_one({"_id": made["id"]}, {"$set": {"failing_since": long_ago}})
    for _ in range(5):
        psp.charge(account)

    shown = until(lambda: (one := get(psp, account, made))["status"] == "disabled" and one)
    assert shown["disabledReason"] == "failing"
    until(lambda: not database["deliveries"].count_documents({"target": made["id"], "state": "pending"}))
    until(lambda: not database["webhook_endpoints"].find_one({"_id": made["id"], "outbox.0": {"$exists": True}}))
    events = psp.get("/events", params={"type": "webhook.disabled"}, headers=account.key).json()["events"]
    assert [event["data"] for event in events] == [shown]


def test_a_success_begins_the_count_of_failing_days_anew(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    made = make(psp, account, receiver.url)
    long_ago = datetime.now(UTC) - 2 * LONGEST_FAILING
    database["webhook_endpoints"].update_one({"_id": made["id"]}, {"$set": {"failing_since": long_ago}})

    test_event(psp, account, database, made, "delivered")

    until(lambda: database["webhook_endpoints"].find_one({"_id": made["id"], "failing_since": None}))
    assert get(psp, account, made)["status"] == "enabled"


def test_a_success_begins_it_anew_however_soon_after_the_failure(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    """Its endpoint may not be sent anything for five days after that."""
    made = make(psp, account, receiver.url, retrySchedule=[1])
    receiver.answers = lambda number, request: 500 if number == 0 else 200

    test_event(psp, account, database, made, "delivered")

    until(lambda: database["webhook_endpoints"].find_one({"_id": made["id"], "failing_since": None}))


def test_an_endpoint_is_not_disabled_if_anything_came_through_since_it_failed(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    """As when an attempt that began before the failure ends after it, and nothing is sent for days."""
    made = make(psp, account, receiver.url, retrySchedule=[3600])
    test_event(psp, account, database, made, "delivered")
    long_ago = datetime.now(UTC) - 2 * LONGEST_FAILING
    database["webhook_endpoints"].update_one({"_id": made["id"]}, {"$set": {"failing_since": long_ago}})
    receiver.answers = lambda number, request: 500

    ask_for_a_test(psp, account, made)

    until(lambda: database["webhook_endpoints"].find_one({"_id": made["id"], "failing_since": None}))
    assert get(psp, account, made)["status"] == "enabled"


def test_an_endpoint_that_is_enabled_again_has_a_clean_slate(
    psp: Psp, account: Account, receiver: Receiver, database: Database
) -> None:
    made = make(psp, account, receiver.url, retrySchedule=[3600])
    receiver.answers = lambda number, request: 410
    test_event(psp, account, database, made, "dead")
    until(lambda: get(psp, account, made)["status"] == "disabled")

    shown = amend(psp, account, made, status="enabled")

    assert (shown["status"], shown["disabledReason"]) == ("enabled", None)
    receiver.answers = lambda number, request: 500
    ask_for_a_test(psp, account, made)
    receiver.wait_for(2)
    assert get(psp, account, made)["status"] == "enabled"
