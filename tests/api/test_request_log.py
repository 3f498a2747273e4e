"""The request log: each request of an account leaves a row that its owner sees, and no secret is in any."""

import json
from typing import Any

import httpx
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database as PymongoDatabase

from domain.redaction import REDACTED
from domain.signing import plain_signature
from tests.factories import PASSWORD, VISA, Account, Psp, card
from tests.waiting import until

Row = dict[str, Any]


def listed(psp: Psp, who: Account, **query: Any) -> Row:
    answer = psp.get("/request-logs", headers=who.bearer, params=query)
    assert answer.status_code == 200, answer.text
    page: Row = answer.json()
    return page


def logged(psp: Psp, who: Account, answer: httpx.Response) -> Row:
    """The row of a request with its bodies, once it is there."""
    request_id = answer.headers["X-Request-ID"]
    (row,) = until(lambda: listed(psp, who, requestId=request_id)["requestLogs"])
    found: Row = psp.get(f"/request-logs/{row['id']}", headers=who.bearer).json()
    assert row.items() <= found.items()
    return found


@pytest.fixture
def account(psp: Psp) -> Account:
    return psp.register("merchant")


def test_a_request_is_told_with_all_that_belongs_to_it(psp: Psp, account: Account) -> None:
    headers = {"Idempotency-Key": "order-1", "X-Request-ID": f"mine-{account.id}"}

    answer = psp.charge(account, headers, reference="order-1")

    row = logged(psp, account, answer)
    assert (row["method"], row["route"]) == ("POST", "/api/v1/payments/charge")
    assert (row["path"], row["status"]) == ("/api/v1/payments/charge", 201)
    assert (row["requestId"], row["idempotencyKey"]) == (f"mine-{account.id}", "order-1")
    assert (row["apiKeyId"][:4], row["sessionId"], row["paymentKeyId"]) == ("key_", None, None)
    assert row["address"] == "127.0.0.1"
    assert 0 <= row["durationMs"] < 60_000
    assert json.loads(row["requestBody"])["reference"] == "order-1"
    assert json.loads(row["responseBody"]) == answer.json()


def test_each_group_of_routes_leaves_rows(psp: Psp, account: Account, root: dict[str, str]) -> None:
    body = b'{"id":"evt_1","event":"order.paid","data":{}}'
    signed = {"Content-Type": "application/json", "X-Signature": plain_signature(account.webhook_secret, body)}
    key = psp.post("/payment-keys", json={"maxUses": 1}, headers=account.key).json()["paymentKey"]
    charge = {"customerName": "Ada", "paymentAmount": 1, "currency": "EUR"}
    answers = [
        psp.get("/users/me", headers=account.bearer),
        psp.get("/protected", headers=account.bearer),
        psp.get("/sessions", headers=account.bearer),
        psp.get("/api-keys", headers=account.key),
        psp.get("/payments/query", params={"limit": 1}, headers=account.both),
        psp.get("/payments/none", headers=account.key),
        psp.get("/refunds", headers=account.key),
        psp.post("/tokens", json=card(), headers=account.key),
        psp.get("/customers", headers=account.key),
        psp.post("/payments/charge", json=charge, headers={"X-Payment-Key": key}),
        psp.get("/webhook-endpoints", headers=account.key),
        psp.get("/deliveries", headers=account.key),
        psp.get("/events", headers=account.key),
        psp.get("/resend-jobs", headers=account.key),
        psp.get("/incoming-webhooks", headers=account.key),
        psp.post("/webhook-receive", content=body, headers={**account.key, **signed}),
        psp.get("/admin/dashboard", headers=account.bearer),
        psp.delete("/transactions/none", headers=account.bearer),
    ]

    rows = [logged(psp, account, answer) for answer in answers]

    assert [row["status"] for row in rows] == [answer.status_code for answer in answers]
    assert {403, 404, 200, 201} <= {row["status"] for row in rows}, "what was refused is told as well"
    assert [row["method"] for row in rows] == [answer.request.method for answer in answers]
    assert rows[9]["paymentKeyId"].startswith("pk_")
    assert rows[15]["requestBody"] == body.decode()
    assert rows[5]["route"] == "/api/v1/payments/{payment_id}"
    assert rows[5]["path"] == "/api/v1/payments/none"


def test_right_credentials_that_open_nothing_in_this_way_leave_a_row(
    psp: Psp, account: Account, merchant: Account, database: PymongoDatabase[Row]
) -> None:
    bound = {"name": "bound", "scopes": ["events:read"], "allowedNetworks": ["203.0.113.0/24"]}
    key = psp.post("/api-keys", json=bound, headers=account.bearer).json()
    from_elsewhere = psp.get("/events", headers={"X-API-Key": key["apiKey"]})
    with_anothers_key = psp.get("/events", headers={**account.bearer, **merchant.key})

    rows = [logged(psp, account, answer) for answer in (from_elsewhere, with_anothers_key)]

    assert [row["status"] for row in rows] == [403, 403]
    assert [row["apiKeyId"] for row in rows] == [key["id"], None]
    for answer in (from_elsewhere, with_anothers_key):
        denial = database["audit"].find_one({"request_id": answer.headers["X-Request-ID"]})
        assert denial is not None
        assert (denial["account_id"], denial["action"]) == (account.id, "access.denied")


def test_no_secret_is_in_any_row(psp: Psp, account: Account, database: PymongoDatabase[Row]) -> None:
    new = "staple-of-the-battery"
    made = psp.post("/api-keys", json={"name": "a", "scopes": ["webhooks"]}, headers=account.key)
    rotated = psp.post("/users/me/webhook-secret/rotate", headers=account.key)
    key = psp.post("/payment-keys", json={"maxUses": 1}, headers=account.key)
    typed = " ".join(VISA[start : start + 4] for start in range(0, 16, 4))
    answers = [
        made,
        rotated,
        key,
        psp.charge(account, {"Idempotency-Key": VISA}, card=card(cvc="739"), metadata={"note": typed}),
        psp.charge(account, details=f"card {typed}"),
        psp.charge(account, note=f"api key {account.api_key}"),
        psp.charge(account, card=card(number=VISA + "7", cvc="7391739")),
        psp.post("/tokens", json=card(cvc="739"), headers=account.key),
        psp.post(
            "/tokens", content=json.dumps(card())[:-1], headers={**account.key, "Content-Type": "application/json"}
        ),
        psp.get(f"/payments/{VISA}", headers=account.key),
        psp.get("/customers", params={"name": typed, "password": new}, headers=account.key),
        psp.post("/payments/charge", json={"x": VISA * 700, "password": new}, headers=account.key),
        psp.post("/users/me/password", json={"currentPassword": PASSWORD, "newPassword": new}, headers=account.bearer),
    ]
    account_now = psp.login(account.email, new).json()
    ids = {answer.headers["X-Request-ID"] for answer in answers if "json_invalid" not in answer.text}
    until(lambda: ids <= {row["request_id"] for row in database.request_logs.find({"owner_id": account.id})})

    options = database.request_logs.codec_options.with_options(document_class=RawBSONDocument)
    raw = b"".join(row.raw for row in database.request_logs.with_options(options).find({"owner_id": account.id}))

    secrets = [VISA, typed, typed.replace(" ", "+"), typed.replace(" ", "%20"), "739", PASSWORD, new, account.api_key]
    secrets += [account.webhook_secret, account.token, made.json()["apiKey"], key.json()["paymentKey"]]
    secrets += [rotated.json()["webhookSecret"]]
    assert [secret for secret in secrets if secret.encode() in raw] == []
    assert REDACTED.encode() in raw
    page = psp.get("/request-logs", headers={"Authorization": f"Bearer {account_now['access_token']}"})
    assert page.json()["totalRequestLogs"] >= len(ids)


def test_nobody_sees_anothers_requests(psp: Psp, account: Account, merchant: Account, root: dict[str, str]) -> None:
    row = logged(psp, account, psp.get("/users/me", headers=account.bearer))

    for who in (merchant.bearer, root):
        answer = psp.get(f"/request-logs/{row['id']}", headers=who)
        assert (answer.status_code, answer.json()["detail"]) == (404, f"Request log '{row['id']}' not found.")
        listing = psp.get("/request-logs", params={"requestId": row["requestId"]}, headers=who).json()
        assert (listing["requestLogs"], listing["totalRequestLogs"]) == ([], 0)


def test_what_nobodys_credentials_came_with_is_in_no_row(psp: Psp, database: PymongoDatabase[Row]) -> None:
    request_id = {"X-Request-ID": "anonymous-of-the-request-log"}
    psp.get("/status", headers=request_id)
    psp.post("/payments/charge", json={}, headers={**request_id, "X-API-Key": "psp_sk_wrong"})
    known = psp.register()
    psp.get("/request-logs", headers={**request_id, **known.bearer})
    logged(psp, known, psp.get("/users/me", headers=known.bearer))

    assert database.request_logs.count_documents({"request_id": request_id["X-Request-ID"]}) == 0


def test_two_hundred_requests_are_two_hundred_rows(psp: Psp, account: Account) -> None:
    for _ in range(200):
        psp.get("/refunds", headers=account.key)

    until(lambda: listed(psp, account)["totalRequestLogs"] >= 200)
    page = listed(psp, account, limit=100)

    assert page["totalRequestLogs"] == 200
    again = listed(psp, account, limit=100, cursor=page["nextCursor"])
    assert len({row["id"] for row in [*page["requestLogs"], *again["requestLogs"]]}) == 200
    times = [row["createdAt"] for row in page["requestLogs"]]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"method": "POST"}, 1),
        ({"route": "/api/v1/payments/{payment_id}"}, 2),
        ({"status": "404"}, 2),
        ({"status": "4xx"}, 2),
        ({"status": "2xx"}, 1),
        ({"status": "5xx"}, 0),
        ({"method": "GET", "status": "404", "createdFrom": "2026-01-01T00:00:00Z"}, 2),
        ({"createdTo": "2026-01-01T00:00:00Z"}, 0),
        ({"requestId": "none"}, 0),
    ],
)
def test_a_list_can_be_filtered(psp: Psp, account: Account, query: dict[str, str], count: int) -> None:
    psp.charge(account)
    for _ in range(2):
        psp.get("/payments/none", headers=account.key)
    until(lambda: listed(psp, account)["totalRequestLogs"] == 3)

    assert listed(psp, account, **query)["totalRequestLogs"] == count


@pytest.mark.parametrize(
    "query",
    [
        *({"status": "6xx"}, {"status": "20"}, {"status": "2XX"}, {"method": "get"}, {"route": ""}, {"limit": "0"}),
        *({"statuses": "200"}, {"cursor": "x"}, {"createdFrom": "1"}),
    ],
    ids=str,
)
def test_a_filter_that_is_none_is_refused(psp: Psp, merchant: Account, query: dict[str, str]) -> None:
    assert psp.get("/request-logs", params=query, headers=merchant.bearer).status_code == 422


def test_bodies_are_cut(psp: Psp, account: Account) -> None:
    answer = psp.charge(account, details="x" * 10, metadata={f"key{number}": "y" * 500 for number in range(40)})
    assert answer.status_code == 201

    row = logged(psp, account, answer)

    assert len(row["requestBody"]) == len(row["responseBody"]) == 4096
    assert row["requestBody"].startswith('{"customerName":')
