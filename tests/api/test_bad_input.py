"""Whatever arrives, the answer is a 4xx in valid JSON, tells no secret, and nothing is stored."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from core import json_codec
from tests.factories import API, PASSWORD, Account, Psp
from tests.scale import scaled
from tests.tables import each

T = TypeVar("T")
JSON = {"Content-Type": "application/json"}
SECRET = "hunter2-hunter2"
REGISTER = {"name": "Ada", "email": "bad-input@example.com", "password": PASSWORD, "role": "merchant"}
CHARGE = {
    "customerName": "Grace",
    "paymentAmount": 100.5,
    "currency": "USD",
    "details": "d",
    "webhookUrl": "http://localhost:4242/hook",
    "reference": "r",
    "metadata": {"a": "b"},
    "capture": "automatic",
}
CARD = {"number": "4242424242424242", "expMonth": 12, "expYear": 2040, "cvc": "123", "holderName": "Grace Hopper"}
CUSTOMER = {
    "name": "Ada",
    "email": "ada@example.com",
    "phone": "020 7946 0018",
    "country": "GB",
    "description": "d",
    "metadata": {"a": "b"},
}
ENDPOINT = {
    "url": "http://localhost:4242/hook",
    "events": ["payment.*"],
    "description": "d",
    "metadata": {"a": "b"},
    "status": "enabled",
    "retrySchedule": [1],
    "timeout": 5,
    "maxInFlight": 4,
    "ordering": "none",
}
RESEND_JOB = {
    "from": "2026-01-01T00:00:00Z",
    "to": "2026-01-02T00:00:00Z",
    "types": ["payment.*"],
    "failedOnly": True,
    "webhookEndpointId": "we_none",
}
API_KEY = {"name": "n", "scopes": ["webhooks"], "expiresIn": 60, "allowedNetworks": ["::1/128"]}
CUSTOMER_CHARGE = {**CHARGE, "card": CARD}
# Route, a body that it takes, and the fields that it cannot do without.
ROUTES: Mapping[str, tuple[dict[str, Any], set[str]]] = {
    "POST /users/register": (REGISTER, {"name", "email", "password"}),
    "POST /users/login": ({"email": "bad-input@example.com", "password": PASSWORD}, {"email", "password"}),
    "POST /users/refresh": ({"refresh_token": "x"}, {"refresh_token"}),
    "POST /users/logout": ({}, set()),
    "POST /users/me/webhook-secret/rotate": ({"overlapDays": 1}, set()),
    "PATCH /users/user_none/role": ({"new_role": "user"}, {"new_role"}),
    "POST /payments/charge": (CHARGE, {"customerName", "paymentAmount", "currency"}),
    "PATCH /payments/{id}": ({"details": "d", "reference": "r", "metadata": {"a": "b"}}, set()),
    "POST /payments/{id}/cancel": ({}, set()),
    "POST /payments/{id}/capture": ({"amount": 5}, set()),
    "POST /payments/{id}/authenticate": ({"result": "failed"}, set()),
    "POST /refunds": ({"paymentId": "{id}", "amount": 5, "reason": "r"}, {"paymentId"}),
    "POST /tokens": (CARD, {"number", "expMonth", "expYear", "cvc"}),
    "POST /payment-keys": ({"expiresIn": 60, "maxUses": 1, "amount": 5, "currency": "USD"}, set()),
    "POST /api-keys": (API_KEY, {"name", "scopes"}),
    "POST /api-keys/key_none/rotate": ({"overlapHours": 1}, set()),
    "POST /webhook-endpoints": (ENDPOINT, {"url", "events"}),
    "PATCH /webhook-endpoints/{endpoint}": (ENDPOINT, set()),
    "POST /webhook-endpoints/{endpoint}/rotate": ({"overlapDays": 1}, set()),
    "POST /webhook-endpoints/{endpoint}/test": ({}, set()),
    "POST /deliveries/dlv_none/resend": ({}, set()),
    "POST /events/evt_none/resend": ({"webhookEndpointId": "we_none"}, set()),
    "POST /resend-jobs": (RESEND_JOB, {"from", "to"}),
    "POST /resend-jobs/rsj_none/cancel": ({}, set()),
    "POST /customers": (CUSTOMER, {"name"}),
    "PUT /customers/{customer}": (CUSTOMER, {"name"}),
    "PATCH /customers/{customer}": (CUSTOMER, set()),
    "POST /customers/{customer}/cards": ({"card": CARD}, set()),
    "POST /customers/{customer}/payments": (CUSTOMER_CHARGE, {"paymentAmount", "currency"}),
    "POST /webhook-receive": ({"id": "evt_1", "event": "x", "data": {}}, set()),
}
EITHER = (
    "/api-keys",
    "/customers",
    "/deliveries",
    "/events",
    "/payment-keys",
    "/refunds",
    "/resend-jobs",
    "/users/me/webhook-secret",
    "/webhook-endpoints",
)
VALIDATED = [route for route in ROUTES if route != "POST /webhook-receive"]  # that one asks for a signature first
BODY_OPTIONAL = (
    "POST /api-keys/key_none/rotate",
    "POST /payments/{id}/capture",
    "POST /payments/{id}/authenticate",
    "POST /webhook-endpoints/{endpoint}/rotate",
    "POST /events/evt_none/resend",
    "POST /users/me/webhook-secret/rotate",
)
FIELDS = [
    # Nought is a good overlap, and true a good flag; what is none stands in test_webhook_endpoints.py,
    # test_webhook_secret.py, test_api_keys.py and test_resends.py.
    *(
        (route, field)
        for route in VALIDATED
        for field in ROUTES[route][0]
        if field not in ("overlapDays", "overlapHours", "failedOnly")
    ),
    *(("POST /payments/charge", field) for field in ("card", "cardToken", "cardId", "customerId")),
    *(("POST /customers/{customer}/payments", field) for field in ("cardToken", "cardId")),
    ("POST /customers/{customer}/cards", "cardToken"),
]

Send = Callable[[str, bytes], httpx.Response]


@pytest.fixture(scope="module")
def payment_id(patient_psp: Psp, merchant: Account) -> str:
    payment_id: str = patient_psp.charge(merchant).json()["id"]
    return payment_id


@pytest.fixture(scope="module")
def customer_id(shared_psp: Psp, merchant: Account) -> str:
    customer_id: str = shared_psp.post("/customers", json=CUSTOMER, headers=merchant.key).json()["id"]
    return customer_id


@pytest.fixture(scope="module")
def endpoint_id(shared_psp: Psp, merchant: Account) -> str:
    endpoint_id: str = shared_psp.post("/webhook-endpoints", json=ENDPOINT, headers=merchant.key).json()["id"]
    return endpoint_id


@pytest.fixture(scope="module")
def send(
    shared_psp: Psp, merchant: Account, root: dict[str, str], payment_id: str, customer_id: str, endpoint_id: str
) -> Send:
    """Send a body with every credential that the route wants. `{id}` in path or body is a payment of the merchant's."""

    def send(route: str, body: bytes) -> httpx.Response:
        method, path = route.format(id=payment_id, customer=customer_id, endpoint=endpoint_id).split()
        # Where key and token must be of one account, the system_admin's token is none of them.
        either = path.startswith(EITHER)
        headers = {**JSON, **merchant.key, **({} if either else root)}
        content = body.replace(b"{id}", payment_id.encode())
        return shared_psp.client.request(method, API + path, content=content, headers=headers)

    return send


@pytest.fixture
def nothing_stored(
    database: Database[Any], merchant: Account, payment_id: str, customer_id: str, endpoint_id: str
) -> Iterator[None]:
    counted = (
        "users",
        "sessions",
        "payments",
        "incoming_webhooks",
        "customers",
        "cards",
        "card_tokens",
        "payment_keys",
        "webhook_endpoints",
        "resend_jobs",
    )
    # That it was refused may be written down.
    done = {"outcome": "success"}

    def state() -> tuple[object, ...]:
        payment = database.payments.find_one({"_id": payment_id}, {"outbox": 0})
        customer = database.customers.find_one({"_id": customer_id}, {"outbox": 0})
        # Nobody listens there, which is written down whenever the worker finds out.
        endpoint = database.webhook_endpoints.find_one({"_id": endpoint_id}, {"failing_since": 0})
        # When a key was last used is written down a moment later.
        account = database.users.find_one({"_id": merchant.id}, {"api_keys.last_used_at": 0})
        acts = database["audit"].count_documents(done)
        counts = (database[name].count_documents({}) for name in counted)
        return (*counts, acts, payment, customer, endpoint, account)

    before = state()
    yield
    assert state() == before


def problems(answer: httpx.Response) -> list[dict[str, Any]]:
    """The list of a 422, once it is certain that the answer is one that every client can read."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = json_codec.loads(answer.content)
    assert body["code"] == "validation_error"
    assert body["detail"]
    for problem in body["detail"]:
        assert {"type", "loc", "msg"} <= problem.keys() <= {"type", "loc", "msg", "input", "ctx"}
    found: list[dict[str, Any]] = body["detail"]
    return found


def some(cases: Iterable[T], turn: int) -> list[T]:
    """Each fourth case, beginning where it is this one's turn; all of them in full."""
    every = list(cases)
    return scaled(every[turn % 4 :: 4], every)


# Bodies that cannot be read.

UNREADABLE = {
    "broken": b'{"name": ',
    "a quote is missing": b'{"name: 1}',
    "a comma too many": b'{"a": 1,}',
    "two values": b"{} {}",
    "not JSON at all": b"name=Ada",
    "only spaces": b"  \n",
    "NaN": b'{"%s": NaN}',
    "Infinity": b'{"%s": Infinity}',
    "-Infinity": b'{"%s": [-Infinity]}',
    "lone surrogate": b'{"%s": "\\ud800"}',
    "lone surrogate in a name": b'{"\\udc00": 1}',
    "NUL": b'{"%s": "a\\u0000b"}',
    "raw NUL": b'{"%s": "a\0b"}',
    "NUL in a name": b'{"\\u0000": 1}',
    "control character": b'{"%s": "a\nb"}',
    "a name twice": b'{"%s": 1, "%s": 2}',
    "a name twice, deeper": b'{"metadata": {"a": "1", "a": "2"}}',
    "33 levels of lists": b"[" * 33 + b"]" * 33,
    "33 levels of objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "60,000 levels": b"[" * 60_000,
    "a number without end": b'{"%s": ' + b"9" * 5000 + b"}",
    "an exponent without end": b'{"%s": 1e' + b"9" * 50 + b"}",
    "Latin-1": b'{"%s": "caf\xe9"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a BOM": b"\xef\xbb\xbf{}",
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "gzip": gzip.compress(b"{}"),
    "random bytes": bytes(range(256)),
}


@pytest.mark.scaled
@each("body", UNREADABLE)
@pytest.mark.usefixtures("nothing_stored")
def test_a_body_that_cannot_be_read_is_a_422(send: Send, body: str) -> None:
    for route, (good, _) in some(ROUTES.items(), list(UNREADABLE).index(body)):
        field = next(iter(good), "field").encode()

        (problem,) = problems(send(route, UNREADABLE[body].replace(b"%s", field)))

        assert (problem["type"], problem["loc"][0], problem["msg"]) == ("json_invalid", "body", "JSON decode error")
        assert "input" not in problem


def test_a_body_that_says_it_is_compressed_is_read_as_it_is(shared_psp: Psp) -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}

    assert shared_psp.post("/users/login", content=gzip.compress(b"{}"), headers=headers).status_code == 422


# Bodies that are no object.


@each("body", [b'"hunter2-hunter2"', b'["hunter2-hunter2"]', b"[]", b"1", b"true", b"1e999999", b"1.5", b"-0.0"])
@pytest.mark.usefixtures("nothing_stored")
def test_a_body_that_is_no_object_is_a_422_and_not_echoed(send: Send, body: bytes) -> None:
    for route in VALIDATED:
        answer = send(route, body)

        (problem,) = problems(answer)
        assert problem["loc"] == ["body"], route
        assert "input" not in problem
        assert SECRET not in answer.text


@each("body", [b"", b"null"])
@pytest.mark.usefixtures("nothing_stored")
def test_a_body_that_is_not_there_is_missing(send: Send, body: bytes) -> None:
    for route in VALIDATED:
        if ROUTES[route][0] and route not in BODY_OPTIONAL:
            (problem,) = problems(send(route, body))
            assert (problem["loc"], problem.get("input")) == (["body"], None), route


# Fields.

WRONG = {
    "a list": b"[]",
    "a list in a list": b'[["x"]]',
    "true": b"true",
    "an operator": b'{"$ne": null}',
    "another operator": b'{"$where": 1}',
    "zero": b"0",
    "negative": b"-1",
    "huge": b"1" + b"0" * 30,
    "huge and negative": b"-1" + b"0" * 300,
    "endless": b"1e999999",
    "beyond what decimals are": b"1e99999999",
    "below what decimals are": b"1e-99999999",
    "very small": b"1e-999999",
    "many decimals": b"100.10000000000000001",
}


def with_field(body: dict[str, Any], field: str, value: bytes) -> bytes:
    return json.dumps({**body, field: "@@"}).encode().replace(b'"@@"', value)


@pytest.mark.scaled
@each("wrong", WRONG)
@pytest.mark.usefixtures("nothing_stored")
def test_a_value_of_the_wrong_kind_is_a_422_that_names_its_field(send: Send, wrong: str) -> None:
    for route, field in some(FIELDS, list(WRONG).index(wrong)):
        found = problems(send(route, with_field(ROUTES[route][0], field, WRONG[wrong])))

        assert {tuple(problem["loc"][:2]) for problem in found} == {("body", field)}, route


@each(("route", "field"), [(route, field) for route in ROUTES for field in sorted(ROUTES[route][1])])
@pytest.mark.usefixtures("nothing_stored")
def test_a_field_that_is_missing_is_named(send: Send, route: str, field: str) -> None:
    body = {name: value for name, value in ROUTES[route][0].items() if name != field}

    (problem,) = problems(send(route, json.dumps(body).encode()))
    assert (problem["type"], problem["loc"], problem["msg"]) == ("missing", ["body", field], "Field required")
    assert "input" not in problem

    (problem,) = problems(send(route, json.dumps({**body, field: None}).encode()))
    assert problem["loc"] == ["body", field]


@each("name", ["x", "Password", "$set", "a.b", "__proto__", "", "_id", "ownerId", "\u00e9" * 200])
@pytest.mark.usefixtures("nothing_stored")
def test_a_field_that_is_unknown_is_refused_and_not_echoed(send: Send, name: str) -> None:
    for route in VALIDATED:
        answer = send(route, json.dumps({**ROUTES[route][0], name: SECRET}).encode())

        (problem,) = problems(answer)
        assert (problem["type"], problem["loc"]) == ("extra_forbidden", ["body", name]), route
        assert SECRET not in answer.text


# Secrets.


@each(
    ("route", "body"),
    [
        ("POST /users/register", {**REGISTER, "password": SECRET[:7]}),
        ("POST /users/register", {**REGISTER, "password": SECRET * 10}),
        ("POST /users/register", {**REGISTER, "password": [SECRET]}),
        ("POST /users/register", {**REGISTER, "password": {"value": SECRET}}),
        ("POST /users/register", {**REGISTER, "pasword": SECRET}),
        ("POST /users/register", {"name": "Ada", "password": SECRET}),
        ("POST /users/login", {"email": {"$ne": None}, "password": SECRET}),
        ("POST /users/login", {"email": "a@example.com", "password": SECRET * 100}),
        ("POST /users/login", {"password": SECRET}),
        ("POST /users/refresh", {"refresh_token": SECRET * 100}),
        ("POST /users/refresh", {"refreshToken": SECRET}),
        ("POST /payments/charge", {**CHARGE, "card": {"number": SECRET}}),
        ("POST /payments/charge", {**CHARGE, "crad": {"number": SECRET}}),
        ("POST /payments/charge", {**CHARGE, "card": SECRET}),
        ("POST /payments/charge", {**CHARGE, "card": {**CARD, "cvc": SECRET}}),
        ("POST /payments/charge", {**CHARGE, "card": {**CARD, "expYear": SECRET}}),
        ("POST /customers/{customer}/payments", {**CUSTOMER_CHARGE, "card": {**CARD, "number": [SECRET]}}),
        ("POST /customers/{customer}/cards", {"card": {**CARD, "cvv": SECRET}}),
        ("POST /customers/{customer}/cards", {"cardToken": 5, "number": SECRET}),
        ("POST /tokens", {**CARD, "number": SECRET}),
        ("POST /tokens", {**CARD, "cvc": SECRET}),
        ("POST /tokens", {**CARD, "expMonth": SECRET}),
        ("POST /tokens", {**CARD, "expYear": SECRET}),
        ("POST /tokens", {**CARD, "holderName": SECRET * 20}),
        ("POST /tokens", {"number": SECRET}),
        ("POST /payments/charge", {**CHARGE, "webhookUrl": f"ftp://user:{SECRET}@example.com"}),
        ("POST /payments/charge", {**CHARGE, "webhookUrl": f"http://user:{SECRET}@example.com"}),
        ("POST /payments/charge", {**CHARGE, "webhookUrl": f"http://[{SECRET}]@example.com"}),
    ],
)
@pytest.mark.usefixtures("nothing_stored")
def test_a_secret_is_not_echoed(send: Send, route: str, body: dict[str, Any]) -> None:
    answer = send(route, json.dumps(body).encode())

    problems(answer)
    assert SECRET[:7] not in answer.text


def test_an_empty_secret_is_echoed_and_says_what_is_wrong(send: Send) -> None:
    (problem,) = problems(send("POST /users/register", json.dumps({**REGISTER, "password": ""}).encode()))
    assert (problem["type"], problem["input"], problem["ctx"]) == ("string_too_short", "", {"min_length": 8})

    (problem,) = problems(send("POST /users/login", b'{"email": "a@example.com", "password": ""}'))
    assert (problem["type"], problem["input"], problem["ctx"]) == ("string_too_short", "", {"min_length": 1})


def test_an_operator_for_an_address_is_a_validation_error(send: Send) -> None:
    body = b'{"email": {"$ne": null}, "password": {"$ne": null}}'

    found = problems(send("POST /users/login", body))

    assert [problem["type"] for problem in found] == ["string_type", "string_type"]


# Charges.


@each(
    ("amount", "currency", "error"),
    [
        ("0", "USD", "greater_than"),
        ("-0.0", "USD", "greater_than"),
        ("-100.5", "USD", "greater_than"),
        ("true", "USD", "float_type"),
        ('"100.50"', "USD", "float_type"),
        ('""', "USD", "float_type"),
        ("null", "USD", "float_type"),
        ("[100]", "USD", "float_type"),
        ("100.105", "USD", "value_error"),
        ("100.10000000000000001", "USD", "value_error"),
        ("0.001", "USD", "value_error"),
        ("1e-999999", "USD", "value_error"),
        ("0.5", "JPY", "value_error"),
        ("100.01", "JPY", "value_error"),
        ("0.0001", "KWD", "value_error"),
        ("10000000000.01", "USD", "value_error"),
        ("1000000000001", "JPY", "value_error"),
        ("1000000000.001", "KWD", "value_error"),
        ("1e999999", "USD", "value_error"),
        ("1e400", "USD", "value_error"),
        ("9" * 4000, "USD", "value_error"),
        ("0." + "0" * 50_000 + "1", "USD", "value_error"),
    ],
)
@pytest.mark.usefixtures("nothing_stored")
def test_what_is_no_amount_is_refused(send: Send, amount: str, currency: str, error: str) -> None:
    answer = send(
        "POST /payments/charge", with_field({**CHARGE, "currency": currency}, "paymentAmount", amount.encode())
    )

    (problem,) = problems(answer)
    assert (problem["type"], problem["loc"]) == (error, ["body", "paymentAmount"])


@each("amount", ["1e99999999", "1e-99999999", "0." + "0" * 50_000 + "1", "5." + "0" * 50_000 + "1"])
@pytest.mark.usefixtures("nothing_stored")
def test_an_amount_that_cannot_be_written_down_is_refused_with_an_idempotency_key_too(
    shared_psp: Psp, merchant: Account, payment_id: str, amount: str
) -> None:
    headers = {**JSON, **merchant.key, "Idempotency-Key": "amounts"}
    refund = f'{{"paymentId": "{payment_id}", "amount": {amount}}}'

    for path, body in ((f"/payments/{payment_id}/capture", f'{{"amount": {amount}}}'), ("/refunds", refund)):
        (problem,) = problems(shared_psp.post(path, content=body, headers=headers))
        assert problem["loc"] == ["body", "amount"]


@each(
    ("amount", "currency", "major", "minor"),
    [
        ("100.5", "usd", 100.5, 10050),
        ("0.01", "USD", 0.01, 1),
        ("100.10", "USD", 100.1, 10010),
        ("1e2", "USD", 100, 10000),
        ("1.00", "JPY", 1, 1),
        ("0.001", "KWD", 0.001, 1),
        ("1.234", "kwd", 1.234, 1234),
        ("10000000000", "USD", 10**10, 10**12),
        ("1000000000000", "JPY", 10**12, 10**12),
        ("9999999999.99", "USD", 9999999999.99, 999999999999),
        ("0." + "3" + "0" * 10_000, "USD", 0.3, 30),
    ],
)
def test_what_is_an_amount_is_kept_exactly(send: Send, amount: str, currency: str, major: float, minor: int) -> None:
    answer = send(
        "POST /payments/charge", with_field({**CHARGE, "currency": currency}, "paymentAmount", amount.encode())
    )

    assert answer.status_code == 201
    payment = answer.json()
    assert (payment["amount"], payment["amountMinor"], payment["currency"]) == (major, minor, currency.upper())


@each(
    ("field", "value", "error"),
    [
        ("customerName", "", "string_too_short"),
        ("customerName", " \t\u2003", "string_pattern_mismatch"),
        ("customerName", "x" * 201, "string_too_long"),
        ("currency", "", "string_too_short"),
        ("currency", "US", "string_too_short"),
        ("currency", "USDT", "string_too_long"),
        ("currency", "XXX", "value_error"),
        ("currency", "XAU", "value_error"),
        ("currency", "\u00dfd", "string_too_short"),
        ("currency", "\uff35\uff33\uff24", "value_error"),
        ("details", "x" * 1001, "string_too_long"),
        ("reference", "x" * 256, "string_too_long"),
        ("metadata", {"": "x"}, "string_too_short"),
        ("metadata", {"x" * 41: "x"}, "string_too_long"),
        ("metadata", {"x": "x" * 501}, "string_too_long"),
        ("metadata", {"x": 1}, "string_type"),
        ("metadata", {"x": None}, "string_type"),
        ("metadata", {"x": {"y": "z"}}, "string_type"),
        ("metadata", {str(number): "x" for number in range(51)}, "too_long"),
        ("capture", "later", "enum"),
        ("webhookUrl", "", "value_error"),
        ("webhookUrl", "example.com/hook", "value_error"),
        ("webhookUrl", "//example.com/hook", "value_error"),
        ("webhookUrl", "ftp://example.com", "value_error"),
        ("webhookUrl", "javascript:alert(1)", "value_error"),
        ("webhookUrl", "file:///etc/passwd", "value_error"),
        ("webhookUrl", "http://", "value_error"),
        ("webhookUrl", "http:///hook", "value_error"),
        ("webhookUrl", "http://exa mple.com", "value_error"),
        ("webhookUrl", "http://example.com/\r\nX-Evil: 1", "value_error"),
        ("webhookUrl", "http://example.com:0/", "value_error"),
        ("webhookUrl", "http://example.com:65536/", "value_error"),
        ("webhookUrl", "http://[::1/", "value_error"),
        ("webhookUrl", "http://[a]@", "value_error"),
        ("webhookUrl", "http://user@example.com/", "value_error"),
        ("webhookUrl", "http://example.com/" + "x" * 2048, "string_too_long"),
    ],
)
@pytest.mark.usefixtures("nothing_stored")
def test_a_charges_limits_are_those_of_the_contract(send: Send, field: str, value: object, error: str) -> None:
    found = problems(send("POST /payments/charge", json.dumps({**CHARGE, field: value}).encode()))

    assert {(problem["type"], problem["loc"][1]) for problem in found} == {(error, field)}


@each(
    ("field", "value"),
    [
        ("customerName", "\u738b" * 200),
        ("customerName", "{'$gt': ''}"),
        ("details", "$ownerId"),
        ("details", "\U0001f600" * 1000),
        ("details", ""),
        ("reference", "x" * 255),
        ("reference", "$$ROOT"),
        ("metadata", {}),
        ("metadata", {"$where": "$ownerId", "a.b": "", "_id": "x", "__proto__": "x", "\u00e9" * 40: "\u00e9" * 500}),
        ("metadata", {str(number): "x" for number in range(50)}),
        ("webhookUrl", "http://localhost:4242/hook?a=%7B%7D&b=\u00e9#x"),
        ("webhookUrl", "https://\u2603.example/"),
        ("webhookUrl", "http://[::1]:8080/"),
    ],
)
def test_text_is_text_and_comes_back_as_it_went_in(
    send: Send, shared_psp: Psp, merchant: Account, field: str, value: object
) -> None:
    body = {name: CHARGE[name] for name in ("customerName", "paymentAmount", "currency")}
    answer = send("POST /payments/charge", json.dumps({**body, field: value}).encode())

    assert answer.status_code == 201
    assert answer.json()[field] == value
    assert shared_psp.get(f"/payments/{answer.json()['id']}", headers=merchant.key).json()[field] == value


NEVER_SENT = (
    "2130706433",
    "127.1",
    "127.0.0.1.",
    "0177.0.0.1",
    "017700000001",
    "01.2.3.4",
    "1.2.3",
    "1.2.3.4.5",
    "256.1.1.1",
    "0x7f000001",
    "0X7F000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "0x.1",
    "\uff12\uff11\uff13\uff10\uff17\uff10\uff16\uff14\uff13\uff13",
    "a..b",
    "a..",
    ".a",
    ".",
    "a" * 64,
    "a" * 64 + ".example",
    "\u00e9" * 60 + ".example",
    ".".join(["a" * 63] * 4),
    "a%20b",
    "%61.example",
    "a%00b",
    "*.example",
    "a|b",
    "a;b",
    "xn--a",
    "a\u200db",
    "a\u3002\u3002b",
    "[1::2::3]",
    "[t:]",
    "[127.0.0.1]",
)
SENT = (
    "localhost",
    "localhost.",
    "LOCALHOST",
    "order_system",
    "_a.b_c.example",
    "a-b.example",
    "127.0.0.1",
    "8.8.8.8",
    "1.example",
    "1a",
    "4242.local",
    "0x.example",
    "a" * 63,
    ".".join(["a" * 63] * 3 + ["a" * 61]),
    "b\u00fccher.example",
    "xn--bcher-kva.example",
    "fa\u00df.example",
    "\u2603.example",
    "\uff11\uff12\uff17.0.0.1",
    "[::1]",
    "[fe80::1%25lo]",
    "[::ffff:127.0.0.1]",
)


def test_a_url_to_whose_host_nothing_can_be_sent_is_refused_wherever_one_is_taken(send: Send, endpoint_id: str) -> None:
    for host in NEVER_SENT:
        url = f"http://{host}:4977/hook"
        for route, body in (
            ("POST /payments/charge", {**CHARGE, "webhookUrl": url}),
            ("POST /customers/{customer}/payments", {**CUSTOMER_CHARGE, "webhookUrl": url}),
            ("POST /webhook-endpoints", {**ENDPOINT, "url": url}),
            ("PATCH /webhook-endpoints/{endpoint}", {"url": url}),
        ):
            (problem,) = problems(send(route, json.dumps(body).encode()))
            assert (problem["type"], problem["loc"][1] in ("url", "webhookUrl")) == ("value_error", True), host
            assert "codec" not in problem["msg"], host


def test_a_url_to_whose_host_something_can_be_sent_is_taken(
    send: Send, shared_psp: Psp, merchant: Account, endpoint_id: str
) -> None:
    for host in SENT:
        url = f"http://{host}:9/hook"
        body = {"url": url, "status": "disabled"}
        answer = send("PATCH /webhook-endpoints/{endpoint}", json.dumps(body).encode())
        assert (answer.status_code, answer.json().get("url")) == (200, url), answer.text


@pytest.mark.parametrize("url", ["http://localhost:+1/", "http://localhost:1_0/"])
def test_an_address_that_only_some_can_read_stops_no_other_webhook(psp: Psp, receiver: Any, url: str) -> None:
    account = psp.register("merchant")
    psp.charge(account, webhookUrl=url)

    psp.charge(account, webhookUrl=receiver.url)

    receiver.wait_for(3)


def test_null_leaves_out_what_is_optional(send: Send) -> None:
    optional = dict.fromkeys(("details", "webhookUrl", "reference", "metadata"))

    answer = send("POST /payments/charge", json.dumps({**CHARGE, **optional}).encode())

    assert answer.status_code == 201
    assert {answer.json()[name] for name in ("details", "webhookUrl", "reference")} == {None}
    assert answer.json()["metadata"] == {}


@each("prefer", ["wait=-1", "wait=x", "wait=", "wait=1e9", "", "wait=99999999999999999999", "=;,,;"])
def test_a_preference_that_is_not_understood_is_ignored(shared_psp: Psp, merchant: Account, prefer: str) -> None:
    assert shared_psp.charge(merchant, {"Prefer": prefer}).status_code == 201


# The login form.

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PARTS = (
    b"--x\r\nContent-Disposition: form-data; name=username\r\n\r\n%s\r\n"
    b"--x\r\nContent-Disposition: form-data; name=password\r\n\r\n%s\r\n--x--\r\n"
)


@each(
    ("body", "missing"),
    [
        (b"", {"username", "password"}),
        (b"username=a%40example.com", {"password"}),
        (b"password=x", {"username"}),
        (b"username=&password=", {"username", "password"}),
        (b"&&&===&", {"username", "password"}),
        (b"\xff\xfe\0", {"username", "password"}),
        (b"username=a&password=x&grant_type=client_credentials", {"grant_type"}),
        (b"username=" + b"a" * 300 + b"&password=" + b"x" * 1025, {"username", "password"}),
        (b'{"username": "a", "password": "x"}', {"username", "password"}),
    ],
)
@pytest.mark.usefixtures("nothing_stored")
def test_a_form_that_is_wrong_is_a_422(shared_psp: Psp, body: bytes, missing: set[str]) -> None:
    found = problems(shared_psp.post("/auth/token", content=body, headers=FORM))

    assert {problem["loc"][-1] for problem in found} == missing


@each("value", [b"%00", b"a%00b", b"%ED%A0%80", b"%FF", b"%", b"%zz", b"$ne", b"\xe9", b"a+b"])
@pytest.mark.usefixtures("nothing_stored")
def test_a_form_with_strange_text_is_no_login(shared_psp: Psp, value: bytes) -> None:
    body = b"username=" + value + b"&password=" + value

    assert shared_psp.post("/auth/token", content=body, headers=FORM).status_code in (401, 422)


@each(
    ("media_type", "body"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data", PARTS % (b"a", b"b")),
        ("multipart/form-data; boundary=x", b"nonsense"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\na\r\n" * 50,
        ),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=f\r\n\r\na\r\n" * 1200 + b"--x--\r\n",
        ),
        ("multipart/form-data; boundary=x", PARTS % (b"\xff\xfe", b"\0")),
        ("multipart/form-data; boundary=x; charset=utf-7", PARTS % (b"+2AA-", b"+2AA-")),
        ("multipart/form-data; boundary=x; charset=unicode_escape", PARTS % (b"\\ud800", b"\\ud800")),
        ("multipart/form-data; boundary=x; charset=undefined", PARTS % (b"a", b"b")),
        ("multipart/form-data; boundary=x; charset=base64", PARTS % (b"a", b"b")),
        ("multipart/form-data; boundary=x; charset=idna", PARTS % (b"a" * 300, b"b")),
        ("multipart/form-data; boundary=x; charset=nonsense", PARTS % (b"a", b"b")),
        (f"multipart/form-data; boundary={'x' * 5000}", b"--x--"),
        ("multipart/form-data; boundary=\u00e9", b"--x--"),
        ("application/x-www-form-urlencoded; charset=utf-7", b"username=%2B2AA-&password=%2B2AA-"),
    ],
)
@pytest.mark.usefixtures("nothing_stored")
def test_a_form_in_strange_parts_is_no_login(shared_psp: Psp, media_type: str, body: bytes) -> None:
    headers: Any = {"Content-Type": media_type.encode("latin-1")}

    answer = shared_psp.post("/auth/token", content=body, headers=headers)

    assert answer.status_code in (401, 422), answer.text
    assert {"detail", "code", "requestId"} == answer.json().keys()


def test_a_file_is_no_user_name(shared_psp: Psp) -> None:
    found = problems(
        shared_psp.post("/auth/token", files={"username": ("f", b"x"), "password": ("f", SECRET.encode())})
    )

    assert {problem["loc"][-1] for problem in found} == {"username", "password"}


# Everything else that somebody may think of.

TEXT = st.text(max_size=20) | st.sampled_from(["$ne", "\0", "\ud800", "NaN", "USD", "http://[a]@", "../..", "\u202e"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.scaled
@settings(max_examples=scaled(60, 150), derandomize=True)
@given(where=st.sampled_from(FIELDS), value=VALUES)
def test_no_value_in_any_field_is_our_fault(send: Send, where: tuple[str, str], value: object) -> None:
    route, field = where

    answer = send(route, json.dumps({**ROUTES[route][0], field: value}).encode())

    assert answer.status_code < 500
    json_codec.loads(answer.content)


@pytest.mark.scaled
@settings(max_examples=scaled(40, 100), derandomize=True)
@given(
    route=st.sampled_from(sorted(ROUTES)),
    body=st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()),
)
def test_no_body_is_our_fault(send: Send, route: str, body: bytes) -> None:
    answer = send(route, body)

    assert answer.status_code < 500
    json_codec.loads(answer.content)


@pytest.mark.scaled
@settings(max_examples=scaled(40, 80), derandomize=True)
@given(
    name=st.sampled_from(
        ["minAmount", "maxAmount", "createdFrom", "createdTo", "limit", "cursor", "status", "customerName"]
    ),
    value=TEXT | st.floats().map(str) | st.integers().map(str) | st.datetimes().map(str),
)
def test_no_query_is_our_fault(shared_psp: Psp, merchant: Account, name: str, value: str) -> None:
    params = {name: value.encode("utf-8", "surrogatepass")}

    answer = shared_psp.get("/payments/query", params=params, headers=merchant.both)  # type: ignore[arg-type]

    assert answer.status_code < 500
    json_codec.loads(answer.content)
