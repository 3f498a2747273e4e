"""Cards: typed with a charge, exchanged for a token, or saved for a customer."""

import itertools
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pymongo
import pytest
from pymongo.database import Database

from schemas.cards import CardOut, CardTokenOut, SavedCardOut
from tests.factories import Account, Psp
from tests.tables import each

Row = dict[str, Any]
VISA: Row = {"number": "4111111111111111", "expMonth": 12, "expYear": 2040, "cvc": "123"}
AMEX: Row = {**VISA, "number": "378282246310005", "cvc": "1234"}
NOW = datetime.now(UTC)
WRITE_CONFLICT = 112
_names = itertools.count()


def unique() -> str:
    return f"key-{next(_names)}"


def tokenise(psp: Psp, account: Account, key: str | None = None, **fields: Any) -> httpx.Response:
    headers = {**account.key, **({"Idempotency-Key": key} if key else {})}
    return psp.post("/tokens", json={**VISA, **fields}, headers=headers)


def token(psp: Psp, account: Account, **fields: Any) -> str:
    answer = tokenise(psp, account, **fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def customer(psp: Psp, account: Account) -> str:
    return str(psp.post("/customers", json={"name": "Ada Lovelace"}, headers=account.key).json()["id"])


def save(psp: Psp, account: Account, customer_id: str, key: str | None = None, **body: Any) -> httpx.Response:
    headers = {**account.key, **({"Idempotency-Key": key} if key else {})}
    return psp.post(f"/customers/{customer_id}/cards", json=body or {"card": VISA}, headers=headers)


def saved(psp: Psp, account: Account, customer_id: str, **body: Any) -> Row:
    answer = save(psp, account, customer_id, **body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def problem(answer: httpx.Response) -> Row:
    """The one thing that is wrong."""
    assert answer.status_code == 422, answer.text
    (found,) = answer.json()["detail"]
    return dict(found)


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# What a card may look like


@pytest.mark.parametrize(
    ("number", "brand", "masked"),
    [
        ("4111111111111111", "visa", "411111XXXXXX1111"),
        ("4222222222222", "visa", "422222XXX2222"),
        ("4000000000000000006", "visa", "400000XXXXXXXXX0006"),
        ("5555555555554444", "mastercard", "555555XXXXXX4444"),
        ("2223003122003222", "mastercard", "222300XXXXXX3222"),
        ("378282246310005", "amex", "378282XXXXX0005"),
        ("6011111111111117", "discover", "601111XXXXXX1117"),
        ("30569309025904", "diners", "305693XXXX5904"),
        ("3056930009020004", "diners", "305693XXXXXX0004"),
        ("3566002020360505", "jcb", "356600XXXXXX0505"),
        ("6200000000000005", "unionpay", "620000XXXXXX0005"),
        ("4111 1111 1111 1111", "visa", "411111XXXXXX1111"),
        ("4111-1111-1111-1111", "visa", "411111XXXXXX1111"),
        (" 3782 822463 10005 ", "amex", "378282XXXXX0005"),
    ],
)
def test_a_card_is_shown_masked_with_its_brand(
    psp: Psp, merchant: Account, number: str, brand: str, masked: str
) -> None:
    typed = {**VISA, "number": number, "cvc": "1234" if brand == "amex" else "123", "holderName": "Grace Hopper"}

    payment = psp.charge(merchant, card=typed).json()

    card = payment["card"]
    assert len(card.pop("fingerprint")) == 32
    assert card == {
        "brand": brand,
        "number": masked,
        "last4": masked[-4:],
        "expMonth": 12,
        "expYear": 2040,
        "cvc": "XXX",
        "holderName": "Grace Hopper",
    }
    assert payment["paymentMethod"] == "card"
    assert psp.get(f"/payments/{payment['id']}", headers=merchant.key).json()["card"].items() >= card.items()


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"expMonth": 1, "expYear": 40}, (1, 2040)),
        ({"expMonth": "07", "expYear": "40"}, (7, 2040)),
        ({"expMonth": "7", "expYear": "2040"}, (7, 2040)),
        ({"expMonth": NOW.month, "expYear": NOW.year}, (NOW.month, NOW.year)),
        ({"expMonth": 12, "expYear": NOW.year + 50}, (12, NOW.year + 50)),
    ],
)
def test_an_expiry_may_be_typed_in_several_ways(
    psp: Psp, merchant: Account, fields: Row, shown: tuple[int, int]
) -> None:
    card = tokenise(psp, merchant, **fields).json()["card"]

    assert (card["expMonth"], card["expYear"]) == shown


FAILS_LUHN = "Value error, Invalid card number (fails Luhn check)"
LAST_MONTH = NOW.replace(day=1) - timedelta(days=1)
WRONG: Mapping[str, tuple[Row, str, str]] = {
    "one digit wrong": ({"number": "4111111111111112"}, "number", FAILS_LUHN),
    "spaces and one digit wrong": ({"number": "4111 1111 1111 1112"}, "number", FAILS_LUHN),
    "of no brand": ({"number": "9111111111111110"}, "number", "brand"),
    "of another length than its brand": ({"number": "41111111111111113"}, "number", "visa has no numbers of 17"),
    "too short": ({"number": "4111111"}, "number", "12 to 19 digits"),
    "too long": ({"number": "4" * 40}, "number", "12 to 19 digits"),
    "much too long": ({"number": "4" * 41}, "number", "40 characters"),
    "empty": ({"number": ""}, "number", "12 to 19 digits"),
    "of letters": ({"number": "four thousand"}, "number", "12 to 19 digits"),
    "with dots": ({"number": "4111.1111.1111.1111"}, "number", "12 to 19 digits"),
    "in Arabic-Indic digits": ({"number": "\u0664" + "\u0661" * 15}, "number", "12 to 19 digits"),
    "in full-width digits": ({"number": "\uff14" + "\uff11" * 15}, "number", "12 to 19 digits"),
    "with superscripts": ({"number": "411111111111111\u00b9"}, "number", "12 to 19 digits"),
    "with a tab": ({"number": "4111\t111111111111"}, "number", "12 to 19 digits"),
    "a number": ({"number": 4111111111111111}, "number", "string"),
    "null": ({"number": None}, "number", "string"),
    "month 0": ({"expMonth": 0}, "expMonth", "greater than or equal to 1"),
    "month 13": ({"expMonth": 13}, "expMonth", "less than or equal to 12"),
    "month -1": ({"expMonth": "-1"}, "expMonth", "integer"),
    "month as a bool": ({"expMonth": True}, "expMonth", "integer"),
    "month as a fraction": ({"expMonth": 1.5}, "expMonth", "integer"),
    "month as a float": ({"expMonth": 1.0}, "expMonth", "integer"),
    "month in words": ({"expMonth": "May"}, "expMonth", "integer"),
    "month with a space": ({"expMonth": " 5"}, "expMonth", "integer"),
    "month in Arabic-Indic digits": ({"expMonth": "\u0665"}, "expMonth", "integer"),
    "month without end": ({"expMonth": "1" * 5000}, "expMonth", "integer"),
    "a huge month": ({"expMonth": 10**30}, "expMonth", "less than or equal to 12"),
    "year of three digits": ({"expYear": 140}, "expYear", "two or four digits"),
    "year of five digits": ({"expYear": 20400}, "expYear", "two or four digits"),
    "a huge year": ({"expYear": 10**30}, "expYear", "two or four digits"),
    "a year as a bool": ({"expYear": True}, "expYear", "integer"),
    "a year as a float": ({"expYear": 2040.0}, "expYear", "integer"),
    "a year below zero": ({"expYear": -1}, "expYear", "two or four digits"),
    "an empty year": ({"expYear": ""}, "expYear", "integer"),
    "too far ahead": ({"expYear": NOW.year + 51}, "expYear", "too far ahead"),
    "expired": ({"expMonth": LAST_MONTH.month, "expYear": LAST_MONTH.year}, "expYear", "has expired"),
    "expired, of two digits": ({"expYear": 20}, "expYear", "has expired"),
    "code of two digits": ({"cvc": "12"}, "cvc", "3 digits for visa"),
    "code of four digits": ({"cvc": "1234"}, "cvc", "3 digits for visa"),
    "code of three digits for Amex": ({"number": AMEX["number"], "cvc": "123"}, "cvc", "4 digits for amex"),
    "code of letters": ({"cvc": "abc"}, "cvc", "3 digits"),
    "code in Arabic-Indic digits": ({"cvc": "\u0661\u0662\u0663"}, "cvc", "3 digits"),
    "code with a space": ({"cvc": "12 "}, "cvc", "3 digits"),
    "code as a number": ({"cvc": 123}, "cvc", "string"),
    "an empty code": ({"cvc": ""}, "cvc", "3 digits"),
    "an empty name": ({"holderName": ""}, "holderName", "at least 1"),
    "a long name": ({"holderName": "x" * 201}, "holderName", "at most 200"),
    "a number for a name": ({"holderName": "4111 1111 1111 1111 12/40"}, "holderName", "a card number is no name"),
    "an unknown field": ({"cvv": "123"}, "cvv", "Extra inputs"),
    "a field in snake_case": ({"exp_month": 12}, "exp_month", "Extra inputs"),
}


@each("wrong", WRONG)
def test_what_is_no_card_is_refused_and_not_echoed(psp: Psp, merchant: Account, wrong: str) -> None:
    fields, field, message = WRONG[wrong]
    body = {**VISA, **fields}
    answers = {
        ("body",): psp.post("/tokens", json=body, headers=merchant.key),
        ("body", "card"): psp.charge(merchant, card=body),
    }

    for loc, answer in answers.items():
        found = problem(answer)
        assert found["loc"] == [*loc, field]
        assert message in found["msg"]
        # An empty text is the one input that is told.
        assert found.get("input", "") == ""
        assert str(body["number"])[:5] not in answer.text or not body["number"]
        assert '"123"' not in answer.text


@pytest.mark.parametrize("field", ["number", "expMonth", "expYear", "cvc"])
def test_a_card_needs_all_of_its_fields(psp: Psp, merchant: Account, field: str) -> None:
    body = {name: value for name, value in VISA.items() if name != field}

    found = problem(psp.post("/tokens", json=body, headers=merchant.key))

    assert (found["type"], found["loc"]) == ("missing", ["body", field])
    assert problem(psp.charge(merchant, card=body))["loc"] == ["body", "card", field]


def test_a_refusal_of_a_card_claims_nothing(psp: Psp, merchant: Account) -> None:
    key = {"Idempotency-Key": unique()}
    problem(psp.charge(merchant, key, card={**VISA, "cvc": "12"}))

    assert psp.charge(merchant, key, card=VISA).status_code == 201


def test_the_same_number_has_the_same_fingerprint_in_one_account(psp: Psp, merchant: Account) -> None:
    prints = {
        tokenise(psp, merchant).json()["card"]["fingerprint"],
        tokenise(psp, merchant, number="4111-1111-1111-1111", expYear=2041, cvc="999").json()["card"]["fingerprint"],
        psp.charge(merchant, card=VISA).json()["card"]["fingerprint"],
    }

    assert len(prints) == 1
    assert tokenise(psp, merchant, number="4242424242424242").json()["card"]["fingerprint"] not in prints


def test_no_other_account_can_find_out_the_number_of_a_fingerprint(psp: Psp, merchant: Account) -> None:
    """Six digits of a number that is shown masked are unknown: few enough to try them all with an account of one's own,
    if that gave the same fingerprint."""
    mine, others = (tokenise(psp, account).json()["card"] for account in (merchant, psp.register()))

    assert mine["number"] == others["number"]
    assert mine["fingerprint"] != others["fingerprint"]


@pytest.mark.parametrize("given", [("card", "cardToken"), ("card", "cardId"), ("cardToken", "cardId")])
def test_a_charge_has_one_card_at_most(psp: Psp, merchant: Account, given: tuple[str, str]) -> None:
    sources = {"card": VISA, "cardToken": "tok_none", "cardId": "card_none"}

    answer = psp.charge(merchant, **{name: sources[name] for name in given})

    assert problem(answer)["msg"] == "Value error, at most one of card, cardToken and cardId"
    assert VISA["number"] not in answer.text


def test_another_code_is_the_same_request_and_another_expiry_is_not(psp: Psp, merchant: Account) -> None:
    """Nothing is kept of the security code, not even a hash that could tell one from another."""
    key = {"Idempotency-Key": unique()}
    first = psp.charge(merchant, key, card=VISA)

    again = psp.charge(merchant, key, card={**VISA, "number": "4111 1111 1111 1111", "expYear": "40", "cvc": "999"})
    other = psp.charge(merchant, key, card={**VISA, "expYear": 2041})

    assert (again.status_code, again.content) == (201, first.content)
    assert refused(other) == (422, "idempotency_key_reused")


# Tokens


def test_a_token_stands_for_its_card_in_one_payment(psp: Psp, merchant: Account) -> None:
    made = tokenise(psp, merchant, holderName="Grace Hopper")

    assert made.status_code == 201
    body = made.json()
    assert body["id"].startswith("tok_")
    assert CardTokenOut.model_validate(body).model_dump(mode="json", by_alias=True) == body
    payment = psp.completed(merchant, cardToken=body["id"])
    assert payment["card"] == body["card"]
    assert refused(psp.charge(merchant, cardToken=body["id"])) == (409, "card_token_used")


def test_a_replay_finds_the_token_its_own_after_it_was_used(psp: Psp, merchant: Account) -> None:
    token_id, key = token(psp, merchant), {"Idempotency-Key": unique()}
    first = psp.charge(merchant, key, cardToken=token_id)

    again = psp.charge(merchant, key, cardToken=token_id)

    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert refused(psp.charge(merchant, {"Idempotency-Key": unique()}, cardToken=token_id)) == (409, "card_token_used")
    assert refused(psp.charge(merchant, key, cardToken=token_id, paymentAmount=1)) == (422, "idempotency_key_reused")


def test_an_expired_token_pays_for_nothing_new(psp: Psp, merchant: Account, database: Database[Row]) -> None:
    unused, used, key = token(psp, merchant), token(psp, merchant), {"Idempotency-Key": unique()}
    first = psp.charge(merchant, key, cardToken=used)
    past = {"$set": {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}}
    database["card_tokens"].update_many({"_id": {"$in": [unused, used]}}, past)

    assert refused(psp.charge(merchant, cardToken=unused)) == (409, "card_token_expired")
    assert refused(save(psp, merchant, customer(psp, merchant), cardToken=unused)) == (409, "card_token_expired")
    assert refused(psp.charge(merchant, cardToken=used)) == (409, "card_token_used")
    assert psp.charge(merchant, key, cardToken=used).content == first.content


def test_a_token_lives_for_an_hour(psp: Psp, merchant: Account) -> None:
    body = tokenise(psp, merchant).json()

    made, ends = (datetime.fromisoformat(body[name]) for name in ("createdAt", "expiresAt"))
    assert ends - made == timedelta(hours=1)


@pytest.mark.parametrize("whose", ["nobody's", "another's", "none at all"])
def test_a_token_that_is_not_ones_own_looks_like_a_missing_one(psp: Psp, merchant: Account, whose: str) -> None:
    ids = {"nobody's": "tok_none", "none at all": "$ne", "another's": ""}
    token_id = ids[whose] or token(psp, psp.register())

    answer = psp.charge(merchant, cardToken=token_id)

    assert refused(answer) == (404, "not_found")
    assert answer.json()["detail"] == f"Card token '{token_id}' not found."


def test_what_is_refused_uses_no_token_up(psp: Psp, merchant: Account) -> None:
    token_id, key, customer_id = token(psp, merchant), unique(), customer(psp, merchant)
    same = {"Idempotency-Key": key}
    psp.charge(merchant, same)
    save(psp, merchant, customer_id, key)
    made = psp.post("/payment-keys", json={}, headers=merchant.key)
    browser = {"X-Payment-Key": made.json()["paymentKey"]}
    body = {"customerName": "Grace", **amount()}
    assert psp.post("/payments/charge", json=body, headers=browser).status_code == 201
    body["cardToken"] = token_id
    nobody = psp.post("/customers/cus_none/payments", json=amount(cardToken=token_id), headers=merchant.key)

    reused = (422, "idempotency_key_reused")
    assert refused(psp.charge(merchant, same, cardToken=token_id)) == reused
    assert refused(save(psp, merchant, customer_id, key, cardToken=token_id)) == reused
    assert refused(psp.charge(merchant, cardToken=token_id, paymentAmount=0)) == (422, "validation_error")
    assert refused(psp.charge(merchant, cardToken=token_id, customerId="cus_none")) == (404, "not_found")
    assert refused(nobody) == (404, "not_found")
    assert refused(save(psp, merchant, "cus_none", cardToken=token_id)) == (404, "not_found")
    assert refused(psp.post("/payments/charge", json=body, headers=browser)) == (409, "payment_key_used_up")
    assert psp.charge(merchant, cardToken=token_id).status_code == 201


def test_many_charges_at_once_use_a_token_once(psp: Psp, merchant: Account) -> None:
    token_id = token(psp, merchant)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: psp.charge(merchant, cardToken=token_id), range(20)))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19


def test_a_charge_that_never_came_to_be_leaves_the_token_to_the_next(
    psp: Psp, merchant: Account, mongo: pymongo.MongoClient[Row]
) -> None:
    token_id, refuse_one = token(psp, merchant), {"failCommands": ["insert"], "namespace": "tests.payments"}
    mongo.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data={**refuse_one, "errorCode": 50})

    assert refused(psp.charge(merchant, cardToken=token_id)) == (503, "outcome_unknown")
    assert psp.charge(merchant, cardToken=token_id).status_code == 201
    assert refused(psp.charge(merchant, cardToken=token_id)) == (409, "card_token_used")


# Saved cards


def test_a_saved_card_is_charged_by_its_id(psp: Psp, merchant: Account) -> None:
    customer_id = customer(psp, merchant)
    card = saved(psp, merchant, customer_id)

    assert card["id"].startswith("card_")
    assert card["customerId"] == customer_id
    assert SavedCardOut.model_validate(card).model_dump(mode="json", by_alias=True) == card
    shown = {field.alias for field in CardOut.model_fields.values()}
    for fields in ({}, {"customerId": customer_id}):
        payment = psp.completed(merchant, cardId=card["id"], **fields)
        assert payment["customerId"] == customer_id
        assert payment["card"] == {name: value for name, value in card.items() if name in shown}


def test_a_card_is_saved_from_a_token_which_that_uses_up(psp: Psp, merchant: Account) -> None:
    customer_id, token_id, key = customer(psp, merchant), token(psp, merchant), unique()

    first = save(psp, merchant, customer_id, key, cardToken=token_id)
    again = save(psp, merchant, customer_id, key, cardToken=token_id)

    assert (first.status_code, first.json()["number"]) == (201, "411111XXXXXX1111")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert refused(save(psp, merchant, customer_id, cardToken=token_id)) == (409, "card_token_used")
    assert refused(psp.charge(merchant, cardToken=token_id)) == (409, "card_token_used")
    assert psp.charge(merchant, cardToken=token_id).json()["detail"] == "The card token was already used."
    psp.completed(merchant, cardId=first.json()["id"])


def test_a_token_that_paid_saves_no_card(psp: Psp, merchant: Account) -> None:
    token_id = token(psp, merchant)
    psp.charge(merchant, cardToken=token_id)

    assert refused(save(psp, merchant, customer(psp, merchant), cardToken=token_id)) == (409, "card_token_used")


@pytest.mark.parametrize("body", [{"card": None}, {"card": VISA, "cardToken": "tok_none"}, {"cardToken": None}])
def test_saving_needs_a_card_or_a_token_and_not_both(psp: Psp, merchant: Account, body: Row) -> None:
    answer = save(psp, merchant, customer(psp, merchant), **body)

    assert problem(answer)["msg"] == "Value error, either card or cardToken is needed"
    assert VISA["number"] not in answer.text


def test_a_saved_card_is_listed_just_as_it_was_answered(psp: Psp, merchant: Account) -> None:
    customer_id = customer(psp, merchant)
    answer = save(psp, merchant, customer_id, card=VISA)

    assert answer.text in psp.get(f"/customers/{customer_id}/cards", headers=merchant.key).text


def test_saved_cards_are_listed_newest_first_in_pages(psp: Psp, merchant: Account) -> None:
    customer_id = customer(psp, merchant)
    made = [saved(psp, merchant, customer_id) for _ in range(5)][::-1]
    saved(psp, merchant, customer(psp, merchant))
    path, seen, cursor = f"/customers/{customer_id}/cards", list[Row](), None

    while True:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = psp.get(path, params=query, headers=merchant.bearer).json()
        assert (page["totalCards"], page["totalIsLowerBound"]) == (5, False)
        seen += page["cards"]
        cursor = page["nextCursor"]
        assert page["hasMore"] is (cursor is not None)
        if cursor is None:
            break

    assert seen == made
    assert problem(psp.get(path, params={"cursor": "x"}, headers=merchant.key))["loc"] == ["query", "cursor"]


def test_a_deleted_card_is_forgotten_and_its_payments_stay(
    psp: Psp, merchant: Account, database: Database[Row]
) -> None:
    customer_id = customer(psp, merchant)
    card = saved(psp, merchant, customer_id)
    payment, path = psp.completed(merchant, cardId=card["id"]), f"/customers/{customer_id}/cards"

    deleted = psp.delete(f"{path}/{card['id']}", headers=merchant.key)

    assert deleted.json() == {"message": f"Card '{card['id']}' deleted successfully."}
    assert refused(psp.delete(f"{path}/{card['id']}", headers=merchant.key)) == (404, "not_found")
    assert psp.get(path, headers=merchant.key).json()["cards"] == []
    assert refused(psp.charge(merchant, cardId=card["id"])) == (404, "not_found")
    assert psp.get(f"/payments/{payment['id']}", headers=merchant.key).json() == payment
    row = database["cards"].find_one({"_id": card["id"]})
    assert row is not None
    assert "sealed_pan" not in row["card"]


def test_a_replay_works_when_the_card_and_the_customer_are_deleted(psp: Psp, merchant: Account) -> None:
    customer_id, keys = customer(psp, merchant), [unique(), unique()]
    first = save(psp, merchant, customer_id, keys[0])
    paid = psp.charge(merchant, {"Idempotency-Key": keys[1]}, cardId=first.json()["id"])
    psp.delete(f"/customers/{customer_id}/cards/{first.json()['id']}", headers=merchant.key)
    for deletion in (None, f"/customers/{customer_id}"):
        if deletion:
            assert psp.delete(deletion, headers=merchant.key).status_code == 200
        assert save(psp, merchant, customer_id, keys[0]).content == first.content
        assert psp.charge(merchant, {"Idempotency-Key": keys[1]}, cardId=first.json()["id"]).content == paid.content


def test_a_card_of_a_deleted_customer_is_not_charged(psp: Psp, merchant: Account) -> None:
    customer_id = customer(psp, merchant)
    card_id, path = saved(psp, merchant, customer_id)["id"], f"/customers/{customer_id}"
    psp.delete(path, headers=merchant.key)

    assert refused(psp.charge(merchant, cardId=card_id)) == (404, "not_found")
    assert refused(psp.charge(merchant, cardId=card_id, customerId=customer_id)) == (404, "not_found")
    assert refused(psp.get(f"{path}/cards", headers=merchant.key)) == (404, "not_found")
    assert refused(save(psp, merchant, customer_id)) == (404, "not_found")


def cards_of(database: Database[Row], customer_id: str) -> list[Row]:
    return list(database["cards"].find({"customer_id": customer_id}))


def test_a_deleted_customers_cards_are_forgotten(psp: Psp, merchant: Account, database: Database[Row]) -> None:
    deleted, other = customer(psp, merchant), customer(psp, merchant)
    for customer_id in (deleted, deleted, other):
        saved(psp, merchant, customer_id)

    psp.delete(f"/customers/{deleted}", headers=merchant.key)

    assert ["sealed_pan" in row["card"] for row in cards_of(database, deleted)] == [False, False]
    assert ["sealed_pan" in row["card"] for row in cards_of(database, other)] == [True]


def test_a_deletion_that_breaks_off_in_the_middle_deletes_nothing(
    psp: Psp, merchant: Account, database: Database[Row], mongo: pymongo.MongoClient[Row]
) -> None:
    customer_id = customer(psp, merchant)
    card, path = saved(psp, merchant, customer_id), f"/customers/{customer_id}"
    breaking = {"failCommands": ["update"], "namespace": database["cards"].full_name, "errorCode": WRITE_CONFLICT}
    mongo.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=breaking)
    try:
        broken = psp.delete(path, headers=merchant.key)
    finally:
        mongo.admin.command("configureFailPoint", "failCommand", mode="off")

    assert broken.status_code == 503
    assert psp.get(f"{path}/cards", headers=merchant.key).json()["cards"] == [card]
    assert psp.delete(path, headers=merchant.key).status_code == 200
    assert not any("sealed_pan" in row["card"] for row in cards_of(database, customer_id))


def test_no_card_is_left_of_a_customer_who_is_deleted_while_cards_are_saved(
    psp: Psp, merchant: Account, database: Database[Row]
) -> None:
    for _ in range(5):
        customer_id = customer(psp, merchant)
        with ThreadPoolExecutor(9) as pool:
            saving = [pool.submit(save, psp, merchant, customer_id) for _ in range(8)]
            deleted = pool.submit(psp.delete, f"/customers/{customer_id}", headers=merchant.key).result()

        assert deleted.status_code == 200
        assert {answer.result().status_code for answer in saving} <= {201, 404}
        assert not any("sealed_pan" in row["card"] for row in cards_of(database, customer_id))


def test_a_card_is_charged_for_its_own_customer_only(psp: Psp, merchant: Account) -> None:
    card_id, other = saved(psp, merchant, customer(psp, merchant))["id"], customer(psp, merchant)

    for answer in (
        psp.charge(merchant, cardId=card_id, customerId=other),
        psp.charge(merchant, cardId=card_id, customerId="cus_none"),
        psp.post(f"/customers/{other}/payments", json=amount(cardId=card_id), headers=merchant.key),
        psp.delete(f"/customers/{other}/cards/{card_id}", headers=merchant.key),
    ):
        assert refused(answer) == (404, "not_found")


def amount(**fields: Any) -> Row:
    return {"paymentAmount": 10, "currency": "EUR", **fields}


# Once for each Idempotency-Key

Make = Callable[[Psp, Account, str], Callable[..., httpx.Response]]


def tokens(psp: Psp, account: Account, key: str) -> Callable[..., httpx.Response]:
    return lambda **fields: tokenise(psp, account, key, **fields)


def saved_cards(psp: Psp, account: Account, key: str) -> Callable[..., httpx.Response]:
    customer_id = customer(psp, account)
    return lambda **fields: save(psp, account, customer_id, key, card={**VISA, **fields})


@pytest.mark.parametrize("make", [tokens, saved_cards])
def test_a_key_makes_one_and_repeats_its_answer(psp: Psp, merchant: Account, make: Make) -> None:
    send = make(psp, merchant, unique())
    first = send()

    again = send(cvc="999")

    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert refused(send(expMonth=11)) == (422, "idempotency_key_reused")
    assert problem(send(cvc="1"))["loc"][-1] == "cvc"


@pytest.mark.parametrize("make", [tokens, saved_cards])
def test_many_at_once_with_one_key_make_one(psp: Psp, database: Database[Row], make: Make) -> None:
    account = psp.register()
    send = make(psp, account, unique())

    with ThreadPoolExecutor(20) as pool:
        answers = {(answer.status_code, answer.content) for answer in pool.map(lambda _: send(), range(20))}

    ((status, body),) = answers
    assert status == 201
    collection = database["card_tokens" if make is tokens else "cards"]
    assert collection.count_documents({"owner_id": account.id}) == 1
    assert collection.find_one({"owner_id": account.id})["_id"] == json.loads(body)["id"]  # type: ignore[index]


def test_many_at_once_with_one_key_save_one_card_from_one_token(psp: Psp, merchant: Account) -> None:
    customer_id, token_id, key = customer(psp, merchant), token(psp, merchant), unique()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: save(psp, merchant, customer_id, key, cardToken=token_id), range(20)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1


def test_a_key_belongs_to_its_route_and_account(psp: Psp, merchant: Account) -> None:
    key, other = unique(), psp.register()
    ids = {
        tokenise(psp, merchant, key).json()["id"],
        tokenise(psp, other, key).json()["id"],
        save(psp, merchant, customer(psp, merchant), key).json()["id"],
        psp.charge(merchant, {"Idempotency-Key": key}, card=VISA).json()["id"],
    }

    assert len(ids) == 4


def test_one_key_saves_no_card_for_two_customers(psp: Psp, merchant: Account) -> None:
    key = unique()
    save(psp, merchant, customer(psp, merchant), key)

    assert refused(save(psp, merchant, customer(psp, merchant), key)) == (422, "idempotency_key_reused")


def test_a_user_has_tokens_and_no_saved_cards(psp: Psp, user: Account) -> None:
    assert psp.completed(user, cardToken=token(psp, user))["card"]["last4"] == "1111"
    assert refused(save(psp, user, "cus_none")) == (403, "forbidden")
