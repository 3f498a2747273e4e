"""Payment keys: publishable keys with which a browser pays, and does nothing else."""

import itertools
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pymongo.database import Database

from routers.roles import ROLE_TABLE
from schemas.payment_keys import PaymentKeyMade, PaymentKeyOut
from tests.factories import Account, Psp
from tests.tables import each

Row = dict[str, Any]
CHARGE: Row = {"customerName": "Grace Hopper", "paymentAmount": 100.5, "currency": "USD"}
CARD: Row = {"number": "4242424242424242", "expMonth": 12, "expYear": 2040, "cvc": "123"}
CREATE = ("POST", "/api/v1/payments/charge")
_names = itertools.count()


def unique() -> dict[str, str]:
    return {"Idempotency-Key": f"payment-key-{next(_names)}"}


def make(psp: Psp, account: Account, **fields: Any) -> Row:
    answer = psp.post("/payment-keys", json=fields, headers=account.key)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def pay(psp: Psp, key: Row | str, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    text = key if isinstance(key, str) else key["paymentKey"]
    return psp.post("/payments/charge", json={**CHARGE, **fields}, headers={"X-Payment-Key": text, **(headers or {})})


def get(psp: Psp, account: Account, key: Row) -> Row:
    return dict(psp.get(f"/payment-keys/{key['id']}", headers=account.key).json())


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# Making, reading, revoking


def test_a_key_is_shown_once_and_opens_one_payment_for_an_hour_unless_told_otherwise(
    psp: Psp, merchant: Account
) -> None:
    key = make(psp, merchant)

    assert PaymentKeyMade.model_validate(key).model_dump(mode="json", by_alias=True) == key
    assert key["paymentKey"].startswith(key["id"])
    assert key["id"].startswith("pk_")
    assert (key["maxUses"], key["uses"], key["revoked"]) == (1, 0, False)
    assert (key["amount"], key["amountMinor"], key["currency"]) == (None, None, None)
    made, ends = (datetime.fromisoformat(key[name]) for name in ("createdAt", "expiresAt"))
    assert ends - made == timedelta(hours=1)
    shown = get(psp, merchant, key)
    assert shown == {name: value for name, value in key.items() if name != "paymentKey"}
    assert PaymentKeyOut.model_validate(shown).model_dump(mode="json", by_alias=True) == shown


def test_a_key_can_be_given_an_expiry_uses_and_an_amount(psp: Psp, merchant: Account) -> None:
    key = make(psp, merchant, expiresIn=60, maxUses=3, amount=12.5, currency="eur")

    assert (key["maxUses"], key["amount"], key["amountMinor"], key["currency"]) == (3, 12.5, 1250, "EUR")
    made, ends = (datetime.fromisoformat(key[name]) for name in ("createdAt", "expiresAt"))
    assert ends - made == timedelta(seconds=60)
    assert make(psp, merchant, maxUses=None)["uses"] is None


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"expiresIn": 0}, ["body", "expiresIn"]),
        ({"expiresIn": -1}, ["body", "expiresIn"]),
        ({"expiresIn": 366 * 24 * 3600 + 1}, ["body", "expiresIn"]),
        ({"expiresIn": 10**30}, ["body", "expiresIn"]),
        ({"expiresIn": "60"}, ["body", "expiresIn"]),
        ({"expiresIn": True}, ["body", "expiresIn"]),
        ({"expiresIn": 1.5}, ["body", "expiresIn"]),
        ({"expiresIn": None}, ["body", "expiresIn"]),
        ({"maxUses": 0}, ["body", "maxUses"]),
        ({"maxUses": 1_000_001}, ["body", "maxUses"]),
        ({"maxUses": True}, ["body", "maxUses"]),
        ({"maxUses": "1"}, ["body", "maxUses"]),
        ({"amount": 0, "currency": "USD"}, ["body", "amount"]),
        ({"amount": "5", "currency": "USD"}, ["body", "amount"]),
        ({"amount": 5, "currency": "XXX"}, ["body", "currency"]),
        ({"amount": 5}, ["body", "amount"]),
        ({"amount": 5, "currency": None}, ["body", "amount"]),
        ({"amount": 0.001, "currency": "USD"}, ["body", "amount"]),
        ({"amount": 1e30, "currency": "USD"}, ["body", "amount"]),
        ({"amount": 10**10 + 1, "currency": "USD"}, ["body", "amount"]),
        ({"uses": 1}, ["body", "uses"]),
    ],
)
def test_what_is_no_payment_key_is_refused(psp: Psp, merchant: Account, fields: Row, loc: list[str]) -> None:
    answer = psp.post("/payment-keys", json=fields, headers=merchant.key)

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == loc


def test_keys_are_listed_newest_first_in_pages(psp: Psp) -> None:
    account = psp.register()
    made = [make(psp, account) for _ in range(5)][::-1]
    pay(psp, made[0])
    seen, cursor = list[Row](), None

    while True:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = psp.get("/payment-keys", params=query, headers=account.bearer).json()
        assert (page["totalPaymentKeys"], page["totalIsLowerBound"]) == (5, False)
        seen += page["paymentKeys"]
        cursor = page["nextCursor"]
        assert page["hasMore"] is (cursor is not None)
        if cursor is None:
            break

    assert [key["id"] for key in seen] == [key["id"] for key in made]
    assert [key["uses"] for key in seen] == [1, 0, 0, 0, 0]
    assert "paymentKey" not in seen[0]
    bad = psp.get("/payment-keys", params={"cursor": "x"}, headers=account.key)
    assert bad.json()["detail"][0]["loc"] == ["query", "cursor"]


def test_one_key_has_an_etag_that_changes_with_its_uses(psp: Psp, merchant: Account) -> None:
    key = make(psp, merchant)
    path = f"/payment-keys/{key['id']}"
    etag = psp.get(path, headers=merchant.key).headers["ETag"]

    unchanged = psp.get(path, headers={**merchant.key, "If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)

    assert pay(psp, key).status_code == 201
    changed = psp.get(path, headers={**merchant.key, "If-None-Match": etag})
    assert (changed.status_code, changed.json()["uses"]) == (200, 1)
    assert changed.headers["ETag"] != etag


def test_a_key_that_has_not_changed_is_not_sent_again(psp: Psp, merchant: Account) -> None:
    key = make(psp, merchant)
    path = f"/payment-keys/{key['id']}"
    etag = psp.get(path, headers=merchant.key).headers["ETag"]

    unchanged = psp.get(path, headers={**merchant.key, "If-None-Match": etag})
    pay(psp, key)
    changed = psp.get(path, headers={**merchant.key, "If-None-Match": etag})

    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)
    assert (changed.status_code, changed.json()["uses"]) == (200, 1)


def test_a_user_makes_no_keys(psp: Psp, user: Account) -> None:
    assert refused(psp.post("/payment-keys", json={}, headers=user.key)) == (403, "forbidden")


# What a key opens


def test_a_payment_made_with_a_key_is_the_merchants(psp: Psp, merchant: Account) -> None:
    answer = pay(psp, make(psp, merchant), {"Prefer": "wait=30"}, card=CARD, metadata={"a": "b"})

    payment = answer.json()
    assert (answer.status_code, payment["status"], payment["ownerId"]) == (201, "completed", merchant.id)
    assert psp.get(f"/payments/{payment['id']}", headers=merchant.key).json() == payment


@each("route", [route for route in ROLE_TABLE if route != CREATE])
def test_a_key_is_no_credential_anywhere_else(psp: Psp, merchant: Account, route: tuple[str, str]) -> None:
    """Each other route answers as if nothing had been sent."""
    method, path = route
    url = re.sub(r"\{\w+\}", "none", path.replace("{resource}", "transactions"))
    if "payments/{payment_id}" in path:
        url = path.replace("{payment_id}", psp.charge(merchant).json()["id"]).replace("{customer_id}", "none")
    key = make(psp, merchant, maxUses=None)["paymentKey"]

    shown, nothing = (
        psp.client.request(method, url, headers=headers, params={"nonsense": "1"})
        for headers in ({"X-Payment-Key": key}, {})
    )

    assert shown.status_code == nothing.status_code
    if "requestId" in nothing.text:
        assert {**shown.json(), "requestId": ""} == {**nothing.json(), "requestId": ""}


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_a_payment_key_is_neither_an_api_key_nor_a_token(psp: Psp, merchant: Account, header: str) -> None:
    key = make(psp, merchant)["paymentKey"]
    headers = {header: f"Bearer {key}" if header == "Authorization" else key}

    for path in ("/payments/all", "/payment-keys"):
        assert psp.get(path, headers=headers).status_code == 401
    assert psp.post("/payments/charge", json=CHARGE, headers=headers).status_code == 401


def test_the_payment_key_counts_where_an_api_key_is_sent_too(psp: Psp, merchant: Account) -> None:
    key = make(psp, merchant)

    assert pay(psp, key, merchant.key).status_code == 201
    assert refused(pay(psp, key, merchant.key)) == (409, "payment_key_used_up")
    assert refused(pay(psp, "garbage", merchant.key)) == (401, "invalid_payment_key")


def test_a_key_with_an_amount_opens_payments_of_just_that(psp: Psp, merchant: Account) -> None:
    key = make(psp, merchant, amount=12.5, currency="EUR", maxUses=None)

    for fields, field in (
        ({"paymentAmount": 12.51, "currency": "EUR"}, "paymentAmount"),
        ({"paymentAmount": 0.01, "currency": "EUR"}, "paymentAmount"),
        ({"paymentAmount": 12.5, "currency": "USD"}, "currency"),
        ({"paymentAmount": 1250, "currency": "JPY"}, "currency"),
    ):
        answer = pay(psp, key, **fields)
        assert answer.status_code == 422
        assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", field]]
    assert pay(psp, key, paymentAmount=12.50, currency="eur").status_code == 201


def test_a_key_with_a_currency_opens_any_amount_of_it(psp: Psp, merchant: Account) -> None:
    key = make(psp, merchant, currency="EUR", maxUses=None)

    assert pay(psp, key, currency="EUR", paymentAmount=7).status_code == 201
    assert pay(psp, key, currency="USD").json()["detail"][0]["loc"] == ["body", "currency"]


def test_a_key_opens_no_customers_and_no_saved_cards(psp: Psp, merchant: Account) -> None:
    key = make(psp, merchant, maxUses=None)
    customer_id = psp.post("/customers", json={"name": "Ada"}, headers=merchant.key).json()["id"]
    card = psp.post(f"/customers/{customer_id}/cards", json={"card": CARD}, headers=merchant.key).json()

    for fields in ({"customerId": customer_id}, {"cardId": card["id"]}, {"cardId": "card_none"}):
        assert refused(pay(psp, key, **fields)) == (403, "forbidden")


def test_a_key_pays_with_a_token(psp: Psp, merchant: Account) -> None:
    token_id = psp.post("/tokens", json=CARD, headers=merchant.key).json()["id"]

    assert pay(psp, make(psp, merchant), cardToken=token_id).json()["card"]["last4"] == "4242"


# How often


@pytest.mark.parametrize("uses", [1, 3])
def test_a_key_is_used_up(psp: Psp, merchant: Account, uses: int) -> None:
    key = make(psp, merchant, maxUses=uses)
    for used in range(uses):
        assert get(psp, merchant, key)["uses"] == used
        assert pay(psp, key).status_code == 201

    answer = pay(psp, key)

    assert refused(answer) == (409, "payment_key_used_up")
    assert answer.json()["detail"] == "The payment key has been used as often as it may be."
    assert get(psp, merchant, key)["uses"] == uses


def test_a_key_without_a_limit_is_never_used_up(psp: Psp, merchant: Account) -> None:
    key = make(psp, merchant, maxUses=None)

    assert {pay(psp, key).status_code for _ in range(10)} == {201}
    assert get(psp, merchant, key)["uses"] is None


def test_what_is_refused_uses_nothing_up(psp: Psp, merchant: Account) -> None:
    key = make(psp, merchant)

    for fields in ({"paymentAmount": 0}, {"cardToken": "tok_none"}, {"customerId": "cus_none"}, {"card": {}}):
        assert pay(psp, key, **fields).status_code in (403, 404, 422)

    assert pay(psp, key).status_code == 201


def test_a_payment_that_fails_or_is_cancelled_has_used_its_key(psp: Psp, merchant: Account) -> None:
    key = make(psp, merchant)
    declined = pay(psp, key, {"Prefer": "wait=30"}, card={**CARD, "number": "4000000000000002"})

    assert declined.json()["status"] == "failed"
    assert refused(pay(psp, key)) == (409, "payment_key_used_up")


@pytest.mark.parametrize("uses", [1, 3])
def test_many_charges_at_once_make_no_more_payments_than_the_key_opens(
    psp: Psp, database: Database[Row], uses: int
) -> None:
    account = psp.register()
    key = make(psp, account, maxUses=uses)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: pay(psp, key), range(20)))

    assert sorted(answer.status_code for answer in answers) == [201] * uses + [409] * (20 - uses)
    assert database["payments"].count_documents({"owner_id": account.id}) == uses


def test_many_charges_at_once_with_one_idempotency_key_use_one(psp: Psp) -> None:
    account = psp.register()
    key, once = make(psp, account, maxUses=2), unique()

    with ThreadPoolExecutor(20) as pool:
        answers = {
            (answer.status_code, answer.content) for answer in pool.map(lambda _: pay(psp, key, once), range(20))
        }

    assert {status for status, _ in answers} == {201}
    assert len(answers) == 1
    assert get(psp, account, key)["uses"] == 1


# Whose idempotency keys


def test_the_accounts_idempotency_keys_are_others_than_the_payment_keys(psp: Psp, merchant: Account) -> None:
    keys, once = [make(psp, merchant, maxUses=None) for _ in range(2)], unique()
    mine = psp.charge(merchant, once)

    answers = [mine, *(pay(psp, key, once) for key in keys)]

    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.json()["id"] for answer in answers}) == 3
    assert all("Idempotent-Replayed" not in answer.headers for answer in answers)
    assert pay(psp, keys[0], once).content == answers[1].content
    assert psp.charge(merchant, once).content == mine.content


def test_a_key_that_is_used_up_still_repeats_its_answer(psp: Psp, merchant: Account) -> None:
    key, once = make(psp, merchant), unique()
    first = pay(psp, key, once)

    again = pay(psp, key, once)

    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert refused(pay(psp, key, once, paymentAmount=1)) == (422, "idempotency_key_reused")
    assert refused(pay(psp, key, unique())) == (409, "payment_key_used_up")


def test_a_key_repeats_what_a_token_paid(psp: Psp, merchant: Account) -> None:
    token_id = psp.post("/tokens", json=CARD, headers=merchant.key).json()["id"]
    key, once = make(psp, merchant), unique()

    answers = [pay(psp, key, once, cardToken=token_id) for _ in range(2)]

    assert answers[0].status_code == 201
    assert answers[0].content == answers[1].content


# Keys that open nothing


@pytest.mark.parametrize("ended", ["expired", "revoked"])
def test_a_key_that_has_ended_opens_nothing_and_says_so(
    psp: Psp, merchant: Account, database: Database[Row], ended: str
) -> None:
    key, once = make(psp, merchant, maxUses=None), unique()
    payment = pay(psp, key, once)
    path = f"/payment-keys/{key['id']}"
    if ended == "expired":
        past = datetime.now(UTC) - timedelta(seconds=1)
        database["payment_keys"].update_one({"_id": key["id"]}, {"$set": {"expires_at": past}})
    else:
        for _ in range(2):
            answer = psp.delete(path, headers=merchant.key)
            assert answer.json() == {"message": f"Payment key '{key['id']}' revoked successfully."}

    answer = pay(psp, key)

    assert refused(answer) == (401, "payment_key_expired")
    assert answer.json()["detail"] == "The payment key has expired or was revoked."
    assert refused(pay(psp, key, once)) == (401, "payment_key_expired")
    assert get(psp, merchant, key)["revoked"] is (ended == "revoked")
    assert psp.get(f"/payments/{payment.json()['id']}", headers=merchant.key).status_code == 200


def test_a_key_ends_by_itself(psp: Psp, merchant: Account) -> None:
    key = make(psp, merchant, maxUses=None, expiresIn=1)
    deadline = time.monotonic() + 30

    while pay(psp, key).status_code == 201:
        assert time.monotonic() < deadline
        time.sleep(0.1)

    assert refused(pay(psp, key)) == (401, "payment_key_expired")


@pytest.mark.parametrize("wrong", ["empty", "garbage", "id alone", "another's secret", "cut", "longer", "API key"])
def test_what_is_no_payment_key_is_a_401(psp: Psp, merchant: Account, wrong: str) -> None:
    key, other = (make(psp, merchant) for _ in range(2))
    text = {
        "empty": "",
        "garbage": "garbage",
        "id alone": key["id"],
        "another's secret": key["id"] + other["paymentKey"].removeprefix(other["id"]),
        "cut": key["paymentKey"][:-1],
        "longer": key["paymentKey"] + "a",
        "API key": merchant.api_key,
    }[wrong]

    answer = pay(psp, text)

    assert refused(answer) == (401, "invalid_payment_key")
    assert answer.json()["detail"] == "Invalid X-Payment-Key. Access denied."
    assert pay(psp, key).status_code == 201


def test_two_payment_keys_are_none(psp: Psp, merchant: Account) -> None:
    one, other = (make(psp, merchant)["paymentKey"] for _ in range(2))

    for texts in ((one, other), (one, "garbage"), (one, one)):
        answer = psp.post("/payments/charge", json=CHARGE, headers=[("X-Payment-Key", text) for text in texts])

        assert refused(answer) == (401, "invalid_payment_key")


def test_the_key_of_a_deleted_account_opens_nothing(psp: Psp, root: dict[str, str]) -> None:
    account = psp.register()
    key, once = make(psp, account, maxUses=None), unique()
    pay(psp, key, once)
    assert psp.delete(f"/users/{account.id}", headers=root).status_code == 200

    assert refused(pay(psp, key)) == (401, "invalid_payment_key")
    assert refused(pay(psp, key, once)) == (401, "invalid_payment_key")


def test_a_key_carries_its_accounts_role_at_the_time_of_the_call(psp: Psp, root: dict[str, str]) -> None:
    account = psp.register()
    key = make(psp, account, maxUses=None)
    psp.patch(f"/users/{account.id}/role", json={"new_role": "user"}, headers=root)

    assert pay(psp, key).status_code == 201  # users charge, too
