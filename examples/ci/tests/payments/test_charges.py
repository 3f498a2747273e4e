"""A suite that several processes share out: each has an account of its own."""

import httpx
import pytest

WAIT = {"Prefer": "wait=30"}


def card(number: str) -> dict[str, object]:
    return {"number": number, "expMonth": 12, "expYear": 2040, "cvc": "123"}


@pytest.mark.parametrize("amount", [1, 20, 300])
def test_a_charge_succeeds(psp: httpx.Client, amount: int) -> None:
    body = {"customerName": "Grace Hopper", "paymentAmount": amount, "currency": "EUR"}
    payment = psp.post("/payments/charge", json={**body, "card": card("4242424242424242")}, headers=WAIT).json()

    assert payment["status"] == "completed"


def test_a_card_without_funds_is_declined(psp: httpx.Client) -> None:
    body = {"customerName": "Grace Hopper", "paymentAmount": 10, "currency": "EUR"}
    payment = psp.post("/payments/charge", json={**body, "card": card("4000000000009995")}, headers=WAIT).json()

    assert (payment["status"], payment["failure"]["declineCode"]) == ("failed", "insufficient_funds")
