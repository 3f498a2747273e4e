"""Payment keys: a browser pays with them, and can do nothing else."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.factories import Account, Psp


def made(psp: Psp, account: Account, **fields: Any) -> tuple[str, dict[str, str]]:
    key = psp.post("/payment-keys", json=fields, headers=account.key).json()
    return key["id"], {"X-Payment-Key": key["paymentKey"]}


def pay(psp: Psp, headers: dict[str, str], **fields: Any) -> httpx.Response:
    body = {"customerName": "Grace", "paymentAmount": 5, "currency": "EUR", **fields}
    return psp.post("/payments/charge", json=body, headers=headers)


@pytest.mark.parametrize(("uses", "paid"), [(1, 1), (3, 3), (None, 5)])
def test_a_key_opens_as_many_payments_as_it_may(psp: Psp, merchant: Account, uses: int | None, paid: int) -> None:
    key_id, headers = made(psp, merchant, maxUses=uses)

    answers = [pay(psp, headers) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [201] * paid + [409] * (5 - paid)
    assert all(answer.json()["code"] == "payment_key_used_up" for answer in answers[paid:])
    assert psp.get(f"/payment-keys/{key_id}", headers=merchant.key).json()["uses"] == uses


def test_of_many_charges_at_once_a_single_use_opens_one(psp: Psp, merchant: Account) -> None:
    _, headers = made(psp, merchant)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: pay(psp, {**headers, "Idempotency-Key": f"{n}"}), range(20)))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19


def test_a_used_up_key_still_repeats_its_answer(psp: Psp, merchant: Account) -> None:
    _, headers = made(psp, merchant)
    once = {**headers, "Idempotency-Key": "k"}

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: pay(psp, once), range(20)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1


def test_a_fixed_amount_and_currency_hold(psp: Psp, merchant: Account) -> None:
    _, headers = made(psp, merchant, amount=5, currency="EUR")

    assert pay(psp, headers, paymentAmount=6).json()["detail"][0]["loc"] == ["body", "paymentAmount"]
    assert pay(psp, headers, currency="USD").json()["detail"][0]["loc"] == ["body", "currency"]
    assert pay(psp, headers).status_code == 201


def test_a_key_is_an_idempotency_scope_of_its_own(psp: Psp, merchant: Account) -> None:
    _, headers = made(psp, merchant)

    mine = pay(psp, {**merchant.key, "Idempotency-Key": "shared"})
    theirs = pay(psp, {**headers, "Idempotency-Key": "shared"})

    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]


def test_a_key_that_is_revoked_or_made_up_opens_nothing(psp: Psp, merchant: Account) -> None:
    key_id, headers = made(psp, merchant)
    assert psp.delete(f"/payment-keys/{key_id}", headers=psp.register().key).status_code == 404
    assert psp.delete(f"/payment-keys/{key_id}", headers=merchant.key).status_code == 200

    revoked, garbage = pay(psp, headers), pay(psp, {"X-Payment-Key": "pk_garbage"})

    assert (revoked.status_code, revoked.json()["code"]) == (401, "payment_key_expired")
    assert (garbage.status_code, garbage.json()["code"]) == (401, "invalid_payment_key")


def test_a_key_opens_no_customers_and_no_saved_cards(psp: Psp, merchant: Account) -> None:
    _, headers = made(psp, merchant)
    customer = psp.post("/customers", json={"name": "Grace"}, headers=merchant.key).json()["id"]

    assert pay(psp, headers, customerId=customer).status_code == 403
    assert pay(psp, headers, cardId="card_x").status_code == 403


@pytest.mark.parametrize(
    "fields", [{"amount": 5}, {"maxUses": 0}, {"expiresIn": 0}, {"amount": 1.001, "currency": "EUR"}, {"x": 1}]
)
def test_a_key_that_makes_no_sense_is_refused(psp: Psp, merchant: Account, fields: dict[str, Any]) -> None:
    assert psp.post("/payment-keys", json=fields, headers=merchant.key).status_code == 422
