"""What fuzzing the API from its own document needs: that document, callers of every kind, and what is checked."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pymongo
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, CheckContext, GenerationMode, HookContext, Response
from schemathesis.checks import CHECKS, load_all_checks

import main  # noqa: TID251 - which operations there are
from domain.money import EXPONENTS, MAX_AMOUNT_MINOR
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, serving
from tests.factories import DECLINED, NEEDS_3DS, VISA, Psp

OPERATIONS = [
    (method.upper(), path) for path, operations in main.app.openapi()["paths"].items() for method in operations
]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

load_all_checks()
_POSITIVE = CHECKS.get_one("positive_data_acceptance")
_GONE = CHECKS.get_one("use_after_free")
_METHOD = CHECKS.get_one("unsupported_method")

# Formats that are our own, and what of them is mostly accepted; without them hardly a charge would be.
for name, values in {
    "currency": sorted(EXPONENTS),
    "card-number": [VISA, DECLINED, NEEDS_3DS, "5555 5555 5555 4444", "3782-822463-10005"],
    "phone": ["+44 20 7946 0018", "+1 202-555-0143", "020 7946 0018"],
    "country": ["GB", "usa", "Germany"],
}.items():
    schemathesis.openapi.format(name, st.sampled_from(values))

# Operations that answer after a deletion as before it: a key is shown as revoked, and payments outlive their customer.
OUTLIVES_ITS_OWNER = {"get_payment_key", "list_customer_payments", "get_customer_payment"}
# Operations that end their caller's credentials, or of which an account has a limited number: a refusal for that would
# hide every other one.
SPENDS_ITS_CALLER = {
    *("logout", "end_all_sessions", "change_password"),
    *("create_webhook_endpoint", "create_api_key", "create_resend_job"),
}

ADDRESS_OF_AN_OBJECT = "/api/v1/refunds/{refund_id}".count("/")

Headers = dict[str, str]
Caller = Callable[[Psp], Headers]


def _payment_key(psp: Psp) -> Headers:
    made = psp.post("/payment-keys", json={"maxUses": None}, headers=psp.register("merchant").key)
    return {"X-Payment-Key": made.json()["paymentKey"]}


CALLERS: Mapping[str, Caller] = {
    "anonymous": lambda psp: {},
    "user": lambda psp: psp.register("user").bearer,
    "merchant": lambda psp: psp.register("merchant").bearer,
    "admin": lambda psp: psp.register("admin").bearer,
    "system_admin": lambda psp: psp.root(),
    "API key": lambda psp: psp.register("merchant").key,
    "API key and token": lambda psp: psp.register("merchant").both,
    "payment key": _payment_key,
}
"""Every kind of credential, each with a throw-away account behind it (but for the one system_admin, whose password
nobody can guess)."""


class Fuzzed:
    """A server under fuzz: its document, and requests to it that are checked in every way."""

    def __init__(self, url: str, psp: Psp):
        self.url = url
        self.psp = psp
        self.requests = 0
        self.schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        # Credentials are the callers', since drawn ones are all refused, as is text with a NUL.
        self.schema.config.generation.update(with_security_parameters=False, allow_x00=False)
        # The document's own links are walked, and none that are guessed.
        self.schema.config.phases.stateful.inference.algorithms = []
        # An address has the methods of two rows: `DELETE /payments/{id}` is that of `/{resource}/{resource_id}`.
        self.schema.config.checks.allow_header_conformance.enabled = False
        self.schema.hooks.register_hook_with_name(_mostly_accepted, "map_body")
        self.session = requests.Session()

    def send(self, case: Case, headers: Headers) -> Response:
        """Send a request and check the answer. Raises FailureGroup."""
        response = case.call(base_url=self.url, headers=headers, session=self.session)
        self.check(case, response, headers)
        return response

    def check(self, case: Case, response: Response, headers: Headers, **options: Any) -> None:
        self.requests += 1
        excluded = [_POSITIVE]
        if operation_id(case.operation) in OUTLIVES_ITS_OWNER:
            excluded.append(_GONE)
        if case.method == "DELETE" and case.operation.path.count("/") == ADDRESS_OF_AN_OBJECT:
            # `DELETE /{resource}/{resource_id}` answers there, and says which resources it knows.
            excluded.append(_METHOD)
        case.validate_response(
            response,
            headers=headers,
            transport_kwargs={"headers": headers},
            excluded_checks=excluded,
            additional_checks=[what_the_document_allows_is_accepted],
            **options,
        )


def _mostly_accepted(context: HookContext, body: Any) -> Any:
    """Hardly any number that is drawn has as few decimals as a currency, nor is a year in which a card is good."""
    if not isinstance(body, dict):
        return body
    body = {**body}
    for name in ("paymentAmount", "amount"):
        if isinstance(body.get(name), float) and 0 < body[name] <= MAX_AMOUNT_MINOR:
            body[name] = max(round(body[name] % 1e6, 2), 0.01)
    if type(year := body.get("expYear")) is int and (0 <= year < 100 or 2000 <= year < 2100):
        body["expYear"] = 2040
    if "card" in body:
        body["card"] = _mostly_accepted(context, body["card"])
    return body


def operation_id(operation: APIOperation) -> str:
    found: str = operation.definition.raw["operationId"]
    return found


@contextmanager
def fuzzed_server(
    log: Path, mongo: pymongo.MongoClient[dict[str, Any]], data_dir: Path, database: str
) -> Iterator[Fuzzed]:
    """A server on a database of its own that throttles nobody."""
    settings = {"MONGODB_DB": database, "DATA_DIR": str(data_dir), "RATE_LIMIT": "off", "LOGIN_THROTTLE": "off"}
    with serving(log, **settings) as server, httpx.Client(base_url=server.url, timeout=35) as client:
        yield Fuzzed(server.url, Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD))
    mongo.drop_database(database)


def what_the_document_allows_is_accepted(context: CheckContext, response: Response, case: Case) -> bool | None:
    """schemathesis's own check, but for what JSON Schema cannot say."""
    return None if _refused_for_more_than_a_schema_says(response, case) else _POSITIVE(context, response, case)


def _refused_for_more_than_a_schema_says(response: Response, case: Case) -> bool:
    if response.status_code not in (400, 422):
        return False
    problem = response.json()
    if problem["code"] != "validation_error":
        return problem["code"] in ("email_taken", "idempotency_key_reused")
    return all(_is_beyond_a_schema(one, case) for one in problem["detail"])


def _is_beyond_a_schema(problem: dict[str, Any], case: Case) -> bool:
    """Whether a value was refused for what no schema can say of it. All else that Pydantic refuses, one can."""
    return (
        # The rules of our own: a check digit, a currency's decimals, a cursor of this list, the one of two fields.
        problem["type"] == "value_error"
        # To JSON Schema 10.0 is an integer.
        or (problem["type"] == "int_type" and isinstance(_sent(case, problem["loc"]), float))
        # 1e3, as JSON may write a number, is none in an address.
        or (problem["type"] == "float_parsing" and "e" in problem["input"])
    )


def _sent(case: Case, location: list[str | int]) -> Any:
    value: Any = case.body
    for part in location[1:]:
        value = value[part]
    return value
