"""Accounts and payments for tests, made through the API as any client makes them."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

import httpx

API = "/api/v1"
VISA, DECLINED, NEEDS_3DS = "4242424242424242", "4000000000009995", "4000002760003184"
PASSWORD = "correct-horse-battery"


def card(number: str = VISA, **fields: Any) -> dict[str, Any]:
    """A card as a client sends it."""
    return {"number": number, "expMonth": 12, "expYear": 2040, "cvc": "123", **fields}


@dataclass(frozen=True)
class Account:
    """A registered account with everything it can show."""

    id: str
    email: str
    password: str
    role: str
    api_key: str
    webhook_secret: str
    token: str
    refresh_token: str

    @property
    def key(self) -> dict[str, str]:
        return {"X-API-Key": self.api_key}

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def both(self) -> dict[str, str]:
        return {**self.key, **self.bearer}


class Psp:
    """A client of the API that knows how tests begin."""

    def __init__(self, client: httpx.Client, admin_email: str, admin_password: str):
        self.client = client
        self._admin = (admin_email, admin_password)

    def register(self, role: str = "merchant", **fields: Any) -> Account:
        """A new account that is logged in. Any role: what cannot be chosen is granted by the system_admin."""
        email = fields.pop("email", f"{secrets.token_hex(8)}@example.com")
        body = {"name": "Test Account", "email": email, "password": PASSWORD, **fields}
        if role in ("user", "merchant"):
            body["role"] = role
        made = self.post("/users/register", json=body)
        assert made.status_code == 201, made.text
        if role == "admin":
            granted = self.patch(f"/users/{made.json()['userId']}/role", json={"new_role": role}, headers=self.root())
            assert granted.status_code == 200, granted.text
        session = self.login(email, body["password"]).json()
        return Account(
            made.json()["userId"],
            email,
            body["password"],
            role,
            made.json()["apiKey"],
            made.json()["webhookSecret"],
            session["access_token"],
            session["refresh_token"],
        )

    def login(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return self.post("/users/login", json={"email": email, "password": password})

    def root(self) -> dict[str, str]:
        """The first system_admin's Authorization header."""
        return {"Authorization": f"Bearer {self.login(*self._admin).json()['access_token']}"}

    def charge(self, account: Account, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = {"customerName": "Grace Hopper", "paymentAmount": 100.5, "currency": "USD", **fields}
        return self.post("/payments/charge", json=body, headers={**account.key, **(headers or {})})

    def completed(self, account: Account, **fields: Any) -> dict[str, Any]:
        """A payment that has come to its end."""
        payment: dict[str, Any] = self.charge(account, {"Prefer": "wait=30"}, **fields).json()
        assert payment["status"] == "completed", payment
        return payment

    def authorised(self, account: Account, **fields: Any) -> dict[str, Any]:
        """A payment whose money the bank holds."""
        made = self.charge(account, {"Prefer": "wait=30"}, card=card(), capture="manual", **fields)
        payment: dict[str, Any] = made.json()
        assert payment["status"] == "authorized", payment
        return payment

    def reach(self, account: Account, payment_id: str, status: str) -> dict[str, Any]:
        """The payment once it has come to this state."""
        deadline = time.monotonic() + 30
        while True:
            payment: dict[str, Any] = self.get(f"/payments/{payment_id}", headers=account.key).json()
            if payment["status"] == status:
                return payment
            assert time.monotonic() < deadline, payment
            time.sleep(0.02)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(API + path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.client.post(API + path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.client.put(API + path, **options)

    def patch(self, path: str, **options: Any) -> httpx.Response:
        return self.client.patch(API + path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.client.delete(API + path, **options)
