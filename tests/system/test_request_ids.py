"""The id of a request goes with all that it causes: to the bank, to the receivers of webhooks, into every log.

An API, a worker and a bank, each a process of its own.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from core import json_codec
from services.http_bank import HttpBank
from tests.acquiring import fresh, hold, sale
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, QUICK, READY_S, free_port, serving
from tests.factories import NEEDS_3DS, Account, Psp, card
from tests.processes import running
from tests.receiver import Receiver
from tests.waiting import until

DATABASE = "request_ids"
PAN = "4242424242424242"
Mongo = pymongo.MongoClient[dict[str, Any]]


@dataclass(frozen=True)
class Parts:
    """The product in three processes, and the logs of two of them."""

    psp: Psp
    worker_log: Path
    bank_log: Path


@pytest.fixture(scope="module")
def parts(data_dir: Path, mongo: Mongo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    logs, port = tmp_path_factory.mktemp("request_ids"), free_port()
    bank_url = f"http://127.0.0.1:{port}"
    settings = {**QUICK, "DATA_DIR": str(data_dir), "MONGODB_DB": DATABASE, "BANK_URL": bank_url}
    with ExitStack() as stack:
        stack.enter_context(running(["cli.py", "bank", "--port", str(port)], logs / "bank.log", **settings))
        until(lambda: "Application startup complete" in (logs / "bank.log").read_text(), READY_S)
        server = stack.enter_context(serving(logs / "server.log", WORKER="off", **settings))
        stack.enter_context(running(["cli.py", "worker"], logs / "worker.log", **settings))
        client = stack.enter_context(httpx.Client(base_url=server.url, timeout=35, verify=False))
        yield Parts(Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD), logs / "worker.log", logs / "bank.log")
    mongo.drop_database(DATABASE)


@pytest.fixture
def psp(parts: Parts) -> Psp:
    return parts.psp


@pytest.fixture
def account(psp: Psp) -> Account:
    return psp.register()


def with_id(request_id: str, **headers: str) -> dict[str, str]:
    return {"X-Request-ID": request_id, **headers}


def lines_of(log: Path, event: str, **fields: str) -> list[dict[str, str]]:
    """The fields of the lines about this that have these, once there is one."""

    def look() -> list[dict[str, str]]:
        lines = [line for line in log.read_text().splitlines() if f" {event}  " in line]
        found = [dict(re.findall(r"  (\w+)=(\S*)", line)) for line in lines]
        return [line for line in found if fields.items() <= line.items()]

    found: list[dict[str, str]] = until(look)
    return found


def told(receiver: Receiver, last: str) -> dict[str, str | None]:
    """By type of event, the request id that its webhook brought, once the last of them is there."""

    def look() -> dict[str, str | None]:
        arrived = list(receiver.requests)
        return {json_codec.loads_own(one.body)["event"]: one.headers.get("x-request-id") for one in arrived}

    until(lambda: last in look())
    return look()


def test_a_charges_id_is_with_the_bank_the_receiver_and_in_their_logs(
    parts: Parts, account: Account, receiver: Receiver
) -> None:
    made = parts.psp.charge(account, with_id("charge-of-order-1"), card=card(), webhookUrl=receiver.url).json()

    assert set(told(receiver, "payment.completed").values()) == {"charge-of-order-1"}
    (asked,) = lines_of(parts.worker_log, "bank operation", payment_id=made["id"])
    (decided,) = lines_of(parts.bank_log, "operation", operation_id=asked["operation_id"])
    assert asked["request_id"] == decided["request_id"] == "charge-of-order-1"
    assert (asked["kind"], asked["verdict"]) == (decided["kind"], decided["verdict"]) == ("authorise", "approved")
    event_ids = {one.headers["webhook-id"] for one in receiver.requests}
    until(lambda: len(lines_of(parts.worker_log, "webhook attempt", request_id="charge-of-order-1")) >= len(event_ids))
    attempts = lines_of(parts.worker_log, "webhook attempt", request_id="charge-of-order-1")
    assert {one["event_id"] for one in attempts} == event_ids
    assert all(one["delivery_id"].startswith("dlv_") and one["status"] == "200" for one in attempts)


def test_each_step_has_the_id_of_the_request_that_asked_for_it(
    parts: Parts, account: Account, receiver: Receiver
) -> None:
    psp = parts.psp
    charging = with_id("the-charge", Prefer="wait=30")
    held = psp.charge(account, charging, card=card(), capture="manual", webhookUrl=receiver.url).json()
    path = f"/payments/{held['id']}"
    described = psp.patch(path, json={"details": "two"}, headers={**account.key, **with_id("the-description")})
    captured = psp.post(f"{path}/capture", headers={**account.key, **with_id("the-capture")})
    assert (described.status_code, captured.status_code) == (200, 200)
    told(receiver, "payment.completed")
    refunding = {**account.key, **with_id("the-refund", **{"Idempotency-Key": "once"})}
    assert psp.post("/refunds", json={"paymentId": held["id"]}, headers=refunding).status_code == 201

    assert told(receiver, "payment.refunded") == {
        "payment.created": "the-charge",
        "payment.processing": "the-charge",
        "payment.authorized": "the-charge",
        "payment.completed": "the-capture",
        "refund.created": "the-refund",
        "refund.succeeded": "the-refund",
        "payment.refunded": "the-refund",
    }
    operations = lines_of(parts.worker_log, "bank operation", payment_id=held["id"])
    assert [(one["kind"], one["request_id"]) for one in operations] == [
        ("authorise", "the-charge"),
        ("capture", "the-capture"),
        ("refund", "the-refund"),
    ]


def test_a_cancellation_and_what_it_voids_have_its_id(parts: Parts, account: Account, receiver: Receiver) -> None:
    charging = with_id("charged", Prefer="wait=30")
    held = parts.psp.charge(account, charging, card=card(), capture="manual", webhookUrl=receiver.url).json()
    cancelled = parts.psp.post(f"/payments/{held['id']}/cancel", headers={**account.key, **with_id("cancelled")})
    assert cancelled.status_code == 200

    assert told(receiver, "payment.cancelled")["payment.cancelled"] == "cancelled"
    (void,) = lines_of(parts.worker_log, "bank operation", payment_id=held["id"], kind="void")
    assert void["request_id"] == "cancelled"


@pytest.mark.parametrize("on_the_page", [True, False])
def test_the_cardholders_answer_has_the_id_of_its_request(
    psp: Psp, account: Account, receiver: Receiver, on_the_page: bool
) -> None:
    charging = with_id("challenged", Prefer="wait=30")
    asked = psp.charge(account, charging, card=card(NEEDS_3DS), webhookUrl=receiver.url).json()
    answering = with_id("answered")
    if on_the_page:
        done = psp.client.post(asked["nextAction"]["url"], data={"answer": "approve"}, headers=answering)
        assert done.status_code == 303
    else:
        done = psp.post(f"/payments/{asked['id']}/authenticate", headers={**account.key, **answering})
        assert done.status_code == 200

    found = told(receiver, "payment.completed")
    assert (found["payment.requires_action"], found["payment.processing"]) == ("challenged", "answered")
    assert found["payment.completed"] == "answered"


def test_a_deletion_that_cancels_has_its_id(psp: Psp, account: Account, receiver: Receiver) -> None:
    charging = with_id("charged", Prefer="wait=30")
    held = psp.charge(account, charging, card=card(), capture="manual", webhookUrl=receiver.url).json()
    deleted = psp.delete(f"/payments/{held['id']}", headers={**account.bearer, **with_id("deleted")})
    assert deleted.status_code == 200

    assert told(receiver, "payment.cancelled")["payment.cancelled"] == "deleted"


def test_a_repeated_charge_keeps_the_first_ones_id(psp: Psp, account: Account, receiver: Receiver) -> None:
    for request_id in ("the-first", "the-repetition"):
        charging = with_id(request_id, **{"Idempotency-Key": "one-charge"})
        assert psp.charge(account, charging, webhookUrl=receiver.url).status_code == 201

    assert set(told(receiver, "payment.completed").values()) == {"the-first"}


def test_an_event_sent_again_brings_its_own_id(psp: Psp, account: Account, receiver: Receiver) -> None:
    psp.charge(account, with_id("charged-once"), webhookUrl=receiver.url)
    told(receiver, "payment.completed")
    delivery = psp.get("/deliveries", headers=account.key).json()["deliveries"][0]
    event_id, before = delivery["eventId"], len(receiver.requests)
    asking = {**account.key, **with_id("sent-again")}
    assert psp.post(f"/deliveries/{delivery['id']}/resend", headers=asking).status_code == 202

    again = receiver.wait_for(before + 1)[-1]
    assert (again.headers["webhook-id"], again.headers["x-request-id"]) == (event_id, "charged-once")


def test_what_happens_by_itself_has_no_id(psp: Psp, account: Account, receiver: Receiver, mongo: Mongo) -> None:
    charging = with_id("long-ago", Prefer="wait=30")
    held = psp.charge(account, charging, card=card(), capture="manual", webhookUrl=receiver.url).json()
    over = datetime(2020, 1, 1, tzinfo=UTC)
    mongo[DATABASE]["payments"].update_one({"_id": held["id"]}, {"$set": {"acts_at": over, "due_at": over}})

    assert told(receiver, "payment.expired")["payment.expired"] is None


def test_customers_and_test_events_bring_their_ids(psp: Psp, account: Account, receiver: Receiver) -> None:
    endpoint = {"url": receiver.url, "events": ["*"]}
    made = psp.post("/webhook-endpoints", json=endpoint, headers=account.key).json()
    body = {"name": "Ada Lovelace"}
    customer = psp.post("/customers", json=body, headers={**account.key, **with_id("made")}).json()
    psp.put(f"/customers/{customer['id']}", json={"name": "Ada"}, headers={**account.key, **with_id("renamed")})
    psp.delete(f"/customers/{customer['id']}", headers={**account.key, **with_id("deleted")})
    psp.post(f"/webhook-endpoints/{made['id']}/test", headers={**account.key, **with_id("tried")})

    told(receiver, "customer.deleted")
    assert told(receiver, "webhook.test") == {
        "customer.created": "made",
        "customer.updated": "renamed",
        "customer.deleted": "deleted",
        "webhook.test": "tried",
    }


def test_a_secret_in_an_id_goes_nowhere(parts: Parts, account: Account, receiver: Receiver, mongo: Mongo) -> None:
    made = parts.psp.charge(account, with_id(f"card-{PAN}"), card=card(), webhookUrl=receiver.url).json()

    (shown,) = set(told(receiver, "payment.completed").values())
    assert shown == "card-424242XXXXXX4242"
    (asked,) = lines_of(parts.worker_log, "bank operation", payment_id=made["id"])
    assert asked["request_id"] == shown
    assert PAN not in parts.bank_log.read_text()
    assert mongo[DATABASE]["payments"].find_one({"_id": made["id"]})["request_id"] == shown  # type: ignore[index]


def test_what_an_older_version_wrote_goes_on_without(
    psp: Psp, account: Account, receiver: Receiver, mongo: Mongo
) -> None:
    charging = with_id("not-kept", Prefer="wait=30")
    held = psp.charge(account, charging, card=card(), capture="manual", webhookUrl=receiver.url).json()
    told(receiver, "payment.authorized")
    for name in ("payments", "events"):
        gone = {"$unset": {"request_id": ""}}
        mongo[DATABASE][name].update_many({"owner_id": account.id}, gone)
    delivery = psp.get("/deliveries", headers=account.key).json()["deliveries"][0]
    before = len(receiver.requests)
    psp.post(f"/deliveries/{delivery['id']}/resend", headers=account.key)

    assert "x-request-id" not in receiver.wait_for(before + 1)[-1].headers
    captured = psp.post(f"/payments/{held['id']}/capture", headers={**account.key, **with_id("kept")})
    assert captured.status_code == 200
    assert told(receiver, "payment.completed")["payment.completed"] == "kept"


async def test_the_bank_is_sent_the_id_of_each_operation(receiver: Receiver) -> None:
    one, other = replace(hold(), request_id="one"), replace(sale(None), request_id="other")
    bank = HttpBank(receiver.url)
    try:
        await bank.submit([one])
        await bank.submit([one, other])
        await bank.submit([replace(one, id=fresh("op"), request_id=None)])
    finally:
        await bank.close()

    alone, together, nobodys = receiver.requests
    assert alone.headers["x-request-id"] == "one"
    assert "x-request-id" not in together.headers, "they are of two requests"
    sent = json_codec.loads_own(together.body)["operations"]
    assert [operation["requestId"] for operation in sent] == ["one", "other"]
    assert "x-request-id" not in nobodys.headers
    assert "requestId" not in json_codec.loads_own(nobodys.body)["operations"][0]
