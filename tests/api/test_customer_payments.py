"""The payments of a customer: charged, listed, read; they outlive the customer."""

import itertools
from typing import Any

import httpx
import pytest

from tests.factories import Account, Psp

Row = dict[str, Any]
CARD: Row = {"number": "4242424242424242", "expMonth": 12, "expYear": 2040, "cvc": "123"}
_names = itertools.count()


def unique() -> dict[str, str]:
    return {"Idempotency-Key": f"customer-payment-{next(_names)}"}


def customer(psp: Psp, account: Account, name: str = "Ada Lovelace") -> str:
    return str(psp.post("/customers", json={"name": name}, headers=account.key).json()["id"])


def charge(
    psp: Psp, account: Account, customer_id: str, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    body = {"paymentAmount": 25, "currency": "EUR", **fields}
    return psp.post(f"/customers/{customer_id}/payments", json=body, headers={**account.key, **(headers or {})})


def payments(psp: Psp, account: Account, customer_id: str, **query: str) -> Row:
    answer = psp.get(f"/customers/{customer_id}/payments", params=query, headers=account.key)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def missing(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("fields", [{}, {"customerName": "Somebody Else"}, {"customerName": None}])
def test_a_charge_takes_the_customers_name_unless_it_has_one(psp: Psp, merchant: Account, fields: Row) -> None:
    customer_id = customer(psp, merchant)

    answer = charge(psp, merchant, customer_id, {"Prefer": "wait=30"}, card=CARD, **fields)

    payment = answer.json()
    assert (answer.status_code, payment["status"]) == (201, "completed")
    assert (payment["customerId"], payment["customerName"]) == (
        customer_id,
        fields.get("customerName") or "Ada Lovelace",
    )
    path = f"/customers/{customer_id}/payments/{payment['id']}"
    assert psp.get(path, headers=merchant.key).json() == payment
    assert psp.get(f"/payments/{payment['id']}", headers=merchant.key).json() == payment


@pytest.mark.parametrize("name", ["", " ", "x" * 201, 5])
def test_a_name_that_is_sent_must_be_one(psp: Psp, merchant: Account, name: object) -> None:
    answer = charge(psp, merchant, customer(psp, merchant), customerName=name)

    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", "customerName"]]


def test_the_customer_stands_in_the_path_and_not_in_the_body(psp: Psp, merchant: Account) -> None:
    customer_id = customer(psp, merchant)

    answer = charge(psp, merchant, customer_id, customerId=customer_id)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "customerId"]


@pytest.mark.parametrize("credential", ["key", "bearer", "both"])
def test_either_credential_opens_every_route(psp: Psp, merchant: Account, credential: str) -> None:
    headers = getattr(merchant, credential)
    path = f"/customers/{customer(psp, merchant)}/payments"
    made = psp.post(path, json={"paymentAmount": 1, "currency": "USD"}, headers=headers)

    assert made.status_code == 201
    assert psp.get(path, headers=headers).json()["totalTransactions"] == 1
    assert psp.get(f"{path}/{made.json()['id']}", headers=headers).status_code == 200


def test_payments_are_listed_newest_first_in_pages_whichever_route_made_them(psp: Psp, merchant: Account) -> None:
    customer_id, other = customer(psp, merchant), customer(psp, merchant)
    card = psp.post(f"/customers/{customer_id}/cards", json={"card": CARD}, headers=merchant.key).json()
    made = [
        charge(psp, merchant, customer_id),
        psp.charge(merchant, customerId=customer_id),
        psp.charge(merchant, cardId=card["id"]),
        charge(psp, merchant, customer_id, cardId=card["id"]),
        charge(psp, merchant, customer_id, card=CARD),
    ]
    charge(psp, merchant, other)
    psp.charge(merchant)
    seen, cursor = list[str](), None

    while True:
        page = payments(psp, merchant, customer_id, limit="2", **({"cursor": cursor} if cursor else {}))
        assert (page["totalTransactions"], page["userId"]) == (5, merchant.id)
        seen += [payment["id"] for payment in page["transactions"]]
        cursor = page["nextCursor"]
        assert page["hasMore"] is (cursor is not None)
        if cursor is None:
            break

    assert seen == [answer.json()["id"] for answer in made][::-1]


def test_a_customer_without_payments_has_an_empty_list(psp: Psp, merchant: Account) -> None:
    page = payments(psp, merchant, customer(psp, merchant))

    assert (page["transactions"], page["totalTransactions"], page["hasMore"]) == ([], 0, False)


def test_a_deleted_payment_is_not_shown(psp: Psp, merchant: Account) -> None:
    customer_id = customer(psp, merchant)
    payment_id = charge(psp, merchant, customer_id).json()["id"]
    psp.delete(f"/transactions/{payment_id}", headers=merchant.bearer)

    assert payments(psp, merchant, customer_id)["transactions"] == []
    assert missing(psp.get(f"/customers/{customer_id}/payments/{payment_id}", headers=merchant.key))


def test_payments_stay_when_the_customer_is_deleted(psp: Psp, merchant: Account) -> None:
    customer_id, once = customer(psp, merchant), unique()
    first = charge(psp, merchant, customer_id, {**once, "Prefer": "wait=30"})
    payment = first.json()

    assert psp.delete(f"/customers/{customer_id}", headers=merchant.key).status_code == 200

    assert psp.get(f"/payments/{payment['id']}", headers=merchant.key).json() == payment
    path = f"/customers/{customer_id}/payments/{payment['id']}"
    assert psp.get(path, headers=merchant.key).json() == payment
    assert payments(psp, merchant, customer_id)["transactions"] == [payment]
    query = {"customerName": "Ada Lovelace", "limit": "100"}
    found = psp.get("/payments/query", params=query, headers=merchant.both).json()["transactions"]
    assert payment["id"] in {one["id"] for one in found}
    assert missing(charge(psp, merchant, customer_id))
    assert missing(psp.charge(merchant, customerId=customer_id))
    replayed = charge(psp, merchant, customer_id, {**once, "Prefer": "wait=30"})
    assert (replayed.status_code, replayed.content) == (201, first.content)
    assert replayed.headers["Idempotent-Replayed"] == "true"


def test_a_payment_of_another_customer_is_not_this_ones(psp: Psp, merchant: Account) -> None:
    payment_id = charge(psp, merchant, customer(psp, merchant)).json()["id"]

    assert missing(psp.get(f"/customers/{customer(psp, merchant)}/payments/{payment_id}", headers=merchant.key))
    assert missing(psp.get(f"/customers/{customer(psp, merchant)}/payments/txn_none", headers=merchant.key))


def test_one_payment_has_an_etag(psp: Psp, merchant: Account) -> None:
    customer_id = customer(psp, merchant)
    payment = charge(psp, merchant, customer_id, {"Prefer": "wait=30"}).json()
    path = f"/customers/{customer_id}/payments/{payment['id']}"

    etag = psp.get(path, headers=merchant.key).headers["ETag"]

    assert psp.get(path, headers={**merchant.key, "If-None-Match": etag}).status_code == 304


def test_a_key_is_repeated_to_the_byte_and_counts_for_this_route_and_customer(psp: Psp, merchant: Account) -> None:
    customer_id, once = customer(psp, merchant), unique()
    first = charge(psp, merchant, customer_id, once)

    assert charge(psp, merchant, customer_id, once).content == first.content
    for answer in (
        charge(psp, merchant, customer_id, once, paymentAmount=26),
        charge(psp, merchant, customer(psp, merchant), once),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert psp.charge(merchant, once, customerId=customer_id).json()["id"] != first.json()["id"]


def test_a_user_has_no_customers_to_charge(psp: Psp, user: Account) -> None:
    assert charge(psp, user, "cus_none").status_code == 403
    assert missing(psp.charge(user, customerId="cus_none"))
