"""What an account can have: one object of each kind, made through the API when it is asked for."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from domain.signing import plain_signature
from tests.factories import NEEDS_3DS, VISA, Account, Psp, card

Row = dict[str, Any]
NOBODY_LISTENS = "http://127.0.0.1:9/hook"


class Belongings:
    """The ids of a merchant's objects, by the names that routes have for them: `belongings["customer_id"]`.

    A KeyError is a route's parameter that nothing is known for: add to MAKERS how such an object comes about.
    """

    def __init__(self, psp: Psp, account: Account):
        self.psp = psp
        self.account = account
        self.word = secrets.token_hex(8)
        """Stands in names, references, e-mail addresses and idempotency keys, so that somebody else can try it."""
        self._made: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._made:
            self._made[name] = MAKERS[name](self)
        return self._made[name]

    def post(self, path: str, body: Row | None = None, headers: Mapping[str, str] | None = None) -> Row:
        """What is made, under the word as idempotency key."""
        sent = {**self.account.key, "Idempotency-Key": self.word, **(headers or {})}
        answer = self.psp.post(path, headers=sent, **({} if body is None else {"json": body}))
        assert answer.is_success, answer.text
        made: Row = answer.json()
        return made

    def first(self, path: str, **query: Any) -> Row:
        """The newest of a list, once there is one."""
        deadline = time.monotonic() + 30
        while True:
            page = self.psp.get(path, params=query, headers=self.account.both).json()
            (rows,) = (value for value in page.values() if isinstance(value, list))
            if rows:
                found: Row = rows[0]
                return found
            assert time.monotonic() < deadline, f"nothing in {path}"
            time.sleep(0.05)


def _customer(of: Belongings) -> str:
    body = {"name": f"Name {of.word}", "email": f"{of.word}@example.com", "phone": "+44 20 7946 0018"}
    return str(of.post("/customers", body)["id"])


def _payment(of: Belongings) -> str:
    """One that waits for its cardholder: whoever may can still capture, cancel and authenticate it."""
    body = {
        "paymentAmount": 100.5,
        "currency": "USD",
        "card": card(NEEDS_3DS),
        "reference": of.word,
        "customerName": f"Name {of.word}",
    }
    payment = of.post(f"/customers/{of['customer_id']}/payments", body, {"Prefer": "wait=30"})
    assert payment["status"] == "requires_action", payment
    of._made["proof"] = payment["nextAction"]["url"].rpartition("/")[2]
    return str(payment["id"])


def _proof(of: Belongings) -> str:
    assert of["payment_id"]
    return of._made["proof"]


def _refund(of: Belongings) -> str:
    return str(of.post("/refunds", {"paymentId": of.psp.completed(of.account)["id"]})["id"])


def _webhook(of: Belongings) -> str:
    body = json.dumps({"id": f"evt_{of.word}", "event": "order.paid", "data": {}}).encode()
    headers = {"Content-Type": "application/json", "X-Signature": plain_signature(of.account.webhook_secret, body)}
    received = of.psp.post("/webhook-receive", content=body, headers={**of.account.key, **headers})
    assert received.is_success, received.text
    return str(of.first("/incoming-webhooks")["id"])


def _session(of: Belongings) -> str:
    """Of another login than the account's own."""
    assert of.psp.login(of.account.email).is_success
    rows = of.psp.get("/sessions", headers=of.account.bearer).json()["sessions"]
    return str(next(row["id"] for row in rows if not row["current"]))


def _logged(of: Belongings) -> Row:
    of.psp.get("/users/me", headers=of.account.bearer)
    return of.first("/request-logs")


MAKERS: Mapping[str, Callable[[Belongings], str]] = {
    "user_id": lambda of: of.account.id,
    "customer_id": _customer,
    "payment_id": _payment,
    "proof": _proof,
    "refund_id": _refund,
    "card_id": lambda of: str(of.post(f"/customers/{of['customer_id']}/cards", {"card": card(VISA)})["id"]),
    "card_token": lambda of: str(of.post("/tokens", card(VISA))["id"]),
    "payment_key_id": lambda of: str(of.post("/payment-keys", {})["id"]),
    "endpoint_id": lambda of: str(of.post("/webhook-endpoints", {"url": NOBODY_LISTENS, "events": ["refund.*"]})["id"]),
    "delivery_id": lambda of: str(of.post(f"/webhook-endpoints/{of['endpoint_id']}/test")["deliveryId"]),
    "event_id": lambda of: str(of.first("/events", objectId=of["customer_id"])["id"]),
    "job_id": lambda of: str(of.post("/resend-jobs", {"from": "2026-01-01", "to": "2026-01-02"})["id"]),
    "webhook_id": _webhook,
    "session_id": _session,
    "log_id": lambda of: str(_logged(of)["id"]),
    "request_id": lambda of: str(_logged(of)["requestId"]),
    "api_key_id": lambda of: str(of.post("/api-keys", {"name": "other", "scopes": ["webhooks"]})["id"]),
}
