"""Sending the documented requests to a running server, each with an account and objects of its own."""

import hmac
import json
import secrets
import time
from typing import Any
from urllib.parse import urlencode

import httpx

from routers.roles import ROLE_TABLE, Access, Needs
from tests.docs.markdown import RouteSection
from tests.factories import NEEDS_3DS, PASSWORD, Account, Psp, card
from tests.receiver import Receiver


def send(psp: Psp, part: RouteSection) -> httpx.Response:
    """The sample request of a section, in which only ids, credentials and signatures are others."""
    account = psp.register()
    ids = _objects(psp, account, part)
    sample, headers = part.request, dict(part.request.headers)
    if "Authorization" in headers:
        opens_for_all = ROLE_TABLE[part.method, part.path].roles == Access(Needs.TOKEN).roles
        headers |= account.bearer if opens_for_all else psp.root()
    if "X-API-Key" in headers:
        headers |= account.key
    body = _body(account, part, ids)
    if "X-Signature" in headers:
        headers["X-Signature"] = hmac.new(account.webhook_secret.encode(), body, "sha256").hexdigest()
    params = {name: ids["payment_id"] if name == "paymentId" else value for name, value in sample.query.items()}
    return psp.client.request(part.method, part.path.format_map(ids), params=params, headers=headers, content=body)


def stops_a_payment(part: RouteSection) -> bool:
    """Whether the request makes sense only where payments stay pending."""
    return part.path.endswith("/cancel") or part.method == "DELETE"


def _body(account: Account, part: RouteSection, ids: dict[str, str]) -> bytes:
    sample = part.request
    if part.path.endswith("/auth/token"):
        return urlencode({**sample.form, "username": account.email, "password": PASSWORD}).encode()
    if not sample.body or sample.headers["Content-Type"] != "application/json":
        return sample.body.encode()
    own: dict[str, Any] = {"refresh_token": account.refresh_token, "password": PASSWORD, "email": account.email}
    if part.path.endswith("/register"):
        own["email"] = f"{secrets.token_hex(8)}@example.com"
    if "customers" in part.path:
        own["email"] = sample.json.get("email")
    own |= {"paymentId": ids.get("payment_id"), "cardId": ids.get("card_id")}
    own |= {"webhookEndpointId": ids.get("endpoint_id")}
    replaced = {name: own[name] for name in sample.json.keys() & own.keys()}
    return json.dumps({**sample.json, **replaced}).encode() if replaced else sample.body.encode()


def _objects(psp: Psp, account: Account, part: RouteSection) -> dict[str, str]:
    """What the path and the body of the request name, in the state in which the request makes sense."""
    ids = {"user_id": account.id, "resource": "transactions"}
    if "/sessions" in part.path:
        ids["session_id"] = psp.get("/sessions", headers=account.bearer).json()["sessions"][0]["id"]
    if "/request-logs" in part.path:
        ids["log_id"] = _logged_request(psp, account)
    if "/api-keys" in part.path:
        body = {"name": "nightly report", "scopes": ["events:read"], "allowedNetworks": ["127.0.0.0/8"]}
        made = psp.post("/api-keys", json=body, headers=account.key)
        ids["api_key_id"] = made.json()["id"]
    if "/customers" in part.path:
        made = psp.post("/customers", json={"name": "Grace Hopper"}, headers=account.key)
        ids["customer_id"] = made.json()["id"]
        saved = psp.post(f"/customers/{made.json()['id']}/cards", json={"card": card()}, headers=account.key)
        ids["card_id"] = saved.json()["id"]
    if part.path.startswith("/3ds"):
        challenge = _payment(psp, account, part)["nextAction"]["url"]
        ids["payment_id"], ids["proof"] = challenge.split("/")[-2:]
    elif any(word in part.path for word in ("/payments", "/refunds", "/{resource}")):
        ids["payment_id"] = ids["resource_id"] = _payment(psp, account, part, ids.get("card_id"))["id"]
    if "/refunds" in part.path and part.method == "GET":
        ids["refund_id"] = _listed_refund(psp, account, ids["payment_id"])
    if "/events" in part.path:
        _payment(psp, account, part)
        ids["event_id"] = _listed_event(psp, account)
    if "/payment-keys" in part.path:
        made = psp.post("/payment-keys", json={"amount": 1, "currency": "USD"}, headers=account.key)
        ids["payment_key_id"] = made.json()["id"]
    return ids | _webhook_objects(psp, account, part)


def _webhook_objects(psp: Psp, account: Account, part: RouteSection) -> dict[str, str]:
    ids: dict[str, str] = {}
    if "/webhook-endpoints" in part.path:
        made = psp.post("/webhook-endpoints", json={"url": "http://127.0.0.1:9", "events": ["*"]}, headers=account.key)
        ids["endpoint_id"] = made.json()["id"]
    if "/deliveries" in part.path or part.path.endswith("/resend"):
        ids |= _delivered(psp, account)
    if "/resend-jobs" in part.path:
        body = {"from": "2026-11-21T00:00:00Z", "to": "2026-11-22T00:00:00Z"}
        ids["job_id"] = psp.post("/resend-jobs", json=body, headers=account.key).json()["id"]
    if "/incoming-webhooks" in part.path:
        ids["webhook_id"] = _received(psp, account)
    return ids


def _delivered(psp: Psp, account: Account) -> dict[str, str]:
    """An endpoint with a delivery that has arrived."""
    with Receiver() as receiver:
        receiver.headers = {"content-type": "text/plain"}
        body = {"url": receiver.url, "events": ["*"]}
        endpoint_id = psp.post("/webhook-endpoints", json=body, headers=account.key).json()["id"]
        tested = psp.post(f"/webhook-endpoints/{endpoint_id}/test", headers=account.key).json()
        deadline, query = time.monotonic() + 10, {"status": "delivered"}
        while not psp.get("/deliveries", params=query, headers=account.key).json()["deliveries"]:
            assert time.monotonic() < deadline, "the delivery is in no list"
            time.sleep(0.02)
    return {"endpoint_id": endpoint_id, "event_id": tested["eventId"], "delivery_id": tested["deliveryId"]}


def _logged_request(psp: Psp, account: Account) -> str:
    """A request that the log shows already."""
    psp.get("/users/me", headers=account.bearer)
    deadline = time.monotonic() + 10
    while not (found := psp.get("/request-logs", headers=account.bearer).json()["requestLogs"]):
        assert time.monotonic() < deadline, "the request is in no list"
        time.sleep(0.02)
    return str(found[0]["id"])


def _received(psp: Psp, account: Account) -> str:
    """A webhook that was received."""
    body = b'{"id":"evt_1","event":"order.paid","data":{}}'
    signature = hmac.new(account.webhook_secret.encode(), body, "sha256").hexdigest()
    headers = {"Content-Type": "application/json", "X-Signature": signature}
    psp.post("/webhook-receive", content=body, headers={**account.key, **headers})
    return str(psp.get("/incoming-webhooks", headers=account.key).json()["incomingWebhooks"][0]["id"])


def _payment(psp: Psp, account: Account, part: RouteSection, card_id: str | None = None) -> dict[str, Any]:
    """A payment for this request: with a card where the sample shows one, and at rest but for what stops it."""
    fields: dict[str, Any] = {"currency": part.request.query.get("currency", "USD"), "paymentAmount": 100}
    if card_id is not None:
        fields["cardId"] = card_id
    elif '"card": {' in part.answer.body:
        fields["card"] = card()
    if part.path.endswith("/capture"):
        fields["capture"] = "manual"
    if part.path.endswith("/authenticate") or part.path.startswith("/3ds"):
        fields["card"] = card(NEEDS_3DS)
    wait = {} if stops_a_payment(part) else {"Prefer": "wait=10"}
    made: dict[str, Any] = psp.charge(account, wait, **fields).json()
    return made


def _listed_refund(psp: Psp, account: Account, payment_id: str) -> str:
    """A refund that the list shows already."""
    made = psp.post("/refunds", json={"paymentId": payment_id, "amount": 40}, headers=account.key)
    deadline = time.monotonic() + 10
    while not psp.get("/refunds", headers=account.key).json()["refunds"]:
        assert time.monotonic() < deadline, "the refund is in no list"
        time.sleep(0.02)
    return str(made.json()["id"])


def _listed_event(psp: Psp, account: Account) -> str:
    """The event of a payment that has come to its end."""
    deadline = time.monotonic() + 10
    while not (found := psp.get("/events", params={"type": "payment.completed"}, headers=account.key).json()["events"]):
        assert time.monotonic() < deadline, "the event is in no list"
        time.sleep(0.02)
    return str(found[0]["id"])
