"""Cards on charges, as tokens, and saved for a customer."""

from typing import Any

import pymongo
import pytest

from tests.factories import Account, Psp, card

WAIT = {"Prefer": "wait=30"}


@pytest.mark.parametrize(
    ("fields", "where", "message"),
    [
        ({"number": "4242424242424241"}, "number", "Invalid card number (fails Luhn check)"),
        ({"number": "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢"}, "number", "12 to 19 digits"),
        ({"number": "5018000000000009"}, "number", "of no brand"),
        ({"number": "42424242424242"}, "number", "Invalid card number"),
        ({"number": ""}, "number", "12 to 19 digits"),
        ({"number": 4242424242424242}, "number", "valid string"),
        ({"expMonth": 13}, "expMonth", "less than or equal to 12"),
        ({"expMonth": True}, "expMonth", "valid integer"),
        ({"expYear": 20}, "expYear", "expired"),
        ({"expYear": 999}, "expYear", "two or four digits"),
        ({"cvc": "12"}, "cvc", "3 digits"),
        ({"cvc": "1234"}, "cvc", "3 digits"),
        ({"cvc": "١٢٣"}, "cvc", "3 digits"),
        ({"number": "378282246310005", "cvc": "123"}, "cvc", "4 digits"),
    ],
)
def test_a_card_that_cannot_be_one_is_refused_and_not_echoed(
    psp: Psp, merchant: Account, fields: dict[str, Any], where: str, message: str
) -> None:
    typed = card(**fields)

    answers = [psp.charge(merchant, card=typed), psp.post("/tokens", json=typed, headers=merchant.key)]

    for answer in answers:
        assert answer.status_code == 422
        (problem,) = answer.json()["detail"]
        assert problem["loc"][-1] == where
        assert message in problem["msg"]
        for secret in (str(typed["number"]), str(typed["cvc"])):
            assert not secret or len(secret) < 4 or secret not in answer.text


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"number": "4111 1111-1111 1111"}, ("visa", "411111XXXXXX1111", 2040)),
        ({"number": "378282246310005", "cvc": "1234", "expYear": "40"}, ("amex", "378282XXXXX0005", 2040)),
        ({"number": "6200000000000005", "expMonth": "01", "expYear": 40}, ("unionpay", "620000XXXXXX0005", 2040)),
    ],
)
def test_a_card_is_shown_masked(
    psp: Psp, merchant: Account, fields: dict[str, Any], shown: tuple[str, str, int]
) -> None:
    made = psp.charge(merchant, card=card(**fields)).json()["card"]

    assert (made["brand"], made["number"], made["expYear"]) == shown
    assert (made["cvc"], made["last4"]) == ("XXX", shown[1][-4:])


def test_a_token_pays_once_and_its_charge_can_be_repeated(psp: Psp, merchant: Account) -> None:
    token = psp.post("/tokens", json=card(), headers=merchant.key).json()["id"]
    once = {"Idempotency-Key": f"pay-{token}"}

    first = psp.charge(merchant, once, cardToken=token)
    again = psp.charge(merchant, once, cardToken=token)
    other = psp.charge(merchant, cardToken=token)

    assert (first.status_code, first.json()["card"]["last4"]) == (201, "4242")
    assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")
    assert (other.status_code, other.json()["code"]) == (409, "card_token_used")
    assert psp.reach(merchant, first.json()["id"], "completed")


def test_a_token_of_another_account_is_not_there_and_an_expired_one_is_over(
    psp: Psp, merchant: Account, database: pymongo.database.Database[dict[str, Any]]
) -> None:
    token = psp.post("/tokens", json=card(), headers=merchant.key).json()
    foreign = psp.charge(psp.register(), cardToken=token["id"])
    row = database["card_tokens"].find_one({"_id": token["id"]})
    assert row is not None
    database["card_tokens"].update_one({"_id": token["id"]}, {"$set": {"expires_at": row["created_at"]}})

    expired = psp.charge(merchant, cardToken=token["id"])

    assert (foreign.status_code, foreign.json()["detail"]) == (404, f"Card token '{token['id']}' not found.")
    assert (expired.status_code, expired.json()["code"]) == (409, "card_token_expired")


def test_a_saved_card_pays_until_it_is_deleted(psp: Psp, merchant: Account) -> None:
    owner = psp.post("/customers", json={"name": "Grace"}, headers=merchant.key).json()["id"]
    token = psp.post("/tokens", json=card(), headers=merchant.key).json()["id"]
    saved = psp.post(f"/customers/{owner}/cards", json={"cardToken": token}, headers=merchant.key).json()
    charge = {"paymentAmount": 5, "currency": "EUR", "cardId": saved["id"]}

    paid = psp.post(f"/customers/{owner}/payments", json=charge, headers={**merchant.key, **WAIT}).json()
    by_id = psp.charge(merchant, WAIT, cardId=saved["id"]).json()
    listed = psp.get(f"/customers/{owner}/cards", headers=merchant.key).json()
    deleted = psp.delete(f"/customers/{owner}/cards/{saved['id']}", headers=merchant.key)

    assert [(one["status"], one["customerId"]) for one in (paid, by_id)] == [("completed", owner)] * 2
    assert paid["customerName"] == "Grace"
    assert listed["cards"] == [saved]
    assert deleted.status_code == 200
    refused = psp.charge(merchant, cardId=saved["id"])
    assert (refused.status_code, refused.json()["detail"]) == (404, f"Card '{saved['id']}' not found.")
    assert psp.get(f"/customers/{owner}/payments", headers=merchant.key).json()["totalTransactions"] == 2
    one = psp.get(f"/customers/{owner}/payments/{paid['id']}", headers=merchant.key)
    assert one.json()["id"] == paid["id"]


def test_a_charge_has_at_most_one_card(psp: Psp, merchant: Account) -> None:
    answer = psp.charge(merchant, card=card(), cardToken="tok_none")

    assert answer.status_code == 422
    assert "at most one of" in answer.json()["detail"][0]["msg"]


def test_neither_number_nor_security_code_is_stored_in_plain_text(
    psp: Psp, merchant: Account, database: pymongo.database.Database[dict[str, Any]]
) -> None:
    number, cvc = "4532015112830366", "8317"
    amex = "371449635398431"
    psp.charge(merchant, WAIT, card=card(number))
    psp.charge(merchant, WAIT, card=card(amex, cvc=cvc))
    psp.post("/tokens", json=card(number), headers=merchant.key)
    psp.post("/tokens", json=card(amex, cvc=cvc), headers=merchant.key)

    stored = [row for name in database.list_collection_names() for row in database[name].find()]
    oplog = list(database.client["local"]["oplog.rs"].find({"ns": {"$regex": f"^{database.name}\\."}}))

    text = repr(stored) + repr(oplog)
    assert "453201XXXXXX0366" in text
    assert number not in text
    assert amex not in text
