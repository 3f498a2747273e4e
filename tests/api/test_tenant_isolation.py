"""Another account's object looks like one that does not exist, on every route, in every body and in every list (I8)."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, combinations
from typing import Any

import httpx
import pytest
from bson import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from core import ids
from routers.roles import API, ROLE_TABLE
from tests.belongings import MAKERS, Belongings
from tests.factories import Account, Psp
from tests.operations import OPERATIONS, fields

Route = tuple[str, str]
Ids = dict[str, str]
Callers = Mapping[str, dict[str, str]]
NOT_THERE = (401, 403, 404)
DELETE = f"{API}/{{resource}}/{{resource_id}}"
# What the generic DELETE is about, by the names that other routes have for the ids.
DELETED = {"transactions": "payment_id", "payments": "payment_id", "users": "user_id"}
# Where the contract tells another owner's object from a missing one: it says who may delete it.
TOLD_APART = {("DELETE", f"{API}/transactions/{{payment_id}}"), ("DELETE", f"{API}/payments/{{payment_id}}")}
# Where the contract lets an admin at other accounts.
FOR_ADMINS = {*TOLD_APART, ("DELETE", f"{API}/users/{{user_id}}"), ("GET", f"{API}/users/{{user_id}}")}
# Fields that name another object, in a body or in a list's query, and what they name.
NAMING = {
    "paymentId": "payment_id",
    "customerId": "customer_id",
    "cardId": "card_id",
    "cardToken": "card_token",
    "webhookEndpointId": "endpoint_id",
    "eventId": "event_id",
    "objectId": "customer_id",
    "resendId": "job_id",
    "ownerId": "user_id",
    "actorId": "user_id",
    "targetId": "user_id",
    "requestId": "request_id",
}
REQUEST_LOGS = ("GET", f"{API}/request-logs")

# What an idempotent receiver sends along is of another service, and of no account here.
OF_OTHERS = {("POST", f"{API}/webhook-receive")}


def routes_with_ids() -> Iterator[Route]:
    for method, path in ROLE_TABLE:
        if path == DELETE:
            yield from ((method, f"{API}/{resource}/{{{name}}}") for resource, name in DELETED.items())
        elif "{" in path:
            yield method, path


ROUTES = list(routes_with_ids())
LISTS = [route for route, operation in OPERATIONS.items() if "cursor" in operation.parameters["query"]]
BODIES = [
    (route, place[-1])
    for route, operation in OPERATIONS.items()
    for place in fields(operation.body)
    if route not in OF_OTHERS and str(place[-1]) in NAMING
]


def is_id(name: str) -> bool:
    return name.endswith("Id") or name == "cardToken"


def test_each_field_that_names_another_object_is_known() -> None:
    """A new one is to stand in NAMING, with what it names."""
    for route, operation in OPERATIONS.items():
        named = {str(place[-1]) for place in fields(operation.body)} | set(operation.parameters["query"])
        assert route in OF_OTHERS or {name for name in named if is_id(name)} <= NAMING.keys(), route


@pytest.fixture(scope="module")
def theirs(shared_psp: Psp) -> Belongings:
    """Everything that an account can have."""
    theirs = Belongings(shared_psp, shared_psp.register("merchant"))
    assert all(theirs[name] for name in MAKERS)
    return theirs


@pytest.fixture(scope="module")
def ours(shared_psp: Psp, merchant: Account) -> Belongings:
    """What a stranger can put beside it."""
    return Belongings(shared_psp, merchant)


@pytest.fixture(scope="module")
def missing(theirs: Belongings) -> Ids:
    """Ids like theirs that nobody has."""
    return {name: ids.fresh(theirs[name].rpartition("_")[0]) for name in MAKERS}


@pytest.fixture(scope="module")
def strangers(shared_psp: Psp, user: Account, merchant: Account, admin: Account, ours: Belongings) -> Callers:
    payment_key = ours.post("/payment-keys", {"maxUses": None})["paymentKey"]
    return {
        "token of a user": user.bearer,
        "key of a user": user.key,
        "token of a merchant": merchant.bearer,
        "key of a merchant": merchant.key,
        "key and token of a merchant": merchant.both,
        "payment key": {"X-Payment-Key": payment_key},
        "token of an admin": admin.bearer,
        "key of an admin": admin.key,
    }


@pytest.fixture(scope="module")
def stored(mongo: MongoClient[dict[str, Any]], theirs: Belongings) -> Callable[[], dict[tuple[str, object], bytes]]:
    """Reads every document that is theirs, to the byte."""
    raw = mongo.get_database("tests", codec_options=CodecOptions(document_class=RawBSONDocument))
    everything = [theirs[name] for name in MAKERS]

    def stored() -> dict[tuple[str, object], bytes]:
        wanted = {"$or": [{"owner_id": theirs.account.id}, {"_id": {"$in": everything}}]}
        # The audit log is where denials are written down.
        names = set(raw.list_collection_names()) - {"audit", "signals"}
        return {(name, one["_id"]): one.raw for name in names for one in raw[name].find(wanted)}

    # Until all of it is published, delivered and written down.
    deadline, before, now = time.monotonic() + 60, {}, stored()
    while before != now or raw["deliveries"].find_one({"owner_id": theirs.account.id, "state": "pending"}):
        assert time.monotonic() < deadline, "it never comes to rest"
        time.sleep(1)
        before, now = now, stored()
    kept = {name for name, _ in now}
    assert {"users", "payments", "customers", "cards", "card_tokens", "payment_keys", "webhook_endpoints"} <= kept
    assert {"sessions", "refunds", "events", "deliveries", "resend_jobs", "incoming_webhooks"} <= kept
    return stored


def told(answer: httpx.Response, ids: Ids) -> tuple[object, ...]:
    """All that an answer says, but for the ids that were asked for and the request's own."""
    body = answer.text.replace(answer.headers["x-request-id"], "the request")
    for name, one in ids.items():
        body = body.replace(one, name)
    varying = ("x-request-id", "date", "content-length")
    return answer.status_code, body, {name: text for name, text in answer.headers.items() if name not in varying}


def parts_of_others(path: str) -> list[tuple[str, ...]]:
    """Each choice of the path's ids that are somebody else's, while the others are one's own."""
    names = re.findall(r"\{(\w+)\}", path)
    choices = list(chain.from_iterable(combinations(names, count) for count in range(1, len(names) + 1)))
    # Who knows the whole address of a challenge page may use it.
    return [chosen for chosen in choices if len(chosen) == 1 or not path.startswith("/3ds/")]


def send(psp: Psp, route: Route, ids: Mapping[str, str], headers: dict[str, str], own: Belongings) -> httpx.Response:
    """The request that its documentation shows; what its body names is the caller's own."""
    method, path = route
    operation = OPERATIONS.get(route)
    body: dict[str, Any] = {}
    if operation and operation.body:
        named = {name: own[NAMING[name]] for name in operation.example() if name in NAMING}
        body = {"json": {**operation.example(), **named}}
    elif route == ("POST", "/3ds/{payment_id}/{proof}"):
        body = {"data": {"answer": "refuse"}}
    # "*" is a copy of whatever there is: it is to tell nothing.
    return psp.client.request(method, path.format(**ids), headers={"If-None-Match": "*", **headers}, **body)


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_anothers_object_looks_like_a_missing_one(
    shared_psp: Psp,
    route: Route,
    theirs: Belongings,
    ours: Belongings,
    missing: Ids,
    strangers: Callers,
    stored: Callable[[], object],
) -> None:
    names = re.findall(r"\{(\w+)\}", route[1])
    own, before, statuses = {name: ours[name] for name in names}, stored(), set()
    for caller, credentials in strangers.items():
        if caller.endswith("admin") and route in FOR_ADMINS:
            continue
        headers = {**credentials, "Idempotency-Key": theirs.word}
        for chosen in parts_of_others(route[1]):
            of_others = {name: theirs[name] for name in chosen}
            of_nobody = {name: missing[name] for name in chosen}

            answer = send(shared_psp, route, {**own, **of_others}, headers, ours)
            expected = send(shared_psp, route, {**own, **of_nobody}, headers, ours)

            assert answer.status_code in NOT_THERE, (caller, answer.text)
            assert theirs.word not in answer.text
            statuses.add(answer.status_code)
            if route not in TOLD_APART:
                assert told(answer, of_others) == told(expected, of_nobody), caller
            elif answer.status_code == 403:
                assert (expected.status_code, answer.json()["code"]) == (404, "forbidden")
    assert statuses & {403, 404}, "some caller came as far as the object"
    assert stored() == before


@pytest.mark.parametrize(("route", "name"), BODIES, ids=str)
def test_a_body_that_names_anothers_object_is_answered_as_for_a_missing_one(
    shared_psp: Psp,
    merchant: Account,
    route: Route,
    name: str,
    theirs: Belongings,
    ours: Belongings,
    missing: Ids,
    stored: Callable[[], object],
) -> None:
    operation, before = OPERATIONS[route], stored()
    method, path = route
    body = operation.example()
    if name in ("cardId", "cardToken"):
        body = {field: value for field, value in body.items() if field not in ("card", "cardId")}
    url = path.format(**{parameter: ours[parameter] for parameter in operation.parameters["path"]})

    def asked(one: str) -> httpx.Response:
        return shared_psp.client.request(method, url, json={**body, name: one}, headers=merchant.key)

    named = NAMING[name]
    answer, expected = asked(theirs[named]), asked(missing[named])

    assert answer.status_code == 404, answer.text
    assert told(answer, {named: theirs[named]}) == told(expected, missing)
    assert stored() == before


@pytest.mark.parametrize("route", LISTS, ids=" ".join)
def test_a_list_shows_nothing_of_others(
    shared_psp: Psp, route: Route, theirs: Belongings, ours: Belongings, missing: Ids, strangers: Callers
) -> None:
    operation = OPERATIONS[route]
    url = operation.path.format(**{parameter: ours[parameter] for parameter in operation.parameters["path"]})
    # Strangers find their own requests in the log, and so what they have asked for.
    hidden = {theirs["log_id"], theirs["request_id"]}
    if route != REQUEST_LOGS:
        hidden |= {*(theirs[name] for name in MAKERS), theirs.word, theirs.account.email}
    texts = {
        "customerName": f"Name {theirs.word}",
        "name": f"Name {theirs.word}",
        "reference": theirs.word,
        "email": f"{theirs.word}@example.com",
    }
    questions: list[Ids] = [{}]
    for name in operation.parameters["query"]:
        if name in NAMING:
            questions.append({name: theirs[NAMING[name]]})
        elif name in texts:
            questions.append({name: texts[name]})
    for caller, headers in strangers.items():
        if caller.endswith("admin") and "admin" in str(ROLE_TABLE[route].roles[0]):
            continue
        for question in questions:
            answer = shared_psp.client.request(*route[:1], url, params=question, headers=headers)

            assert answer.status_code in (200, *NOT_THERE), answer.text
            assert not [one for one in hidden if one in answer.text], (caller, question)
            if ids_asked := {name: one for name, one in question.items() if name in NAMING}:
                of_nobody = {name: missing[NAMING[name]] for name in ids_asked}
                expected = shared_psp.client.request(*route[:1], url, params=of_nobody, headers=headers)
                assert told(answer, ids_asked) == told(expected, of_nobody), caller


def test_an_admin_reads_what_the_contract_lets_admins_read(shared_psp: Psp, admin: Account, theirs: Belongings) -> None:
    account = shared_psp.get(f"/users/{theirs.account.id}", headers=admin.bearer).json()
    listed = shared_psp.get("/admin/payments", params={"ownerId": theirs.account.id}, headers=admin.bearer).json()

    assert account["email"] == theirs.account.email
    assert theirs["payment_id"] in {payment["id"] for payment in listed["transactions"]}


def test_its_owner_finds_each_of_them(shared_psp: Psp, theirs: Belongings) -> None:
    """The last of all, since it deletes them: what was missing to strangers was there, and asked for rightly."""
    account = theirs.account
    # What is deleted comes last, and what belongs to something else before that.
    for route in sorted(ROUTES, key=lambda route: (route[0] == "DELETE", -len(route[1]))):
        if route[1] == f"{API}/payments/{{payment_id}}" and route[0] == "DELETE":
            continue  # the same one under its other name
        names = re.findall(r"\{(\w+)\}", route[1])

        answer = send(shared_psp, route, {name: theirs[name] for name in names}, account.both, theirs)

        assert answer.status_code != 404, (route, answer.text)
