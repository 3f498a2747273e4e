"""Sending again: one delivery, one event, or a range of time as a job."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pymongo.database
import pytest

from repositories import leases
from tests.api.test_deliveries import listed, make_endpoint
from tests.factories import Account, Psp
from tests.receiver import Receiver
from tests.waiting import until

Row = dict[str, Any]
EVER = {"from": "2020-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}
LIFE = ["payment.created", "payment.processing", "payment.completed"]


@pytest.fixture
def account(psp: Psp) -> Account:
    return psp.register()


@pytest.fixture
def second() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def post(psp: Psp, account: Account, path: str, key: str | None = None, **options: Any) -> httpx.Response:
    headers = account.key if key is None else {**account.key, "Idempotency-Key": key}
    return psp.post(path, headers=headers, **options)


def resent(answer: httpx.Response) -> Row:
    assert answer.status_code == 202, answer.text
    shown: Row = answer.json()
    return shown


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["code"], answer.json()["detail"]


def ended(psp: Psp, account: Account, job: Row) -> Row:
    """The job once it has come to its end."""
    deadline = time.monotonic() + 60
    while True:
        shown: Row = psp.get(f"/resend-jobs/{job['id']}", headers=account.key).json()
        if shown["status"] != "running":
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.02)


def run(psp: Psp, account: Account, **fields: Any) -> Row:
    return ended(psp, account, resent(post(psp, account, "/resend-jobs", json={**EVER, **fields})))


# One delivery.


def test_a_delivery_is_sent_again_with_the_same_bytes_and_id(psp: Psp, account: Account, receiver: Receiver) -> None:
    endpoint_id = make_endpoint(psp, account, receiver, events=["payment.completed"])
    psp.completed(account)
    (before,) = listed(psp, account, 1, status="delivered")
    whole = psp.get(f"/deliveries/{before['id']}", headers=account.key).json()

    made = resent(post(psp, account, f"/deliveries/{before['id']}/resend"))

    assert made["id"] != before["id"]
    for field in ("eventId", "eventType", "webhookEndpointId", "url"):
        assert made[field] == before[field]
    assert (made["webhookEndpointId"], made["status"], made["attemptCount"]) == (endpoint_id, "pending", 0)
    first, again = receiver.wait_for(2)
    assert (again.body, again.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])
    rows = listed(psp, account, 2, status="delivered")
    assert {row["id"] for row in rows} == {before["id"], made["id"]}
    assert {row["resendId"] for row in rows} == {None, made["resendId"]}
    assert psp.get(f"/deliveries/{before['id']}", headers=account.key).json() == whole, "what was stays as it was"


def test_each_call_without_a_key_makes_a_new_one(psp: Psp, account: Account, receiver: Receiver) -> None:
    make_endpoint(psp, account, receiver, events=["payment.completed"])
    psp.completed(account)
    (before,) = listed(psp, account, 1, status="delivered")

    made = [resent(post(psp, account, f"/deliveries/{before['id']}/resend")) for _ in range(3)]

    assert len({row["id"] for row in made}) == len({row["resendId"] for row in made}) == 3
    receiver.wait_for(4)


def test_a_payments_own_url_is_sent_to_again(psp: Psp, account: Account, receiver: Receiver) -> None:
    psp.completed(account, webhookUrl=f"{receiver.url}/own")
    before = listed(psp, account, 3, status="delivered")[0]

    made = resent(post(psp, account, f"/deliveries/{before['id']}/resend"))

    assert (made["webhookEndpointId"], made["url"]) == (None, f"{receiver.url}/own")
    again = receiver.wait_for(4)[3]
    assert (again.path, again.headers["webhook-id"]) == ("/own", before["eventId"])


def test_an_endpoint_that_takes_nothing_is_sent_nothing(psp: Psp, account: Account, receiver: Receiver) -> None:
    endpoint_id = make_endpoint(psp, account, receiver, events=["payment.completed"])
    psp.completed(account)
    (before,) = listed(psp, account, 1, status="delivered")
    delivery, event = f"/deliveries/{before['id']}/resend", f"/events/{before['eventId']}/resend"
    psp.patch(f"/webhook-endpoints/{endpoint_id}", json={"status": "disabled"}, headers=account.key)

    disabled = (409, "invalid_state", f"Webhook endpoint '{endpoint_id}' is disabled.")
    assert refused(post(psp, account, delivery)) == disabled
    assert refused(post(psp, account, event, json={"webhookEndpointId": endpoint_id})) == disabled
    assert refused(post(psp, account, "/resend-jobs", json={**EVER, "webhookEndpointId": endpoint_id})) == disabled
    nobody = (409, "invalid_state", "No webhook endpoint that is enabled subscribes to this event.")
    assert refused(post(psp, account, event)) == nobody

    psp.delete(f"/webhook-endpoints/{endpoint_id}", headers=account.key)
    missing = (404, "not_found", f"Webhook endpoint '{endpoint_id}' not found.")
    deleted = (409, "invalid_state", f"Webhook endpoint '{endpoint_id}' was deleted.")
    assert refused(post(psp, account, delivery)) == deleted
    assert refused(post(psp, account, event, json={"webhookEndpointId": endpoint_id})) == missing
    assert refused(post(psp, account, "/resend-jobs", json={**EVER, "webhookEndpointId": endpoint_id})) == missing
    assert refused(post(psp, account, event)) == nobody
    assert run(psp, account, failedOnly=True)["deliveriesMade"] == 0
    assert len(listed(psp, account, 1)) == len(receiver.requests) == 1


def test_a_delivery_whose_event_is_not_kept_any_more_is_not_sent_again(
    psp: Psp, account: Account, receiver: Receiver, database: pymongo.database.Database[Row]
) -> None:
    psp.completed(account, webhookUrl=receiver.url)
    before = listed(psp, account, 3, status="delivered")[0]
    database.events.delete_one({"_id": before["eventId"]})

    assert refused(post(psp, account, f"/deliveries/{before['id']}/resend")) == (
        409,
        "invalid_state",
        f"Event '{before['eventId']}' is not kept any more.",
    )


# One event.


def test_an_event_goes_to_those_that_subscribe_now_and_to_the_payments_own_url(
    psp: Psp, account: Account, receiver: Receiver, second: Receiver
) -> None:
    unsubscribed = make_endpoint(psp, account, receiver, events=["payment.completed"])
    psp.completed(account, webhookUrl=f"{receiver.url}/own")
    event_id = listed(psp, account, 1, webhookEndpointId=unsubscribed, status="delivered")[0]["eventId"]
    receiver.wait_for(4)
    psp.patch(f"/webhook-endpoints/{unsubscribed}", json={"events": ["customer.*"]}, headers=account.key)
    subscribed = make_endpoint(psp, account, second)

    made = resent(post(psp, account, f"/events/{event_id}/resend"))

    assert made["eventId"] == event_id
    assert [(row["webhookEndpointId"], row["url"]) for row in made["deliveries"]] == [
        (subscribed, second.url),
        (None, f"{receiver.url}/own"),
    ]
    assert len({row["resendId"] for row in made["deliveries"]}) == 1
    (new,) = second.wait_for(1)
    own = receiver.wait_for(5)[4]
    assert own.path == "/own"
    assert new.body == own.body == psp.get(f"/events/{event_id}", headers=account.key).content
    assert new.headers["webhook-id"] == own.headers["webhook-id"] == event_id


def test_an_event_goes_to_the_endpoint_that_is_named_whether_it_subscribes_or_not(
    psp: Psp, account: Account, receiver: Receiver
) -> None:
    endpoint_id = make_endpoint(psp, account, receiver, events=["customer.*"])
    psp.completed(account)
    deadline = time.monotonic() + 30
    while not (events := psp.get("/events", headers=account.key).json()["events"]):
        assert time.monotonic() < deadline

    body = {"webhookEndpointId": endpoint_id}
    made = resent(post(psp, account, f"/events/{events[0]['id']}/resend", json=body))

    (delivery,) = made["deliveries"]
    assert delivery["webhookEndpointId"] == endpoint_id
    assert receiver.wait_for(1)[0].headers["webhook-id"] == events[0]["id"]


def test_a_test_event_goes_to_its_endpoint_alone(
    psp: Psp, account: Account, receiver: Receiver, second: Receiver
) -> None:
    endpoint_id, _ = make_endpoint(psp, account, receiver), make_endpoint(psp, account, second)
    event_id = psp.post(f"/webhook-endpoints/{endpoint_id}/test", headers=account.key).json()["eventId"]
    receiver.wait_for(1)

    made = resent(post(psp, account, f"/events/{event_id}/resend"))

    assert [row["webhookEndpointId"] for row in made["deliveries"]] == [endpoint_id]
    receiver.wait_for(2)
    job = run(psp, account)
    assert (job["eventsRead"], job["deliveriesMade"]) == (1, 1)
    receiver.wait_for(3)
    assert second.requests == []


def test_a_test_event_whose_endpoint_takes_nothing_is_refused_for_that_reason(
    psp: Psp, account: Account, receiver: Receiver
) -> None:
    endpoint_id = make_endpoint(psp, account, receiver)
    event_id = psp.post(f"/webhook-endpoints/{endpoint_id}/test", headers=account.key).json()["eventId"]
    receiver.wait_for(1)
    again = f"/events/{event_id}/resend"

    psp.patch(f"/webhook-endpoints/{endpoint_id}", json={"status": "disabled"}, headers=account.key)
    disabled = refused(post(psp, account, again))
    psp.delete(f"/webhook-endpoints/{endpoint_id}", headers=account.key)
    make_endpoint(psp, account, receiver)  # which subscribes to everything, and is not sent the other's test
    deleted = refused(post(psp, account, again))

    assert disabled == (409, "invalid_state", f"Webhook endpoint '{endpoint_id}' is disabled.")
    assert deleted == (409, "invalid_state", f"Webhook endpoint '{endpoint_id}' was deleted.")


# Idempotency-Key.


@pytest.fixture
def sent(psp: Psp, account: Account, receiver: Receiver) -> list[Row]:
    """Two deliveries of two events to one endpoint, oldest first."""
    make_endpoint(psp, account, receiver, events=["payment.created", "payment.completed"])
    psp.completed(account)
    return listed(psp, account, 2, status="delivered")[::-1]


@pytest.mark.parametrize("what", ["delivery", "event", "job"])
def test_a_key_makes_one_resend_however_often_it_is_sent(
    psp: Psp, account: Account, sent: list[Row], receiver: Receiver, what: str
) -> None:
    path, body, made = {
        "delivery": (f"/deliveries/{sent[0]['id']}/resend", None, 1),
        "event": (f"/events/{sent[0]['eventId']}/resend", None, 2),
        "job": ("/resend-jobs", EVER, 4),
    }[what]
    make_endpoint(psp, account, receiver)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: post(psp, account, path, "again", json=body), range(6)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    # Two events, to an endpoint that takes both and to one that takes all three of the payment's.
    listed(psp, account, 2 + (made if what != "job" else 5), status="delivered")
    make_endpoint(psp, account, receiver, events=["payment.created"])
    late = post(psp, account, path, '"again"', json=body)
    assert (late.content, late.headers["Idempotent-Replayed"]) == (answers[0].content, "true")
    assert len(listed(psp, account, 2 + (made if what != "job" else 5))) == len(receiver.requests)
    assert len(psp.get("/resend-jobs", headers=account.key).json()["resendJobs"]) == (what == "job")


def test_a_key_is_of_one_request(psp: Psp, account: Account, sent: list[Row], receiver: Receiver) -> None:
    endpoint_id = make_endpoint(psp, account, receiver)
    reused = (422, "idempotency_key_reused", "This Idempotency-Key was already used with a different request.")
    one, other = (f"/deliveries/{row['id']}/resend" for row in sent)
    resent(post(psp, account, one, "k"))
    assert refused(post(psp, account, other, "k")) == reused

    one, other = (f"/events/{row['eventId']}/resend" for row in sent)
    resent(post(psp, account, one, "k"))
    assert refused(post(psp, account, other, "k")) == reused
    assert refused(post(psp, account, one, "k", json={"webhookEndpointId": endpoint_id})) == reused

    resent(post(psp, account, "/resend-jobs", "k", json=EVER))
    assert refused(post(psp, account, "/resend-jobs", "k", json={**EVER, "failedOnly": True})) == reused
    another = psp.register()
    assert post(psp, another, "/resend-jobs", "k", json={**EVER, "failedOnly": True}).status_code == 202


def test_requests_that_race_for_a_key_leave_nothing_but_the_winners(
    psp: Psp, account: Account, sent: list[Row], receiver: Receiver
) -> None:
    for _ in range(4):
        make_endpoint(psp, account, receiver)
    paths = [f"/events/{row['eventId']}/resend" for row in sent] * 4

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda path: post(psp, account, path, "k"), paths))

    statuses = {answer.status_code for answer in answers}
    assert statuses == {202, 422}
    (body,) = {answer.content for answer in answers if answer.status_code == 202}
    made = {one["id"] for one in json.loads(body)["deliveries"]}
    assert len(made) == 5
    assert {row["id"] for row in listed(psp, account, 7)} == made | {row["id"] for row in sent}


def test_a_repeated_request_is_answered_whatever_has_happened_since(
    psp: Psp, account: Account, sent: list[Row]
) -> None:
    path = f"/deliveries/{sent[0]['id']}/resend"
    first = post(psp, account, path, "k")
    psp.delete(f"/webhook-endpoints/{sent[0]['webhookEndpointId']}", headers=account.key)

    again = post(psp, account, path, "k")

    assert (again.status_code, again.content) == (202, first.content)
    assert post(psp, account, path).status_code == 409


@pytest.mark.parametrize("turn", range(4))
def test_a_job_does_not_stand_in_the_way_of_the_requests_that_made_it(
    patient_psp: Psp, database: pymongo.database.Database[Row], turn: int
) -> None:
    """It takes the account's last place, so that the others of its key find none."""
    account = patient_psp.register()
    # A job that no worker brings to its end, before the next one can take the place of one that was.
    never = {"$set": {"status": "running"}, "$unset": {"due_at": "", **leases.RELEASE}}
    for _ in range(4):
        job = resent(post(patient_psp, account, "/resend-jobs", json=EVER))
        database.resend_jobs.update_one({"_id": job["id"]}, never)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: post(patient_psp, account, "/resend-jobs", "k", json=EVER), range(10)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert post(patient_psp, account, "/resend-jobs", "k", json={**EVER, "failedOnly": True}).status_code == 422


def test_an_event_that_nobody_would_be_sent_any_more_answers_its_first_request_again(
    psp: Psp, account: Account, sent: list[Row]
) -> None:
    path, endpoint_id = f"/events/{sent[0]['eventId']}/resend", sent[0]["webhookEndpointId"]
    bodies: dict[str, Row | None] = {"all": None, "one": {"webhookEndpointId": endpoint_id}}
    first = {key: post(psp, account, path, key, json=body) for key, body in bodies.items()}
    psp.patch(f"/webhook-endpoints/{endpoint_id}", json={"status": "disabled"}, headers=account.key)

    for key, body in bodies.items():
        again = post(psp, account, path, key, json=body)
        assert (again.status_code, again.content) == (202, first[key].content)
        assert post(psp, account, path, json=body).status_code == 409


# Others.


def test_anothers_looks_like_what_does_not_exist(
    psp: Psp, account: Account, sent: list[Row], receiver: Receiver
) -> None:
    job = run(psp, account)
    stranger = psp.register()
    own = make_endpoint(psp, stranger, receiver)

    for path, missing in (
        (f"/deliveries/{sent[0]['id']}/resend", f"Delivery '{sent[0]['id']}' not found."),
        (f"/events/{sent[0]['eventId']}/resend", f"Event '{sent[0]['eventId']}' not found."),
        (f"/resend-jobs/{job['id']}/cancel", f"Resend job '{job['id']}' not found."),
    ):
        assert refused(post(psp, stranger, path)) == (404, "not_found", missing)
    assert psp.get(f"/resend-jobs/{job['id']}", headers=stranger.key).status_code == 404
    assert psp.get("/resend-jobs", headers=stranger.key).json()["resendJobs"] == []
    theirs = sent[0]["webhookEndpointId"]
    assert post(psp, stranger, "/resend-jobs", json={**EVER, "webhookEndpointId": theirs}).status_code == 404
    ours = post(psp, account, f"/events/{sent[0]['eventId']}/resend", json={"webhookEndpointId": own})
    assert ours.status_code == 404
    job = run(psp, stranger)
    assert (job["eventsTotal"], job["eventsRead"], job["deliveriesMade"]) == (0, 0, 0)


# Jobs.


def test_a_job_sends_a_range_again_in_order(psp: Psp, account: Account, receiver: Receiver) -> None:
    payments = [psp.completed(account) for _ in range(3)]
    events = psp_events(psp, account, 9)
    make_endpoint(psp, account, receiver, maxInFlight=1)

    asked = resent(post(psp, account, "/resend-jobs", json=EVER))
    job = ended(psp, account, asked)

    assert (asked["status"], asked["eventsRead"], asked["endedAt"]) == ("running", 0, None)
    assert (asked["eventsTotal"], asked["eventsTotalIsLowerBound"]) == (9, False)
    assert (job["status"], job["eventsRead"], job["deliveriesMade"]) == ("completed", 9, 9)
    assert (job["types"], job["failedOnly"], job["webhookEndpointId"]) == (["*"], False, None)
    assert job["to"] <= job["createdAt"] <= job["endedAt"] == job["updatedAt"], "nothing that happens after it"
    arrived = receiver.wait_for(9)
    assert {request.headers["webhook-id"] for request in arrived} == {event["id"] for event in events}
    assert {json.loads(request.body)["data"]["id"] for request in arrived} == {payment["id"] for payment in payments}
    assert {row["resendId"] for row in listed(psp, account, 9)} == {job["id"]}


def psp_events(psp: Psp, account: Account, count: int) -> list[Row]:
    """All events of an account, oldest first, once there are as many."""
    deadline = time.monotonic() + 30
    while len(events := psp.get("/events", headers=account.key).json()["events"]) < count:
        assert time.monotonic() < deadline, events
        time.sleep(0.02)
    return list(reversed(events))


def test_a_job_takes_what_its_filters_name(psp: Psp, account: Account, receiver: Receiver, second: Receiver) -> None:
    psp.completed(account)
    first = psp_events(psp, account, 3)
    psp.post("/customers", json={"name": "Ada"}, headers=account.key)
    psp.completed(account)
    events = psp_events(psp, account, 7)
    one = make_endpoint(psp, account, receiver)
    make_endpoint(psp, account, second, events=["customer.*"])
    counts = {
        "everything": run(psp, account),
        "types": run(psp, account, types=["payment.created", "customer.*"]),
        "from": run(psp, account, **{"from": events[3]["timestamp"]}),
        "to": run(psp, account, to=first[2]["timestamp"]),
        "endpoint": run(psp, account, webhookEndpointId=one, types=["customer.*"]),
        "another time": run(psp, account, to="2020-01-02T00:00:00Z"),
    }

    made = {name: (job["eventsTotal"], job["eventsRead"], job["deliveriesMade"]) for name, job in counts.items()}
    assert made == {
        "everything": (7, 7, 8),
        "types": (3, 3, 4),
        "from": (4, 4, 5),
        "to": (3, 3, 3),
        "endpoint": (1, 1, 1),
        "another time": (0, 0, 0),
    }
    receiver.wait_for(7 + 3 + 4 + 3 + 1)
    second.wait_for(3)


def test_a_job_over_failures_takes_only_what_never_arrived(
    psp: Psp, account: Account, receiver: Receiver, second: Receiver
) -> None:
    second.answers = lambda number, request: 200 if b"payment.created" in request.body else 500
    good = make_endpoint(psp, account, receiver)
    bad = make_endpoint(psp, account, second, retrySchedule=[0])
    psp.completed(account, webhookUrl=f"{second.url}/own")
    listed(psp, account, 3, status="delivered", webhookEndpointId=good)
    # Two of three died at the endpoint, and two of three at the payment's own URL.
    listed(psp, account, 4, status="dead")
    second.answers = lambda number, request: 200

    job = run(psp, account, failedOnly=True)

    assert (job["eventsRead"], job["deliveriesMade"]) == (3, 4)
    rows = [row for row in listed(psp, account, 9, status="delivered") if row["resendId"] == job["id"]]
    assert sorted((row["webhookEndpointId"] or "", row["eventType"]) for row in rows) == sorted(
        (endpoint, name) for endpoint in (bad, "") for name in LIFE[1:]
    )
    again = run(psp, account, failedOnly=True)
    assert (again["eventsRead"], again["deliveriesMade"]) == (3, 0), "they have arrived now"
    assert len(listed(psp, account, 4, status="dead")) == 4, "the history stays"


def test_a_job_over_failures_leaves_alone_what_waits_again_already(
    psp: Psp, account: Account, receiver: Receiver
) -> None:
    receiver.answers = lambda number, request: 500
    endpoint_id = make_endpoint(psp, account, receiver, retrySchedule=[0])
    psp.completed(account)
    dead = listed(psp, account, 3, status="dead")
    psp.patch(f"/webhook-endpoints/{endpoint_id}", json={"retrySchedule": [600]}, headers=account.key)
    resent(post(psp, account, f"/deliveries/{dead[0]['id']}/resend"))

    jobs = [run(psp, account, failedOnly=True) for _ in range(2)]

    assert [(job["eventsRead"], job["deliveriesMade"]) for job in jobs] == [(3, 2), (3, 0)]
    assert post(psp, account, f"/resend-jobs/{jobs[0]['id']}/cancel").status_code == 200
    listed(psp, account, 5, status="dead")
    assert run(psp, account, failedOnly=True)["deliveriesMade"] == 2, "what was called off waits no more"


def test_what_a_completed_job_left_waiting_can_be_called_off(psp: Psp, account: Account, receiver: Receiver) -> None:
    receiver.answers = lambda number, request: 500
    psp.completed(account)
    psp_events(psp, account, 3)
    make_endpoint(psp, account, receiver, retrySchedule=[600])
    job = run(psp, account)
    until(lambda: [row["attemptCount"] for row in listed(psp, account, 3, status="pending")] == [1, 1, 1])

    cancelled = post(psp, account, f"/resend-jobs/{job['id']}/cancel").json()

    assert (job["status"], cancelled["status"]) == ("completed", "cancelled")
    rows = listed(psp, account, 3, status="dead")
    assert {(row["deadReason"], row["attemptCount"]) for row in rows} == {("resend_cancelled", 1)}


def crowd(database: pymongo.database.Database[Row], owner_id: str, count: int) -> None:
    """Events of an account, as the publisher writes them."""
    moment = datetime.now(UTC)
    rows = [
        {
            "_id": f"evt_{owner_id}_{number:05}",
            "type": "customer.updated",
            "owner_id": owner_id,
            "object_id": f"cus_{owner_id}_{number}",
            "stream_id": f"cus_{owner_id}_{number}",
            "sequence": 1,
            "created_at": moment,
            "body": b"{}",
        }
        for number in range(count)
    ]
    database.events.insert_many(rows)


@pytest.mark.long
def test_a_job_waits_while_much_of_it_waits_and_stops_when_it_is_told_to(
    psp: Psp, account: Account, receiver: Receiver, database: pymongo.database.Database[Row]
) -> None:
    """The receiver takes nothing: what was made waits, and no more than so much of it is made."""
    receiver.answers = lambda number, request: 503
    receiver.headers = {"Retry-After": "3600"}
    make_endpoint(psp, account, receiver, retrySchedule=[3600])
    crowd(database, account.id, 1200)
    job = resent(post(psp, account, "/resend-jobs", json=EVER))
    assert (job["eventsTotal"], job["eventsTotalIsLowerBound"]) == (1000, True)
    path = f"/resend-jobs/{job['id']}"
    until(lambda: psp.get(path, headers=account.key).json()["deliveriesMade"] == 500)
    time.sleep(2.5)  # longer than its pause: it has looked again, and made no more
    assert psp.get(path, headers=account.key).json()["eventsRead"] == 500

    cancelled = post(psp, account, f"{path}/cancel")

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    ours = {"resend_id": job["id"]}
    until(lambda: database.deliveries.count_documents({**ours, "state": "dead"}) == 500)
    assert database.deliveries.distinct("dead_reason", ours) == ["resend_cancelled"]
    once_more = post(psp, account, f"{path}/cancel")
    assert (once_more.status_code, once_more.content) == (200, cancelled.content)
    shown = psp.get(path, headers=account.key).json()
    assert (shown["status"], shown["eventsRead"], shown["deliveriesMade"]) == ("cancelled", 500, 500)
    stored = until(lambda: database.resend_jobs.find_one({"_id": job["id"], "due_at": {"$exists": False}}))
    assert "lease_token" not in stored


def test_an_account_has_a_few_jobs_under_way(
    psp: Psp, account: Account, receiver: Receiver, database: pymongo.database.Database[Row]
) -> None:
    job = run(psp, account)
    copy = database.resend_jobs.find_one({"_id": job["id"]}, {"place": 0})
    assert copy is not None, "without a place, like those of an older version"
    running = [{**copy, "_id": f"{job['id']}_{number}", "status": "running"} for number in range(5)]
    database.resend_jobs.insert_many(running)

    full = "An account has at most 5 resend jobs under way. Cancel one, or wait until one is completed."
    assert refused(post(psp, account, "/resend-jobs", json=EVER)) == (409, "too_many_resend_jobs", full)
    assert post(psp, account, f"/resend-jobs/{running[0]['_id']}/cancel").status_code == 200
    assert post(psp, account, "/resend-jobs", json=EVER).status_code == 202


def test_jobs_are_listed_newest_first(psp: Psp, account: Account) -> None:
    made = [run(psp, account, failedOnly=number == 1) for number in range(3)]
    whole = psp.get("/resend-jobs", headers=account.key).json()
    assert whole["resendJobs"] == made[::-1]
    assert (whole["totalResendJobs"], whole["totalIsLowerBound"], whole["hasMore"]) == (3, False, False)

    first = psp.get("/resend-jobs", params={"limit": 2}, headers=account.key).json()
    rest = psp.get("/resend-jobs", params={"limit": 2, "cursor": first["nextCursor"]}, headers=account.key).json()
    assert first["resendJobs"] + rest["resendJobs"] == whole["resendJobs"]
    shown = psp.get(f"/resend-jobs/{made[0]['id']}", headers=account.key)
    known = psp.get(f"/resend-jobs/{made[0]['id']}", headers={**account.key, "If-None-Match": shown.headers["ETag"]})
    assert known.status_code == 304


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, ["body", "to"]),
        ({"from": "2098-01-01T00:00:00Z"}, ["body", "from"]),
        ({"from": "yesterday"}, ["body", "from"]),
        ({"from": "1700000000"}, ["body", "from"]),
        ({"to": 1700000000}, ["body", "to"]),
        ({"to": "2026-13-01T00:00:00Z"}, ["body", "to"]),
        ({"from": "0001-01-01T00:00:00+23:00"}, ["body", "from"]),
        ({"types": []}, ["body", "types"]),
        ({"types": ["payment.compelted"]}, ["body", "types", 0]),
        ({"failedOnly": "yes"}, ["body", "failedOnly"]),
        ({"webhookEndpointId": ""}, ["body", "webhookEndpointId"]),
        ({"since": EVER["from"]}, ["body", "since"]),
    ],
)
def test_a_wrong_field_is_named(psp: Psp, merchant: Account, fields: Row, loc: list[str | int]) -> None:
    answer = post(psp, merchant, "/resend-jobs", json={**EVER, **fields})

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == loc
