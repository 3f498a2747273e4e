"""Every way in which a request changes the database: how to prepare and send it, and how often it has happened."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx

from tests.books import Documents, wait_until_idle
from tests.factories import NEEDS_3DS, PASSWORD, Account, Psp, card

HOOK = "http://127.0.0.1:9/hook"


@dataclass(frozen=True)
class Stage:
    psp: Psp
    database: Documents
    merchant: Account
    root: dict[str, str]

    def idle(self) -> None:
        wait_until_idle(self.database, self.merchant.id)

    def count(self, collection: str, **where: Any) -> int:
        return self.database[collection].count_documents(where)

    def audited(self, action: str, target_id: str, changed: bool | int) -> int:
        """How often something was changed; it stands in the audit log as often."""
        written = self.count("audit", action=action, target_id=target_id)
        assert written == changed, (action, written, changed)
        return written


@dataclass(frozen=True)
class Trial:
    send: Callable[[], httpx.Response]
    happened: Callable[[], int]
    """How often what was asked for has happened: 0 or 1, or something is wrong."""


@dataclass(frozen=True)
class WritePath:
    """`steps` are its commands, each with its collection."""

    name: str
    steps: tuple[str, ...]
    prepare: Callable[[Stage], Trial]
    replayed: bool = False
    """Whether it has an Idempotency-Key: a repetition is answered as the first time, to the byte."""
    repeatable: bool = True
    """Whether sending it again can do no harm."""


def key() -> dict[str, str]:
    return {"Idempotency-Key": secrets.token_hex(8)}


def charge(stage: Stage, *, keyed: bool = True, token: bool = False) -> Trial:
    reference = secrets.token_hex(8)
    body = {"customerName": "Grace Hopper", "paymentAmount": 7, "currency": "EUR", "reference": reference}
    if token:
        made = stage.psp.post("/tokens", json=card(), headers=stage.merchant.key)
        body["cardToken"] = made.json()["id"]
    headers = {**stage.merchant.key, **(key() if keyed else {})}
    send = partial(stage.psp.post, "/payments/charge", json=body, headers=headers)
    return Trial(send, lambda: stage.count("payments", reference=reference))


def charge_customer(stage: Stage) -> Trial:
    owner, customer_id = customer(stage)
    reference = secrets.token_hex(8)
    body = {"paymentAmount": 7, "currency": "EUR", "reference": reference}
    path = f"/customers/{customer_id}/payments"
    send = partial(stage.psp.post, path, json=body, headers={**owner.key, **key()})
    return Trial(send, lambda: stage.count("payments", reference=reference))


def command(name: str, body: dict[str, Any], stage: Stage) -> Trial:
    """Of a payment that waits for it."""
    if name == "authenticate":
        payment_id = stage.psp.charge(stage.merchant, card=card(NEEDS_3DS)).json()["id"]
    else:
        payment_id = stage.psp.authorised(stage.merchant)["id"]
    stage.idle()
    path = f"/payments/{payment_id}/{name}"
    send = partial(stage.psp.post, path, json=body, headers={**stage.merchant.key, **key()})
    return Trial(send, lambda: stage.count("payments", _id=payment_id, claims={"$size": 1}))


def refund(stage: Stage, *, keyed: bool) -> Trial:
    payment_id = stage.psp.completed(stage.merchant)["id"]
    stage.idle()
    body = {"paymentId": payment_id, "amount": 1}
    send = partial(stage.psp.post, "/refunds", json=body, headers={**stage.merchant.key, **(key() if keyed else {})})

    def happened() -> int:
        payment = stage.database["payments"].find_one({"_id": payment_id})
        assert payment is not None
        return len(payment.get("refunds", ()))

    return Trial(send, happened)


def amend_payment(stage: Stage) -> Trial:
    payment_id, details = stage.psp.completed(stage.merchant)["id"], secrets.token_hex(8)
    stage.idle()
    send = partial(stage.psp.patch, f"/payments/{payment_id}", json={"details": details}, headers=stage.merchant.key)
    return Trial(send, lambda: stage.count("payments", _id=payment_id, details=details))


def delete_payment(stage: Stage) -> Trial:
    payment_id = stage.psp.authorised(stage.merchant)["id"]
    stage.idle()
    send = partial(stage.psp.delete, f"/transactions/{payment_id}", headers=stage.merchant.bearer)
    return Trial(send, lambda: stage.count("payments", _id=payment_id, deleted=True))


def register(stage: Stage) -> Trial:
    email = f"{secrets.token_hex(8)}@example.com"
    body = {"name": "Grace Hopper", "email": email, "password": PASSWORD}
    return Trial(partial(stage.psp.post, "/users/register", json=body), lambda: stage.count("users", email=email))


def log_in(stage: Stage) -> Trial:
    someone = stage.psp.register("user")
    send = partial(stage.psp.login, someone.email)
    return Trial(send, lambda: stage.count("sessions", owner_id=someone.id) - 1)


def refresh(stage: Stage) -> Trial:
    someone = stage.psp.register("user")
    before = stage.database["sessions"].find_one({"owner_id": someone.id})
    assert before is not None
    send = partial(stage.psp.post, "/users/refresh", json={"refresh_token": someone.refresh_token})
    changed = {"owner_id": someone.id, "refresh_hash": {"$ne": before["refresh_hash"]}}
    return Trial(send, lambda: stage.database["sessions"].count_documents(changed))


def log_out(stage: Stage) -> Trial:
    someone = stage.psp.register("user")
    send = partial(stage.psp.post, "/users/logout", headers=someone.bearer)
    return Trial(send, lambda: stage.count("sessions", owner_id=someone.id, ended=True))


def change_password(stage: Stage) -> Trial:
    someone = stage.psp.register("user")
    before = stage.database["users"].find_one({"_id": someone.id})
    assert before is not None
    body = {"currentPassword": PASSWORD, "newPassword": "another-battery-staple"}
    send = partial(stage.psp.post, "/users/me/password", json=body, headers=someone.bearer)

    def happened() -> int:
        changed = stage.count("users", _id=someone.id, password_hash={"$ne": before["password_hash"]})
        return stage.audited("account.password_changed", someone.id, changed)

    return Trial(send, happened)


def change_role(stage: Stage) -> Trial:
    someone = stage.psp.register("user")
    send = partial(stage.psp.patch, f"/users/{someone.id}/role", json={"new_role": "merchant"}, headers=stage.root)
    return Trial(send, lambda: stage.count("users", _id=someone.id, role="merchant"))


def delete_account(stage: Stage) -> Trial:
    someone = stage.psp.register("user")
    send = partial(stage.psp.delete, f"/users/{someone.id}", headers=stage.root)
    return Trial(send, lambda: stage.count("users", _id=someone.id, deleted=True))


def rotate_account_secret(stage: Stage) -> Trial:
    someone = stage.psp.register("user")
    send = partial(stage.psp.post, "/users/me/webhook-secret/rotate", headers=someone.key)
    before = stage.database["users"].find_one({"_id": someone.id})
    assert before is not None

    def happened() -> int:
        changed = stage.count("users", _id=someone.id, webhook_secret={"$ne": before["webhook_secret"]})
        return stage.audited("account.webhook_secret_rotated", someone.id, changed)

    return Trial(send, happened)


def make_api_key(stage: Stage) -> Trial:
    someone = stage.psp.register()
    send = partial(
        stage.psp.post, "/api-keys", json={"name": "second", "scopes": ["payments:read"]}, headers=someone.bearer
    )

    def happened() -> int:
        changed = stage.count("users", _id=someone.id, api_keys={"$size": 2})
        assert stage.count("audit", account_id=someone.id, action="api_key.made") == changed
        return changed

    return Trial(send, happened)


def change_api_key(action: str, stage: Stage) -> Trial:
    someone = stage.psp.register("user")
    (before,) = stage.psp.get("/api-keys", headers=someone.bearer).json()["apiKeys"]
    path = f"/api-keys/{before['id']}"
    row = stage.database["users"].find_one({"_id": someone.id})
    assert row is not None
    if action == "rotated":
        send = partial(stage.psp.post, f"{path}/rotate", headers=someone.bearer)
        changed: dict[str, Any] = {"api_keys.0.hash": {"$ne": row["api_keys"][0]["hash"]}}
    else:
        send = partial(stage.psp.delete, path, headers=someone.bearer)
        changed = {"api_keys": []}
    return Trial(
        send, lambda: stage.audited(f"api_key.{action}", before["id"], stage.count("users", _id=someone.id, **changed))
    )


def customer(stage: Stage) -> tuple[Account, str]:
    """One with a card, and their merchant."""
    owner = stage.psp.register("merchant")
    made = stage.psp.post("/customers", json={"name": "Ada Lovelace"}, headers=owner.key).json()
    stage.psp.post(f"/customers/{made['id']}/cards", json={"card": card()}, headers=owner.key)
    return owner, made["id"]


def make_customer(stage: Stage) -> Trial:
    name = secrets.token_hex(8)
    owner = stage.psp.register("merchant")
    send = partial(stage.psp.post, "/customers", json={"name": name}, headers={**owner.key, **key()})
    return Trial(send, lambda: stage.count("customers", name=name))


def amend_customer(stage: Stage) -> Trial:
    owner, customer_id = customer(stage)
    body = {"description": "first"}
    send = partial(stage.psp.patch, f"/customers/{customer_id}", json=body, headers=owner.key)
    return Trial(send, lambda: stage.count("customers", _id=customer_id, description="first", sequence=2))


def delete_customer(stage: Stage) -> Trial:
    owner, customer_id = customer(stage)
    send = partial(stage.psp.delete, f"/customers/{customer_id}", headers=owner.key)

    def happened() -> int:
        gone = stage.count("customers", _id=customer_id, deleted=True, sequence=2)
        assert stage.count("cards", **{"customer_id": customer_id, "card.sealed_pan": {"$exists": True}}) == 1 - gone
        return gone

    return Trial(send, happened)


def save_card(stage: Stage) -> Trial:
    owner, customer_id = customer(stage)
    token = stage.psp.post("/tokens", json=card(), headers=owner.key).json()["id"]
    path = f"/customers/{customer_id}/cards"
    send = partial(stage.psp.post, path, json={"cardToken": token}, headers={**owner.key, **key()})

    def happened() -> int:
        saved = stage.count("cards", customer_id=customer_id) - 1
        assert stage.count("card_tokens", _id=token, claimed_by={"$exists": True}) == saved
        return saved

    return Trial(send, happened)


def make_token(stage: Stage) -> Trial:
    owner = stage.psp.register("user")
    send = partial(stage.psp.post, "/tokens", json=card(), headers={**owner.key, **key()})
    return Trial(send, lambda: stage.count("card_tokens", owner_id=owner.id))


def make_payment_key(stage: Stage) -> Trial:
    owner = stage.psp.register("merchant")
    send = partial(stage.psp.post, "/payment-keys", json={"expiresIn": 600}, headers=owner.key)
    return Trial(send, lambda: stage.count("payment_keys", owner_id=owner.id))


def revoke_payment_key(stage: Stage) -> Trial:
    made = stage.psp.post("/payment-keys", json={"expiresIn": 600}, headers=stage.merchant.key).json()
    send = partial(stage.psp.delete, f"/payment-keys/{made['id']}", headers=stage.merchant.key)
    return Trial(send, lambda: stage.count("payment_keys", _id=made["id"], revoked=True))


def make_endpoint(stage: Stage) -> Trial:
    owner = stage.psp.register("merchant")
    body = {"url": HOOK, "events": ["customer.created"]}
    send = partial(stage.psp.post, "/webhook-endpoints", json=body, headers=owner.key)
    return Trial(send, lambda: stage.count("webhook_endpoints", owner_id=owner.id))


def on_endpoint(action: str, stage: Stage) -> Trial:
    owner = stage.psp.register("merchant")
    body = {"url": HOOK, "events": ["customer.created"]}
    endpoint_id = stage.psp.post("/webhook-endpoints", json=body, headers=owner.key).json()["id"]
    before = stage.database["webhook_endpoints"].find_one({"_id": endpoint_id})
    assert before is not None
    path = f"/webhook-endpoints/{endpoint_id}"
    changed: dict[str, Any]
    if action == "amend":
        send = partial(stage.psp.patch, path, json={"description": "first"}, headers=owner.key)
        changed = {"description": "first"}
    elif action == "disable":
        send = partial(stage.psp.patch, path, json={"status": "disabled"}, headers=owner.key)
        changed = {"status": "disabled"}
    elif action == "delete":
        send, changed = partial(stage.psp.delete, path, headers=owner.key), {"deleted": True}
    elif action == "test":
        send, changed = partial(stage.psp.post, f"{path}/test", headers=owner.key), {"sequence": before["sequence"] + 1}
    else:
        send, changed = partial(stage.psp.post, f"{path}/rotate", headers=owner.key), {"version": before["version"] + 1}

    def happened() -> int:
        count = stage.count("webhook_endpoints", _id=endpoint_id, **changed)
        return stage.audited("webhook_secret.rotated", endpoint_id, count) if action == "rotate" else count

    return Trial(send, happened)


def receive_webhook(stage: Stage) -> Trial:
    body = b'{"event":"thing.happened","id":"%s","data":{}}' % secrets.token_hex(8).encode()
    owner = stage.psp.register("user")
    signature = hmac.new(owner.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {**owner.key, "Content-Type": "application/json", "X-Signature": signature}
    send = partial(stage.psp.post, "/webhook-receive", content=body, headers=headers)
    return Trial(send, lambda: stage.count("incoming_webhooks", owner_id=owner.id))


def resend_job(stage: Stage, *, cancel: bool) -> Trial:
    owner = stage.psp.register("merchant")
    until = datetime.now(UTC) - timedelta(days=1)
    body = {"from": (until - timedelta(days=1)).isoformat(), "to": until.isoformat()}
    send = partial(stage.psp.post, "/resend-jobs", json=body, headers={**owner.key, **key()})
    if not cancel:
        return Trial(send, lambda: stage.count("resend_jobs", owner_id=owner.id))
    job_id = send().json()["id"]
    cancelling = partial(stage.psp.post, f"/resend-jobs/{job_id}/cancel", headers=owner.key)
    return Trial(cancelling, lambda: stage.count("resend_jobs", _id=job_id, status="cancelled"))


def resend_event(stage: Stage) -> Trial:
    owner = stage.psp.register("merchant")
    body = {"url": HOOK, "events": ["webhook.test"]}
    endpoint_id = stage.psp.post("/webhook-endpoints", json=body, headers=owner.key).json()["id"]
    event_id = stage.psp.post(f"/webhook-endpoints/{endpoint_id}/test", headers=owner.key).json()["eventId"]
    while stage.count("events", _id=event_id) == 0:
        pass
    path, asked = f"/events/{event_id}/resend", {"webhookEndpointId": endpoint_id}
    send = partial(stage.psp.post, path, json=asked, headers={**owner.key, **key()})
    return Trial(send, lambda: stage.count("deliveries", event_id=event_id, resend_id={"$exists": True}))


AUDITED = ("insert audit", "commitTransaction 1")
WRITE_PATHS = (
    WritePath("charge", ("insert payments",), charge, replayed=True),
    WritePath("charge without a key", ("insert payments",), partial(charge, keyed=False), repeatable=False),
    WritePath(
        "charge a token", ("findAndModify card_tokens", "insert payments"), partial(charge, token=True), replayed=True
    ),
    WritePath("charge a customer", ("insert payments",), charge_customer, replayed=True),
    WritePath("cancel", ("update payments",), partial(command, "cancel", {}), replayed=True),
    WritePath("capture", ("update payments",), partial(command, "capture", {"amount": 5}), replayed=True),
    WritePath("authenticate", ("update payments",), partial(command, "authenticate", {}), replayed=True),
    WritePath("refund", ("update payments",), partial(refund, keyed=True), replayed=True),
    WritePath("refund without a key", ("update payments",), partial(refund, keyed=False), repeatable=False),
    WritePath("change a payment", ("update payments",), amend_payment),
    WritePath("delete a payment", ("update payments",), delete_payment),
    WritePath("register", ("insert users",), register),
    WritePath("log in", ("insert sessions",), log_in, repeatable=False),
    WritePath("refresh", ("update sessions",), refresh, repeatable=False),
    WritePath("log out", ("update sessions",), log_out),
    WritePath("change the password", ("update users", *AUDITED), change_password),
    WritePath("change a role", ("update users",), change_role),
    WritePath("delete an account", ("update users",), delete_account),
    WritePath("rotate one's secret", ("update users", *AUDITED), rotate_account_secret, repeatable=False),
    WritePath("make an API key", ("update users", *AUDITED), make_api_key, repeatable=False),
    WritePath("rotate an API key", ("update users", *AUDITED), partial(change_api_key, "rotated"), repeatable=False),
    WritePath("revoke an API key", ("update users", *AUDITED), partial(change_api_key, "revoked")),
    WritePath("make a customer", ("insert customers",), make_customer, replayed=True),
    WritePath("change a customer", ("update customers",), amend_customer),
    WritePath("delete a customer", ("update customers", "update cards", "commitTransaction 1"), delete_customer),
    WritePath(
        "save a card",
        ("update customers", "findAndModify card_tokens", "insert cards", "commitTransaction 1"),
        save_card,
        replayed=True,
    ),
    WritePath("make a token", ("insert card_tokens",), make_token, replayed=True),
    WritePath("make a payment key", ("insert payment_keys",), make_payment_key, repeatable=False),
    WritePath("revoke a payment key", ("update payment_keys",), revoke_payment_key),
    WritePath("make an endpoint", ("insert webhook_endpoints",), make_endpoint, repeatable=False),
    WritePath("change an endpoint", ("update webhook_endpoints",), partial(on_endpoint, "amend")),
    WritePath(
        "disable an endpoint", ("update webhook_endpoints", "update deliveries"), partial(on_endpoint, "disable")
    ),
    WritePath("delete an endpoint", ("update webhook_endpoints", "update deliveries"), partial(on_endpoint, "delete")),
    WritePath("test an endpoint", ("update webhook_endpoints",), partial(on_endpoint, "test"), repeatable=False),
    WritePath(
        "rotate an endpoint's secret",
        ("update webhook_endpoints", *AUDITED),
        partial(on_endpoint, "rotate"),
        repeatable=False,
    ),
    WritePath("receive a webhook", ("insert incoming_webhooks",), receive_webhook),
    WritePath("make a resend job", ("insert resend_jobs",), partial(resend_job, cancel=False), replayed=True),
    WritePath("cancel a resend job", ("update resend_jobs",), partial(resend_job, cancel=True)),
    WritePath("resend an event", ("insert deliveries",), resend_event, replayed=True),
)
