"""Reading payments: one, all, and those that a query asks for; describing and cancelling them."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pymongo.database import Database

from tests.conftest import Server
from tests.factories import API, Account, Psp
from tests.tables import each

Payment = dict[str, Any]
NO_MATCH = "No transactions found matching the query for this user."


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [payment["id"] for payment in answer.json()["transactions"]]


def read_through(
    psp: Psp, path: str, headers: dict[str, str], between: Callable[[], object], **query: Any
) -> list[str]:
    """Every id that the pages of a list show, with something that happens between one page and the next."""
    seen: list[str] = []
    while True:
        answer = psp.get(path, params=query, headers=headers)
        seen += ids(answer)
        query["cursor"] = answer.json()["nextCursor"]
        assert answer.json()["hasMore"] is (query["cursor"] is not None)
        if query["cursor"] is None:
            return seen
        between()


# One account with payments of every kind, which no test changes.


@pytest.fixture(scope="module")
def shelf(shared_psp: Psp, patient_psp: Psp, merchant: Account) -> list[Payment]:
    """Oldest first; equal amounts in two currencies, equal names in two cases."""
    made = [
        shared_psp.completed(merchant, customerName="Grace Hopper", paymentAmount=1000, currency="jpy", reference="a"),
        shared_psp.completed(merchant, customerName="GRACE hopper", paymentAmount=999.99, currency="USD"),
        shared_psp.completed(merchant, customerName="Ada", paymentAmount=999.99, currency="EUR", reference="b"),
        patient_psp.charge(merchant, customerName="Ada", paymentAmount=0.001, currency="KWD", reference="A").json(),
        patient_psp.charge(merchant, customerName="Stra\u00dfe", paymentAmount=1000.001, currency="KWD").json(),
        patient_psp.charge(merchant, customerName="$ne", paymentAmount=10**10, currency="USD", reference="a").json(),
    ]
    cancelled = patient_psp.charge(merchant, customerName="Ada Lovelace", paymentAmount=5, currency="USD").json()["id"]
    return [*made, patient_psp.post(f"/payments/{cancelled}/cancel", headers=merchant.key).json()]


FILTERS: Mapping[str, tuple[dict[str, Any], Callable[[Payment], bool]]] = {
    "none": ({}, lambda payment: True),
    "minAmount": ({"minAmount": "999.99"}, lambda payment: payment["amount"] >= 999.99),
    "minAmount between": ({"minAmount": "999.990001"}, lambda payment: payment["amount"] > 999.99),
    "maxAmount": ({"maxAmount": "1000"}, lambda payment: payment["amount"] <= 1000),
    "maxAmount between": ({"maxAmount": "999.9999"}, lambda payment: payment["amount"] < 1000),
    "both amounts": ({"minAmount": 5, "maxAmount": "999.99"}, lambda payment: 5 <= payment["amount"] <= 999.99),
    "huge amount": ({"maxAmount": "9" * 40}, lambda payment: True),
    "amount beyond 64 bits": ({"maxAmount": "4437482594513646.0"}, lambda payment: True),
    "status": ({"status": "completed"}, lambda payment: payment["status"] == "completed"),
    "another status": ({"status": "cancelled"}, lambda payment: payment["status"] == "cancelled"),
    "currency": ({"currency": "USD"}, lambda payment: payment["currency"] == "USD"),
    "currency in lower case": ({"currency": "kwd"}, lambda payment: payment["currency"] == "KWD"),
    "customerName": (
        {"customerName": "grace HOPPER"},
        lambda payment: payment["customerName"].lower() == "grace hopper",
    ),
    "customerName folded": ({"customerName": "STRASSE"}, lambda payment: payment["customerName"] == "Stra\u00dfe"),
    "customerName is text": ({"customerName": "$ne"}, lambda payment: payment["customerName"] == "$ne"),
    "reference": ({"reference": "a"}, lambda payment: payment["reference"] == "a"),
    "two": (
        {"currency": "USD", "status": "completed"},
        lambda payment: payment["amount"] == 999.99 and payment["currency"] == "USD",
    ),
}
SORTS: Mapping[str, Callable[[Payment], Any]] = {
    "amount": lambda payment: (Decimal(str(payment["amount"])), payment["id"]),
    "createdAt": lambda payment: (payment["createdAt"], payment["id"]),
}


@each("order", ["asc", "desc"])
@each("sort", SORTS)
@each("name", FILTERS)
def test_every_filter_goes_with_every_sort(
    shared_psp: Psp, merchant: Account, shelf: list[Payment], name: str, sort: str, order: str
) -> None:
    query, fits = FILTERS[name]
    wanted = sorted((one for one in shelf if fits(one)), key=SORTS[sort], reverse=order == "desc")

    answer = shared_psp.get(
        "/payments/query", params={**query, "sortBy": sort, "sortOrder": order}, headers=merchant.both
    )

    assert answer.json()["transactions"] == wanted
    assert answer.json() == {
        "userId": merchant.id,
        "totalTransactions": len(wanted),
        "totalIsLowerBound": False,
        "transactions": wanted,
        "hasMore": False,
        "nextCursor": None,
    }


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORTS)
def test_a_time_filter_includes_both_ends(
    shared_psp: Psp, merchant: Account, shelf: list[Payment], sort: str, order: str
) -> None:
    first, last = shelf[1]["createdAt"], shelf[4]["createdAt"]
    wanted = [one for one in shelf if first <= one["createdAt"] <= last]

    answer = shared_psp.get(
        "/payments/query",
        params={"createdFrom": first, "createdTo": last, "sortBy": sort, "sortOrder": order},
        headers=merchant.both,
    )

    assert ids(answer) == [one["id"] for one in sorted(wanted, key=SORTS[sort], reverse=order == "desc")]


def test_a_time_may_be_given_in_another_zone(shared_psp: Psp, merchant: Account, shelf: list[Payment]) -> None:
    for query in ({"createdFrom": "2000-01-01T00:00:00+02:00"}, {"createdTo": "2200-01-01T00:00:00-11:00"}):
        assert len(ids(shared_psp.get("/payments/query", params=query, headers=merchant.both))) == len(shelf)


def test_1000_yen_are_more_than_999_99_dollars(shared_psp: Psp, merchant: Account, shelf: list[Payment]) -> None:
    query = {"sortBy": "amount", "sortOrder": "desc", "maxAmount": 1000, "minAmount": 999}

    answer = shared_psp.get("/payments/query", params=query, headers=merchant.both).json()

    shown = [(one["amount"], one["currency"]) for one in answer["transactions"]]
    assert shown[0] == (1000, "JPY")
    assert set(shown[1:]) == {(999.99, "USD"), (999.99, "EUR")}


@pytest.mark.parametrize(
    "query",
    [
        {"minAmount": "1000", "maxAmount": "1"},
        {"minAmount": "4437482594513646.0"},
        {"reference": "nobody's"},
        {"customerName": "Grace"},
        {"customerName": ".*"},
        {"status": "refunded"},
        {"currency": "CHF"},
        {"createdTo": "2000-01-01T00:00:00Z"},
        {"reference": "\0"},
    ],
)
def test_a_query_that_nothing_matches_is_a_404(
    shared_psp: Psp, merchant: Account, shelf: list[Payment], query: dict[str, str]
) -> None:
    answer = shared_psp.get("/payments/query", params=query, headers=merchant.both)

    assert (answer.status_code, answer.json()["detail"]) == (404, NO_MATCH)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[
            (bound, value)
            for bound in ("minAmount", "maxAmount")
            for value in ("-1", "NaN", "inf", "1e3", "x", "", "1,5")
        ],
        ("minAmount", "\u0661"),
        ("minAmount", "9" * 100),
        ("sortBy", "customerName"),
        ("sortBy", "-amount"),
        ("sortOrder", "descending"),
        ("status", "done"),
        ("currency", "XXX"),
        ("currency", "EURO"),
        ("customerName", ""),
        ("customerName", "x" * 201),
        ("reference", "x" * 256),
        ("createdFrom", "yesterday"),
        ("createdFrom", "nan"),
        ("createdFrom", "1e400"),
        ("createdFrom", "0001-01-01T00:00:00+23:00"),
        ("createdTo", "9999-12-31T23:59:59-23:00"),
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "ten"),
        ("limit", "9" * 5000),
        ("cursor", ""),
        ("cursor", "abc"),
        ("cursor", "\u00e9"),
        ("cursor", "x" * 513),
        ("ownerId", "user_1"),
        ("page", "2"),
        ("minAmount[$gt]", "1"),
    ],
)
def test_a_wrong_query_is_a_422(shared_psp: Psp, merchant: Account, field: str, value: str) -> None:
    answer = shared_psp.get("/payments/query", params={field: value}, headers=merchant.both)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", field]


@pytest.mark.parametrize(
    "change",
    [
        lambda mark, number, last: [mark, 10**30, last],
        lambda mark, number, last: [mark, 2**62, last],
        lambda mark, number, last: [mark, -(2**62), last],
        lambda mark, number, last: [mark, number, "\ud800"],
        lambda mark, number, last: [mark, number, "\0"],
        lambda mark, number, last: [mark, number, {"$ne": None}],
        lambda mark, number, last: [mark, {"$gt": 0}, last],
        lambda mark, number, last: [mark, True, last],
        lambda mark, number, last: [mark, 1.5, last],
        lambda mark, number, last: ["", number, last],
        lambda mark, number, last: [["$where"], number, last],
        lambda mark, number, last: ["created_at", 1, number, last],
        lambda mark, number, last: [mark],
        lambda mark, number, last: {"a": mark, "b": number, "c": last},
        lambda mark, number, last: {},
        lambda mark, number, last: None,
        lambda mark, number, last: "abc",
        lambda mark, number, last: [[[[]]]],
    ],
)
def test_a_cursor_that_somebody_made_up_is_refused(
    shared_psp: Psp, merchant: Account, shelf: list[Payment], change: Callable[..., object]
) -> None:
    query = {"cursor": changed_cursor(shared_psp, merchant, change)}

    answer = shared_psp.get("/payments/query", params=query, headers=merchant.both)

    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", "cursor"])


def changed_cursor(psp: Psp, account: Account, change: Callable[..., object], **query: str) -> str:
    """One that the list gave out, with something else inside."""
    given = psp.get("/payments/query", params={"limit": "1", **query}, headers=account.both).json()["nextCursor"]
    content = change(*json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4))))
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


NUMBERS = (2**63, 2**63 - 1, -(2**63), 1 - 2**63, 10**18, 253402300800000, 253402300799999, -62135596800001, 0)


@each("sort_order", ["asc", "desc"])
@each("sort_by", ["createdAt", "amount"])
@each("number", NUMBERS)
def test_a_cursor_may_carry_any_number(
    shared_psp: Psp, merchant: Account, shelf: list[Payment], number: int, sort_by: str, sort_order: str
) -> None:
    """One that no moment or no stored amount can be is refused; any other is a place in the list, perhaps at an end."""
    sort = {"sortBy": sort_by, "sortOrder": sort_order}
    cursor = changed_cursor(shared_psp, merchant, lambda mark, _, last: [mark, number, last], **sort)

    answer = shared_psp.get("/payments/query", params={**sort, "cursor": cursor}, headers=merchant.both)

    least, most = (-62135596800000, 253402300799999) if sort_by == "createdAt" else (1 - 2**63, 2**63 - 1)
    possible = least <= number <= most
    assert answer.status_code in ((200, 404) if possible else (422,)), answer.text
    if not possible:
        assert answer.json()["detail"][0]["loc"] == ["query", "cursor"]


def test_key_and_token_must_be_of_one_account(shared_psp: Psp, merchant: Account, user: Account) -> None:
    answer = shared_psp.get("/payments/query", headers={**merchant.key, **user.bearer})

    assert answer.status_code == 403


# All.


def test_all_payments_are_listed_newest_first(shared_psp: Psp, merchant: Account, shelf: list[Payment]) -> None:
    answer = shared_psp.get("/payments/all", headers=merchant.key)

    assert answer.json()["userId"] == merchant.id
    assert answer.json()["totalTransactions"] == len(shelf)
    assert answer.json()["transactions"] == sorted(shelf, key=SORTS["createdAt"], reverse=True)
    assert (answer.json()["hasMore"], answer.json()["nextCursor"]) == (False, None)


def test_where_there_are_none_it_is_a_404(shared_psp: Psp, user: Account) -> None:
    everything = shared_psp.get("/payments/all", headers=user.key)
    query = shared_psp.get("/payments/query", headers=user.both)

    assert (everything.status_code, everything.json()["detail"]) == (404, "No transactions found for this user.")
    assert (query.status_code, query.json()["detail"]) == (404, NO_MATCH)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "101"}, {"cursor": "x"}, {"status": "completed"}])
def test_a_wrong_question_for_all_is_a_422(shared_psp: Psp, merchant: Account, query: dict[str, str]) -> None:
    answer = shared_psp.get("/payments/all", params=query, headers=merchant.key)

    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", *query])


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORTS)
def test_pages_are_stable_while_new_payments_arrive(psp: Psp, sort: str, order: str) -> None:
    account = psp.register("merchant")
    made = [psp.charge(account, paymentAmount=amount).json() for amount in (5, 3, 5, 1, 5, 4)]

    arriving = iter((2, 5, 9, 1, 5))

    def more() -> None:
        if (amount := next(arriving, None)) is not None:
            psp.charge(account, paymentAmount=amount)

    seen = read_through(psp, "/payments/query", account.both, more, sortBy=sort, sortOrder=order, limit=2, maxAmount=5)

    known = [one["id"] for one in sorted(made, key=SORTS[sort], reverse=order == "desc")]
    assert len(seen) == len(set(seen))
    assert [one for one in seen if one in known] == known


def test_all_is_paged_by_100_and_query_by_50_unless_a_limit_is_given(psp: Psp, database: Database[Any]) -> None:
    account = psp.register("merchant")
    made = copies(database, psp.completed(account)["id"], 119)

    first = psp.get("/payments/all", headers=account.key)
    assert (len(ids(first)), first.json()["totalTransactions"]) == (100, 120)
    assert len(ids(psp.get("/payments/query", headers=account.both))) == 50
    assert len(ids(psp.get("/payments/query", params={"limit": 1}, headers=account.both))) == 1
    assert set(read_through(psp, "/payments/all", account.key, lambda: None)) == made
    assert set(read_through(psp, "/payments/query", account.both, lambda: None, limit=100)) == made


def test_totals_are_exact_up_to_1000_and_then_a_lower_bound(psp: Psp, database: Database[Any]) -> None:
    account = psp.register("merchant")
    payment_id = psp.completed(account)["id"]

    copies(database, payment_id, 999)
    exact = psp.get("/payments/all", headers=account.key).json()
    assert (exact["totalTransactions"], exact.get("totalIsLowerBound", False)) == (1000, False)

    copies(database, payment_id, 1)
    for answer in (psp.get("/payments/all", headers=account.key), psp.get("/payments/query", headers=account.both)):
        assert (answer.json()["totalTransactions"], answer.json()["totalIsLowerBound"]) == (1000, True)


def copies(database: Database[Any], payment_id: str, count: int) -> set[str]:
    """Many payments like this one, faster than by charging; all ids there are then."""
    original = database.payments.find_one({"_id": payment_id})
    assert original is not None
    start = database.payments.count_documents({"owner_id": original["owner_id"]})
    database.payments.insert_many(
        [{**original, "_id": f"{payment_id[:-6]}{start + number:06}", "outbox": []} for number in range(count)]
    )
    return {row["_id"] for row in database.payments.find({"owner_id": original["owner_id"]}, {"_id": 1})}


# Admins.


def test_admins_read_every_accounts_payments(
    shared_psp: Psp, admin: Account, root: dict[str, str], merchant: Account, shelf: list[Payment]
) -> None:
    for headers in (admin.bearer, root):
        own = shared_psp.get("/admin/payments", params={"ownerId": merchant.id}, headers=headers)
        assert ids(own) == [one["id"] for one in reversed(shelf)]
        assert own.json()["totalTransactions"] == len(shelf)
        assert len(ids(shared_psp.get("/admin/payments", headers=headers))) > 0

    assert shared_psp.get("/admin/payments", headers=merchant.bearer).status_code == 403


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", FILTERS)
def test_admins_have_the_filters_of_query(
    shared_psp: Psp, admin: Account, merchant: Account, shelf: list[Payment], name: str, sort: str
) -> None:
    query, fits = FILTERS[name]
    wanted = sorted((one for one in shelf if fits(one)), key=SORTS[sort])

    answer = shared_psp.get(
        "/admin/payments",
        params={**query, "sortBy": sort, "sortOrder": "asc", "ownerId": merchant.id},
        headers=admin.bearer,
    )

    assert answer.json()["transactions"] == wanted


# One.


def test_one_payment_is_shown_with_its_refunds_and_an_etag(
    shared_psp: Psp, merchant: Account, shelf: list[Payment]
) -> None:
    payment = shelf[0]
    path = f"/payments/{payment['id']}"

    answer = shared_psp.get(path, headers=merchant.key)

    etag = answer.headers["etag"]
    assert answer.json() == payment
    assert answer.json()["refunds"] == []
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        unchanged = shared_psp.get(path, headers={**merchant.key, "If-None-Match": known})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)
    assert shared_psp.get(path, headers={**merchant.key, "If-None-Match": '"other"'}).status_code == 200


def test_an_etag_changes_with_the_payment(psp: Psp, merchant: Account) -> None:
    path = f"/payments/{psp.completed(merchant, reference='etag')['id']}"
    before = psp.get(path, headers=merchant.key).headers["etag"]

    psp.patch(path, json={"details": "other"}, headers=merchant.key)

    after = psp.get(path, headers={**merchant.key, "If-None-Match": before})
    assert (after.status_code, after.json()["details"]) == (200, "other")
    psp.delete(path.replace("payments", "transactions"), headers=merchant.bearer)


def test_another_accounts_payment_is_as_good_as_none(
    shared_psp: Psp, merchant: Account, admin: Account, shelf: list[Payment]
) -> None:
    payment_id = shelf[-1]["id"]
    stranger = shared_psp.register("merchant")

    for account in (stranger, admin):
        for answer in (
            shared_psp.get(f"/payments/{payment_id}", headers=account.key),
            shared_psp.patch(f"/payments/{payment_id}", json={"details": "x"}, headers=account.key),
            shared_psp.post(f"/payments/{payment_id}/cancel", headers=account.key),
        ):
            sentence = f"Transaction '{payment_id}' not found for this user."
            assert (answer.status_code, answer.json()["detail"], answer.json()["code"]) == (404, sentence, "not_found")


# Describing.


def test_what_describes_a_payment_can_be_changed(psp: Psp) -> None:
    account = psp.register("merchant")
    before = psp.completed(account, details="old", reference="old", metadata={"old": "1"})
    path = f"/payments/{before['id']}"

    changed = psp.patch(path, json={"details": "$set", "metadata": {"a.b": "$inc", "$ne": ""}}, headers=account.key)

    assert changed.status_code == 200
    after = changed.json()
    assert (after["details"], after["reference"]) == ("$set", "old")
    assert after["metadata"] == {"a.b": "$inc", "$ne": ""}
    assert after["updatedAt"] > before["updatedAt"]
    described = {"details", "metadata", "updatedAt"}
    assert {name for name in before if before[name] != after[name]} == described
    assert psp.get(path, headers=account.key).json() == after

    cleared = psp.patch(path, json={"details": None, "reference": None, "metadata": None}, headers=account.key).json()
    assert (cleared["details"], cleared["reference"], cleared["metadata"]) == (None, None, {})


def test_changing_nothing_changes_nothing(shared_psp: Psp, merchant: Account, shelf: list[Payment]) -> None:
    answer = shared_psp.patch(f"/payments/{shelf[0]['id']}", json={}, headers=merchant.key)

    assert (answer.status_code, answer.json()) == (200, shelf[0])


@pytest.mark.parametrize("field", ["status", "paymentAmount", "amount", "currency", "customerName", "webhookUrl", "id"])
def test_nothing_else_can_be_changed(shared_psp: Psp, merchant: Account, shelf: list[Payment], field: str) -> None:
    answer = shared_psp.patch(f"/payments/{shelf[0]['id']}", json={field: "x", "details": "x"}, headers=merchant.key)

    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", field])
    assert shared_psp.get(f"/payments/{shelf[0]['id']}", headers=merchant.key).json() == shelf[0]


def test_changes_that_meet_a_worker_are_lost_on_neither_side(psp: Psp) -> None:
    account = psp.register("merchant")
    for number in range(10):
        payment_id = psp.charge(account).json()["id"]
        for _ in range(5):
            changed = psp.patch(f"/payments/{payment_id}", json={"details": str(number)}, headers=account.key)
            assert (changed.status_code, changed.json()["details"]) == (200, str(number))
        last = psp.charge(account, {"Prefer": "wait=30"})
        assert last.json()["status"] == "completed"

    shown = psp.get("/payments/query", params={"limit": 100, "status": "completed"}, headers=account.both).json()
    assert {one["details"] for one in shown["transactions"]} == {None, *map(str, range(10))}


# Cancelling.


def test_a_pending_payment_is_cancelled(patient_psp: Psp, user: Account) -> None:
    payment = patient_psp.charge(user).json()

    answer = patient_psp.post(f"/payments/{payment['id']}/cancel", headers=user.key)

    assert answer.status_code == 200
    cancelled = answer.json()
    assert (cancelled["status"], cancelled["amountCaptured"]) == ("cancelled", 0)
    assert {name for name in payment if payment[name] != cancelled[name]} <= {"status", "sequence", "updatedAt"}
    assert patient_psp.get(f"/payments/{payment['id']}", headers=user.key).json() == cancelled


def test_what_is_cancelled_or_completed_is_not_cancelled(psp: Psp, patient_psp: Psp) -> None:
    account = psp.register("user")
    completed = psp.completed(account)["id"]
    cancelled = patient_psp.charge(account).json()["id"]
    patient_psp.post(f"/payments/{cancelled}/cancel", headers=account.key)

    for payment_id in (completed, cancelled):
        answer = psp.post(f"/payments/{payment_id}/cancel", headers=account.key)
        assert (answer.status_code, answer.json()["code"]) == (409, "invalid_state")


@pytest.mark.parametrize(
    "options", [{}, {"json": {}}, {"content": b"", "headers": {"Content-Type": "application/json"}}]
)
def test_cancelling_needs_no_body(patient_psp: Psp, merchant: Account, options: dict[str, Any]) -> None:
    account = patient_psp.register("user")
    payment_id = patient_psp.charge(account).json()["id"]
    headers = {**account.key, **options.get("headers", {})}

    answer = patient_psp.post(f"/payments/{payment_id}/cancel", **{**options, "headers": headers})

    assert answer.status_code == 200


def test_the_same_key_repeats_a_cancellation_to_the_byte(patient_psp: Psp) -> None:
    account = patient_psp.register("user")
    path = f"/payments/{patient_psp.charge(account).json()['id']}"
    headers = {**account.key, "Idempotency-Key": "k"}

    first = patient_psp.post(f"{path}/cancel", headers=headers)
    patient_psp.patch(path, json={"details": "later"}, headers=account.key)
    patient_psp.delete(path, headers=account.bearer)
    again = patient_psp.post(f"{path}/cancel", headers=headers)

    assert first.status_code == again.status_code == 200
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers


def test_one_key_cancels_one_payment(patient_psp: Psp) -> None:
    account = patient_psp.register("user")
    first, second = (patient_psp.charge(account).json()["id"] for _ in range(2))
    headers = {**account.key, "Idempotency-Key": "k"}
    patient_psp.post(f"/payments/{first}/cancel", headers=headers)

    other = patient_psp.post(f"/payments/{second}/cancel", headers=headers)

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert patient_psp.get(f"/payments/{second}", headers=account.key).json()["status"] == "pending"


def test_a_key_of_a_charge_is_free_for_a_cancellation(patient_psp: Psp) -> None:
    account = patient_psp.register("user")
    headers = {**account.key, "Idempotency-Key": "k"}
    payment_id = patient_psp.charge(account, headers).json()["id"]

    assert patient_psp.post(f"/payments/{payment_id}/cancel", headers=headers).status_code == 200


def test_a_cancellation_that_was_refused_claims_nothing(psp: Psp, patient_psp: Psp) -> None:
    account = psp.register("user")
    headers = {**account.key, "Idempotency-Key": "k"}
    completed, pending = psp.completed(account)["id"], patient_psp.charge(account).json()["id"]

    assert psp.post(f"/payments/{completed}/cancel", headers=headers).status_code == 409
    assert psp.post("/payments/txn_none/cancel", headers=headers).status_code == 404
    assert psp.post(f"/payments/{pending}/cancel", headers=headers).status_code == 200


def at_once(server: Server, path: str, headers: list[dict[str, str]]) -> list[httpx.Response]:
    def send(one: dict[str, str]) -> httpx.Response:
        return httpx.post(f"{server.url}{API}{path}", headers=one, timeout=30, verify=False)

    with ThreadPoolExecutor(len(headers)) as pool:
        return list(pool.map(send, headers))


def test_many_cancellations_at_once_with_one_key_are_one(patient_psp: Psp, patient_server: Server) -> None:
    account = patient_psp.register("user")
    for number in range(5):
        payment_id = patient_psp.charge(account).json()["id"]
        headers = {**account.key, "Idempotency-Key": str(number)}

        answers = at_once(patient_server, f"/payments/{payment_id}/cancel", [headers] * 12)

        assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
        assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1


def test_of_many_cancellations_at_once_one_succeeds(
    patient_psp: Psp, patient_server: Server, database: Database[Any]
) -> None:
    account = patient_psp.register("user")
    payment_id = patient_psp.charge(account).json()["id"]
    headers = [account.key] * 6 + [{**account.key, "Idempotency-Key": str(number)} for number in range(6)]

    answers = at_once(patient_server, f"/payments/{payment_id}/cancel", headers)

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
    stored = database.payments.find_one({"_id": payment_id})
    assert stored is not None
    assert stored["sequence"] == 2


def test_a_cancellation_that_meets_the_worker_ends_in_one_state(
    psp: Psp, server: Server, database: Database[Any]
) -> None:
    """Whoever comes first decides; the events tell exactly what happened, numbered without gaps."""
    account = psp.register("user")
    outcomes = {}
    for number in range(25):
        payment_id = psp.charge(account).json()["id"]
        if number % 2:  # the worker may be there already
            psp.get(f"/payments/{payment_id}", headers=account.key)
            time.sleep(number / 250)
        outcomes[payment_id] = psp.post(f"/payments/{payment_id}/cancel", headers=account.key).status_code

    psp.completed(account)
    for payment_id, status in outcomes.items():
        shown = psp.get(f"/payments/{payment_id}", headers=account.key).json()
        assert shown["status"] == ("cancelled" if status == 200 else "completed")
        stored = database.payments.find_one({"_id": payment_id})
        assert stored is not None
        assert stored["sequence"] == (2 if status == 200 else 3)
