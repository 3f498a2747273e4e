"""What was received is listed to its owner, and what did not verify is counted for them."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pymongo.database import Database

from domain.signing import plain_signature, standard_signature
from tests.factories import Account, Psp

BODY = json.dumps({"id": "evt_1", "event": "order.paid", "data": {"name": "Zo\u00eb"}}, ensure_ascii=False).encode()


def send(psp: Psp, account: Account, body: bytes, headers: dict[str, Any]) -> httpx.Response:
    sent = {"Content-Type": "application/json", **account.key, **headers}
    return psp.post("/webhook-receive", content=body, headers=sent)


def receive(psp: Psp, account: Account, number: int) -> None:
    body = json.dumps({"id": f"evt_{number}", "type": "order.paid", "data": {}}).encode()
    assert send(psp, account, body, {"X-Signature": plain_signature(account.webhook_secret, body)}).is_success


def page(psp: Psp, account: Account, **query: Any) -> dict[str, Any]:
    answer = psp.get("/incoming-webhooks", params=query, headers=account.key)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_webhook_is_read_as_it_arrived_and_becomes_processed(psp: Psp) -> None:
    account = psp.register("user")
    send(psp, account, BODY, {"X-Signature": plain_signature(account.webhook_secret, BODY)})
    deadline = time.monotonic() + 30
    while (one := page(psp, account)["incomingWebhooks"][0])["state"] != "processed":
        assert time.monotonic() < deadline, one
        time.sleep(0.02)

    path = f"/incoming-webhooks/{one['id']}"
    found = psp.get(path, headers=account.bearer)

    assert found.json() == {**one, "body": BODY.decode()}
    assert (one["messageId"], one["event"]) == ("evt_1", "order.paid")
    again = psp.get(path, headers={**account.key, "If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_pages_show_each_once_newest_first(psp: Psp) -> None:
    account = psp.register("user")
    for number in range(5):
        receive(psp, account, number)

    first = page(psp, account, limit=3)
    second = page(psp, account, limit=3, cursor=first["nextCursor"])

    shown = [one["messageId"] for one in first["incomingWebhooks"] + second["incomingWebhooks"]]
    assert sorted(shown) == [f"evt_{number}" for number in range(5)]
    times = [one["receivedAt"] for one in first["incomingWebhooks"] + second["incomingWebhooks"]]
    assert times == sorted(times, reverse=True)
    assert (first["hasMore"], second["hasMore"], second["nextCursor"]) == (True, False, None)
    assert first["totalIncomingWebhooks"] == second["totalIncomingWebhooks"] == 5
    assert psp.get("/incoming-webhooks", params={"cursor": "x"}, headers=account.key).status_code == 422


def test_what_another_account_received_looks_like_what_is_missing(psp: Psp, merchant: Account) -> None:
    account = psp.register("user")
    receive(psp, account, 1)
    (one,) = page(psp, account)["incomingWebhooks"]

    for webhook_id in (one["id"], "inw_none"):
        answer = psp.get(f"/incoming-webhooks/{webhook_id}", headers=merchant.key)
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"Incoming webhook '{webhook_id}' not found."
    assert page(psp, merchant)["incomingWebhooks"] == []


def test_what_does_not_verify_is_counted_by_its_reason_and_takes_no_room(psp: Psp, database: Database[Any]) -> None:
    account = psp.register("user")
    assert page(psp, account)["refused"] == {"missing": 0, "malformed": 0, "stale": 0, "wrong": 0}
    long_ago = int((datetime.now(UTC) - timedelta(hours=1)).timestamp())
    stale = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(long_ago),
        "webhook-signature": standard_signature(account.webhook_secret, "msg_1", long_ago, BODY),
    }
    sent = [{}, {"X-Signature": "zz"}, {"X-Signature": "0" * 64}, {"X-Signature": "1" * 64}, stale]

    assert [send(psp, account, BODY, headers).status_code for headers in sent] == [401] * 5

    found = page(psp, account)
    assert found["refused"] == {"missing": 1, "malformed": 1, "stale": 1, "wrong": 2}
    assert found["incomingWebhooks"] == []
    assert database.incoming_refusals.count_documents({"_id": account.id}) == 1


HOSTILE: dict[str, dict[str, Any]] = {
    "base64 that is none": {"webhook-signature": "v1,=A=%$!"},
    "base64 cut": {"webhook-signature": "v1,A"},
    "not UTF-8": {"webhook-signature": b"v1,\xff\xfe"},
    "an id that is not UTF-8": {"webhook-id": b"\xc3\x28"},
    "a time that is not UTF-8": {"webhook-timestamp": b"\xff"},
    "digits of another script": {"webhook-timestamp": "\u0661\u0667".encode()},
    "1e9": {"webhook-timestamp": "1e9"},
    "nan": {"webhook-timestamp": "nan"},
    "inf": {"webhook-timestamp": "inf"},
    "a fraction": {"webhook-timestamp": "1700000000.5"},
    "a time of 5000 digits": {"webhook-timestamp": "9" * 5000},
    "a huge signature": {"webhook-signature": "v1," + "A" * 30_000},
    "a huge id": {"webhook-id": "x" * 30_000},
    "commas alone": {"webhook-signature": ",,,,,,"},
    "spaces alone": {"webhook-signature": "v1, v1, v1,"},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_headers_are_a_401(shared_psp: Psp, merchant: Account, what: str) -> None:
    now_s = int(datetime.now(UTC).timestamp())
    right = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now_s),
        "webhook-signature": standard_signature(merchant.webhook_secret, "msg_1", now_s, BODY),
    }

    assert send(shared_psp, merchant, BODY, {**right, **HOSTILE[what]}).status_code == 401


def test_more_than_ten_signatures_are_a_401_even_with_a_good_one_first(shared_psp: Psp, merchant: Account) -> None:
    now_s = int(datetime.now(UTC).timestamp())
    good = standard_signature(merchant.webhook_secret, "msg_eleven", now_s, BODY)

    def answer(signatures: list[str]) -> int:
        headers = {"webhook-id": "msg_eleven", "webhook-timestamp": str(now_s)}
        return send(shared_psp, merchant, BODY, {**headers, "webhook-signature": " ".join(signatures)}).status_code

    assert answer([good, *["v1,no"] * 10]) == 401
    assert answer(["v1,no"] * 9 + [good]) == 200


def test_a_header_too_large_for_the_server_is_no_fault_of_ours(shared_psp: Psp, merchant: Account) -> None:
    try:
        answer = send(shared_psp, merchant, BODY, {"X-Signature": "a" * 1_000_000})
    except httpx.TransportError:
        return  # the server hung up on it
    assert 400 <= answer.status_code < 500
