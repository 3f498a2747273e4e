"""Customers: made, found, changed and deleted by their merchant, each change told once."""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pymongo.database import Database

from schemas.customers import CustomerOut
from schemas.event_types import EVENT_TYPES
from schemas.events import CustomerEventOut
from tests.factories import Account, Psp
from tests.tables import each

Row = dict[str, Any]
WHOLE = {
    "name": "Grace Hopper",
    "email": "Grace@example.com",
    "phone": "020 7946 0018",
    "country": "United Kingdom",
    "description": "Prefers invoices by post",
    "metadata": {"crmId": "C-17", "$set": "a.b"},
}


def create(psp: Psp, account: Account, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return psp.post("/customers", json={"name": "Grace Hopper", **fields}, headers={**account.key, **(headers or {})})


def made(psp: Psp, account: Account, **fields: Any) -> Row:
    answer = create(psp, account, **fields)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def listed(psp: Psp, account: Account, **query: Any) -> list[str]:
    answer = psp.get("/customers", params=query, headers=account.key)
    assert answer.status_code == 200, answer.text
    return [customer["id"] for customer in answer.json()["customers"]]


def events(database: Database[Row], customer_id: str, count: int) -> list[Row]:
    """The customer's events once there are so many, in the order of their numbers."""
    deadline = time.monotonic() + 30
    while True:
        found = list(database["events"].find({"stream_id": customer_id}).sort("sequence", 1))
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


# Making one


def test_a_customer_is_shown_with_all_that_was_sent(psp: Psp, merchant: Account) -> None:
    answer = create(psp, merchant, **WHOLE)

    customer = answer.json()
    assert answer.status_code == 201
    assert customer["id"].startswith("cus_")
    assert customer["createdAt"] == customer["updatedAt"]
    assert {name: customer[name] for name in customer.keys() - {"id", "createdAt", "updatedAt"}} == {
        **WHOLE,
        "ownerId": merchant.id,
        "phone": "+442079460018",
        "phoneAsTyped": "020 7946 0018",
        "country": "GB",
    }
    assert CustomerOut.model_validate(customer).model_dump(mode="json", by_alias=True) == customer
    assert psp.get(f"/customers/{customer['id']}", headers=merchant.key).json() == customer


def test_a_name_is_all_that_is_needed(psp: Psp, merchant: Account) -> None:
    customer = made(psp, merchant, email=None, metadata={})

    assert customer["name"] == "Grace Hopper"
    for field in ("email", "phone", "phoneAsTyped", "country", "description"):
        assert customer[field] is None
    assert customer["metadata"] == {}


@pytest.mark.parametrize("credential", ["key", "bearer", "both"])
def test_either_credential_opens_every_route(psp: Psp, merchant: Account, credential: str) -> None:
    headers = getattr(merchant, credential)
    path = f"/customers/{psp.post('/customers', json={'name': 'Ada'}, headers=headers).json()['id']}"

    assert psp.get("/customers", headers=headers).status_code == 200
    assert psp.get(path, headers=headers).status_code == 200
    assert psp.put(path, json={"name": "Ada L."}, headers=headers).status_code == 200
    assert psp.patch(path, json={"name": "Ada Lovelace"}, headers=headers).status_code == 200
    assert psp.delete(path, headers=headers).status_code == 200


def test_a_user_has_no_customers(psp: Psp, user: Account) -> None:
    answer = create(psp, user)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["detail"] == "Access denied. Allowed roles: ('merchant', 'admin', 'system_admin')"


TEXT_LIMITS = {"name": 200, "description": 1000, "phone": 50, "country": 100}
BAD: Mapping[str, tuple[Row, str, str]] = {
    "no name": ({"name": None}, "name", "string_type"),
    "empty name": ({"name": ""}, "name", "string_too_short"),
    "blank name": ({"name": " \t "}, "name", "string_pattern_mismatch"),
    "a name blank to some": ({"name": "\u3000\x85\ufeff\x1c"}, "name", "string_pattern_mismatch"),
    "name of another type": ({"name": 5}, "name", "string_type"),
    "e-mail without a host": ({"email": "grace"}, "email", "string_pattern_mismatch"),
    "empty e-mail": ({"email": ""}, "email", "string_pattern_mismatch"),
    "e-mail as an operator": ({"email": {"$ne": ""}}, "email", "string_type"),
    "phone of words": ({"phone": "call me", "country": "GB"}, "phone", "value_error"),
    "phone of no country": ({"phone": "020 7946 0018"}, "phone", "value_error"),
    "phone too short": ({"phone": "+4420"}, "phone", "value_error"),
    "phone of an unknown country code": ({"phone": "+999 1234567"}, "phone", "value_error"),
    "phone as a number": ({"phone": 442079460018}, "phone", "string_type"),
    "empty phone": ({"phone": ""}, "phone", "string_too_short"),
    "unknown country": ({"country": "Atlantis"}, "country", "value_error"),
    "country code nobody has": ({"country": "XX"}, "country", "value_error"),
    "empty country": ({"country": ""}, "country", "string_too_short"),
    "metadata of another type": ({"metadata": ["a"]}, "metadata", "dict_type"),
    "metadata of numbers": ({"metadata": {"a": 1}}, "metadata", "string_type"),
    "metadata with a long key": ({"metadata": {"k" * 41: ""}}, "metadata", "string_too_long"),
    "metadata with a long value": ({"metadata": {"k": "v" * 501}}, "metadata", "string_too_long"),
    "too much metadata": ({"metadata": {str(number): "" for number in range(51)}}, "metadata", "too_long"),
    "an unknown field": ({"colour": "red"}, "colour", "extra_forbidden"),
    "a field of ours": ({"ownerId": "user_1"}, "ownerId", "extra_forbidden"),
    **{f"long {name}": ({name: "x" * (limit + 1)}, name, "string_too_long") for name, limit in TEXT_LIMITS.items()},
}


@each("method", ["POST", "PUT", "PATCH"])
@each("case", BAD)
def test_bad_input_is_named_and_changes_nothing(psp: Psp, merchant: Account, case: str, method: str) -> None:
    fields, field, kind = BAD[case]
    customer = made(psp, merchant)
    path = "/customers" if method == "POST" else f"/customers/{customer['id']}"
    body = fields if method == "PATCH" else {"name": "Grace Hopper", **fields}

    answer = psp.client.request(method, f"/api/v1{path}", json=body, headers=merchant.key)

    assert answer.status_code == 422, answer.text
    assert [(one["loc"][:2], one["type"]) for one in answer.json()["detail"]] == [(["body", field], kind)]
    assert psp.get(f"/customers/{customer['id']}", headers=merchant.key).json() == customer
    assert listed(psp, merchant, limit=1) == [customer["id"]]


# Idempotency


def test_the_same_idempotency_key_repeats_the_first_answer_to_the_byte(psp: Psp, merchant: Account) -> None:
    first = create(psp, merchant, {"Idempotency-Key": "twice"}, **WHOLE)
    path = f"/customers/{first.json()['id']}"
    psp.patch(path, json={"name": "Somebody Else"}, headers=merchant.key)
    psp.delete(path, headers=merchant.key)

    # The same country under another of its names is the same request, and so is another order of the fields.
    same = {**dict(reversed(WHOLE.items())), "country": "GBR"}
    again = create(psp, merchant, {"Idempotency-Key": '"twice"'}, **same)

    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.content) == (201, first.content)


def test_the_same_key_with_another_body_is_refused(psp: Psp, merchant: Account) -> None:
    create(psp, merchant, {"Idempotency-Key": "other"})

    answer = create(psp, merchant, {"Idempotency-Key": "other"}, country="GB")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_belongs_to_the_account_and_the_route_and_a_refused_request_claims_none(psp: Psp) -> None:
    first, second = psp.register(), psp.register()
    headers = {"Idempotency-Key": "k"}

    assert create(psp, first, headers, phone="1").status_code == 422
    assert psp.charge(first, headers).status_code == 201
    answers = [create(psp, account, headers) for account in (first, second)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] != answers[1].json()["id"]


def test_many_at_once_with_one_key_make_one_customer(psp: Psp, database: Database[Row]) -> None:
    account = psp.register()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: create(psp, account, {"Idempotency-Key": "race"}, **WHOLE), range(20)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert listed(psp, account) == [answers[0].json()["id"]]
    assert len(events(database, answers[0].json()["id"], 1)) == 1


# Reading one


def test_a_customer_that_has_not_changed_is_not_sent_again(psp: Psp, merchant: Account) -> None:
    path = f"/customers/{made(psp, merchant)['id']}"
    etag = psp.get(path, headers=merchant.key).headers["ETag"]

    unchanged = psp.get(path, headers={**merchant.key, "If-None-Match": etag})
    psp.patch(path, json={"description": "new"}, headers=merchant.key)
    changed = psp.get(path, headers={**merchant.key, "If-None-Match": etag})

    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_anothers_customer_looks_like_a_missing_one(
    psp: Psp, merchant: Account, root: dict[str, str], method: str
) -> None:
    customer = made(psp, merchant)
    body = {"json": {"name": "Mine now"}} if method in ("PUT", "PATCH") else {}

    for headers in (psp.register().key, root):
        for customer_id in (customer["id"], "cus_none"):
            answer = psp.client.request(method, f"/api/v1/customers/{customer_id}", headers=headers, **body)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
            assert answer.json()["detail"] == f"Customer '{customer_id}' not found."
    assert psp.get(f"/customers/{customer['id']}", headers=merchant.key).json() == customer


# Changing one


def test_replacing_clears_what_is_not_sent(psp: Psp, merchant: Account) -> None:
    customer = made(psp, merchant, **WHOLE)

    answer = psp.put(f"/customers/{customer['id']}", json={"name": "Ada", "country": "fr"}, headers=merchant.key)

    empty = {"email": None, "phone": None, "phoneAsTyped": None, "description": None, "metadata": {}}
    expected = {**customer, **empty, "name": "Ada", "country": "FR", "updatedAt": answer.json()["updatedAt"]}
    assert (answer.status_code, answer.json()) == (200, expected)
    assert psp.get(f"/customers/{customer['id']}", headers=merchant.key).json() == expected
    assert expected["updatedAt"] > customer["updatedAt"]


def test_changing_leaves_what_is_not_sent_and_null_clears(psp: Psp, merchant: Account) -> None:
    customer = made(psp, merchant, **WHOLE)
    path = f"/customers/{customer['id']}"

    answer = psp.patch(path, json={"email": None, "metadata": {"seat": "8A"}}, headers=merchant.key).json()

    assert answer == {**customer, "email": None, "metadata": {"seat": "8A"}, "updatedAt": answer["updatedAt"]}


def test_a_phone_number_is_read_as_one_of_the_country_that_the_customer_has(psp: Psp, merchant: Account) -> None:
    path = f"/customers/{made(psp, merchant, country='GB')['id']}"

    def change(**fields: Any) -> tuple[Any, ...]:
        customer = psp.patch(path, json=fields, headers=merchant.key).json()
        return customer["country"], customer["phone"], customer["phoneAsTyped"]

    assert change(phone="020 7946 0018") == ("GB", "+442079460018", "020 7946 0018")
    assert change(country="DE") == ("DE", "+442079460018", "020 7946 0018")
    assert change(phone="030 123456") == ("DE", "+4930123456", "030 123456")
    assert change(phone="(415) 555-2671", country="USA") == ("US", "+14155552671", "(415) 555-2671")
    assert change(phone=None) == ("US", None, None)
    assert psp.patch(path, json={"country": None, "phone": "030 123456"}, headers=merchant.key).status_code == 422


# Deleting one


def test_a_deleted_customer_is_shown_no_more_and_its_payments_stay(psp: Psp) -> None:
    account = psp.register()
    kept, customer = made(psp, account, name="Kept"), made(psp, account, **WHOLE)
    payment = psp.completed(account)
    path = f"/customers/{customer['id']}"

    answer = psp.delete(path, headers=account.key)

    assert (answer.status_code, answer.json()) == (
        200,
        {"message": f"Customer '{customer['id']}' deleted successfully."},
    )
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        body = {"json": {"name": "Back"}} if method in ("PUT", "PATCH") else {}
        again = psp.client.request(method, f"/api/v1{path}", headers=account.key, **body)
        assert (again.status_code, again.json()["detail"]) == (404, f"Customer '{customer['id']}' not found.")
    assert listed(psp, account) == [kept["id"]]
    for query in ({"name": "grace"}, {"email": WHOLE["email"]}, {"phone": "+442079460018"}):
        assert listed(psp, account, **query) == []
    assert psp.get(f"/payments/{payment['id']}", headers=account.key).json() == payment


# Lists


@pytest.fixture(scope="module")
def shelf(shared_psp: Psp) -> tuple[Account, dict[str, str]]:
    """An account with customers that no test changes: ids by what they are called here, the oldest first."""
    account = shared_psp.register()
    rows: Mapping[str, Row] = {
        "grace": {"name": "Grace Hopper", "email": "grace@example.com", "phone": "020 7946 0018", "country": "GB"},
        "GRACE": {"name": "GRACE KELLY", "email": "GRACE@EXAMPLE.COM", "phone": "+44 (0)20 7946-0018"},
        "grant": {"name": "Grant", "email": "grant@example.com", "phone": "+1 415 555 2671"},
        "strasse": {"name": "Stra\u00dfe"},
        "regex": {"name": ".*"},
        "last": {"name": "\U0010ffff"},
        "composed": {"name": "Zo\u00eb Mart\u00ednez"},
        "decomposed": {"name": "Zoe\u0308"},
    }
    return account, {name: made(shared_psp, account, **row)["id"] for name, row in rows.items()}


FILTERS: Mapping[str, tuple[Row, set[str]]] = {
    "none": ({}, {"grace", "GRACE", "grant", "strasse", "regex", "last", "composed", "decomposed"}),
    "how a name begins": ({"name": "gra"}, {"grace", "GRACE", "grant"}),
    "in capitals": ({"name": "GRACE"}, {"grace", "GRACE"}),
    "the whole name": ({"name": "grace hopper"}, {"grace"}),
    "more than the name": ({"name": "grace hopper s"}, set()),
    "the middle of a name": ({"name": "hopper"}, set()),
    "letters that fold to two": ({"name": "STRASS"}, {"strasse"}),
    "accents, in either form": ({"name": "zo\u00eb"}, {"composed", "decomposed"}),
    "accents of two characters": ({"name": "zoe\u0308 MARTI\u0301"}, {"composed"}),
    "accents left out": ({"name": "zoe m"}, {"composed"}),
    "a pattern is no pattern": ({"name": ".*"}, {"regex"}),
    "a pattern that is none": ({"name": "("}, set()),
    "an operator is a text": ({"name": "$ne"}, set()),
    "e-mail in any case": ({"email": "Grace@Example.com"}, {"grace", "GRACE"}),
    "how an e-mail begins": ({"email": "grace"}, set()),
    "phone": ({"phone": "+442079460018"}, {"grace", "GRACE"}),
    "phone with spaces": ({"phone": "+44 20 7946 0018"}, {"grace", "GRACE"}),
    "phone without a plus": ({"phone": "14155552671"}, {"grant"}),
    "name and e-mail": ({"name": "grace h", "email": "grace@example.com"}, {"grace"}),
    "name and phone": ({"name": "grace k", "phone": "+442079460018"}, {"GRACE"}),
    "all of them": ({"name": "g", "email": "grant@example.com", "phone": "+14155552671"}, {"grant"}),
    "nothing like it": ({"email": "nobody@example.com"}, set()),
}


@pytest.mark.parametrize("case", FILTERS)
def test_a_filter_finds_what_it_names_newest_first(psp: Psp, shelf: tuple[Account, dict[str, str]], case: str) -> None:
    account, ids = shelf
    query, names = FILTERS[case]
    expected = [customer_id for name, customer_id in reversed(ids.items()) if name in names]

    page = psp.get("/customers", params=query, headers=account.key).json()

    assert page.keys() == {"customers", "totalCustomers", "totalIsLowerBound", "hasMore", "nextCursor"}
    assert [customer["id"] for customer in page["customers"]] == expected
    assert (page["totalCustomers"], page["totalIsLowerBound"]) == (len(expected), False)
    assert (page["hasMore"], page["nextCursor"]) == (False, None)


def test_a_plus_that_was_not_escaped_finds_the_number_too(psp: Psp, shelf: tuple[Account, dict[str, str]]) -> None:
    account, ids = shelf

    found = psp.client.get("/api/v1/customers?phone=+14155552671", headers=account.key).json()["customers"]

    assert [customer["id"] for customer in found] == [ids["grant"]]


def test_a_number_without_its_countrys_code_is_told_as_it_was_sent(psp: Psp, merchant: Account) -> None:
    answer = psp.get("/customers", params={"phone": "020 7946 0018"}, headers=merchant.key)

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert (problem["loc"], problem["input"]) == (["query", "phone"], "020 7946 0018")
    assert problem["msg"] == "Value error, not a possible phone number with its country's code"


def test_an_account_without_customers_has_an_empty_list(psp: Psp) -> None:
    answer = psp.get("/customers", headers=psp.register().key)

    assert answer.status_code == 200
    assert answer.json() == {
        "customers": [],
        "totalCustomers": 0,
        "totalIsLowerBound": False,
        "hasMore": False,
        "nextCursor": None,
    }


@pytest.mark.parametrize("query", [{}, {"name": "grace"}])
def test_pages_stay_stable_while_customers_come_and_go(psp: Psp, query: Row) -> None:
    account = psp.register()
    there = [made(psp, account, name=f"Grace {number}")["id"] for number in range(7)]
    seen: list[str] = []
    cursor: Row = {}
    while True:
        page = psp.get("/customers", params={**query, "limit": 2, **cursor}, headers=account.key).json()
        seen += [customer["id"] for customer in page["customers"]]
        if not page["hasMore"]:
            break
        cursor = {"cursor": page["nextCursor"]}
        made(psp, account, name="Grace the newer")
        psp.delete(f"/customers/{seen[-1]}", headers=account.key)

    assert seen == there[::-1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "x" * 513}, "cursor"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"email": "x" * 255}, "email"),
        ({"phone": "call me"}, "phone"),
        ({"phone": "+44"}, "phone"),
        ({"phone": ""}, "phone"),
        ({"nmae": "grace"}, "nmae"),
    ],
)
def test_a_wrong_parameter_is_named(psp: Psp, merchant: Account, query: Row, field: str) -> None:
    answer = psp.get("/customers", params=query, headers=merchant.key)

    assert answer.status_code == 422
    assert [one["loc"] for one in answer.json()["detail"]] == [["query", field]]


# Events


def test_each_change_is_told_once_with_the_customer_as_it_was_then(psp: Psp, database: Database[Row]) -> None:
    account = psp.register()
    shown = [made(psp, account, **WHOLE)]
    path = f"/customers/{shown[0]['id']}"
    shown.append(psp.patch(path, json={"description": None}, headers=account.key).json())
    psp.patch(path, json={}, headers=account.key)
    psp.patch(path, json={"description": None, "country": "gbr"}, headers=account.key)  # nothing that is not so already
    shown.append(psp.put(path, json={"name": "Ada"}, headers=account.key).json())
    psp.put(path, json={"name": "Ada"}, headers=account.key)
    psp.delete(path, headers=account.key)

    told = events(database, shown[0]["id"], 4)

    types = ["customer.created", "customer.updated", "customer.updated", "customer.deleted"]
    assert [(event["type"], event["sequence"]) for event in told] == list(zip(types, range(1, 5), strict=True))
    assert set(types) == {name for name in EVENT_TYPES if name.startswith("customer.")}
    assert {(event["object_id"], event["owner_id"]) for event in told} == {(shown[0]["id"], account.id)}
    bodies = [json.loads(event["body"]) for event in told]
    assert [body["data"] for body in bodies[:3]] == shown
    assert bodies[3]["data"] == {**shown[2], "updatedAt": bodies[3]["timestamp"]}
    for body, event in zip(bodies, told, strict=True):
        assert (body["id"], body["type"]) == (event["_id"], event["type"])
        assert CustomerEventOut.model_validate(body).model_dump(mode="json", by_alias=True) == body
    assert database["deliveries"].count_documents({"owner_id": account.id}) == 0


def test_changes_at_once_are_all_made_and_numbered_without_gaps(psp: Psp, database: Database[Row]) -> None:
    account = psp.register()
    path = f"/customers/{made(psp, account)['id']}"

    def change(number: int) -> httpx.Response:
        return psp.patch(path, json={"description": f"change {number}"}, headers=account.key)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(change, range(20)))

    assert {answer.status_code for answer in answers} == {200}
    told = events(database, path.removeprefix("/customers/"), 21)
    assert [event["sequence"] for event in told] == list(range(1, 22))
    descriptions = [json.loads(event["body"])["data"]["description"] for event in told[1:]]
    assert sorted(descriptions) == sorted(f"change {number}" for number in range(20))
    assert psp.get(path, headers=account.key).json()["description"] == descriptions[-1]


def test_a_customer_whose_events_find_no_room_is_changed_no_more_until_they_are_published(
    patient_psp: Psp, database: Database[Row]
) -> None:
    """As after hundreds of large changes while nothing publishes: MongoDB keeps no document of more than 16 MB."""
    account = patient_psp.register()
    path = f"/customers/{made(patient_psp, account)['id']}"
    shown = patient_psp.get(path, headers=account.key).json()
    full, large = {"filler": "x" * (16 * 1024 * 1024 - 3000)}, {f"{number}": "x" * 500 for number in range(50)}
    database["customers"].update_one({"_id": shown["id"]}, {"$set": full})

    for send in (patient_psp.put, patient_psp.patch):
        answer = send(path, json={"name": "Ada", "metadata": large}, headers=account.key)
        assert (answer.status_code, answer.json()["code"]) == (409, "contention")

    assert patient_psp.get(path, headers=account.key).json() == shown
    database["customers"].update_one({"_id": shown["id"]}, {"$unset": {"filler": ""}})
    assert patient_psp.patch(path, json={"name": "Ada L."}, headers=account.key).status_code == 200
