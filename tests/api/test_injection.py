"""Whatever stands in any field, parameter, part of a path or header is text, or is refused: on every route (I9)."""

import json
import random
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from math import ceil
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from pymongo.database import Database

from domain.roles import Role
from domain.signing import plain_signature
from routers.roles import API, ROLE_TABLE, Needs
from tests.api.test_tenant_isolation import NAMING
from tests.belongings import Belongings
from tests.conftest import Server
from tests.factories import Psp
from tests.hostile import IN_BYTES, IN_JSON
from tests.operations import OPERATIONS, Operation, Place, fields
from tests.raw_http import Answer, RawConnection
from tests.scale import FULL, SEED

CASES_OF_A_GROUP = 30
READ_ON_EACH = ("X-Request-ID", "User-Agent", "Content-Type", "X-API-Key", "X-Payment-Key", "Authorization")
CREDENTIALS = ("X-API-Key", "X-Payment-Key", "Authorization")
OWNED = ("payments", "customers", "cards", "card_tokens", "payment_keys", "webhook_endpoints", "resend_jobs", "refunds")
INSIDE = re.compile(rb"Traceback|site-packages|pymongo|motor\b|bson|E11000|OperationFailure|\.py\b|MongoServer", re.I)
# Secrets and tokens are random text, in which any four letters may stand.
RANDOM_TEXT = re.compile(rb'"(?:whsec_|psp_|pk_|eyJ)[^"]*"')
# What is kept in one form for each meaning, or shown masked.
NORMALISED = {"currency", "country", "phone", "number", "cvc", "expYear", "expMonth", "from", "to", "amount"}
# A path that is no route's, a body that is too large, or of another media type.
OF_EVERY_ROUTE = {404, 405, 413, 414, 415, 422, 431}


@dataclass(frozen=True)
class Case:
    where: str
    """`body`, `query`, `path` or `header`."""
    place: Place
    name: str
    value: bytes

    def __str__(self) -> str:
        return f"{self.where} {'.'.join(map(str, self.place))}: {self.name}"


def cases(operation: Operation) -> Iterator[Case]:
    for place in fields(operation.body):
        for name, value in IN_JSON.items():
            yield Case("body", place, name, value)
    for where in ("query", "path", "header"):
        extra = READ_ON_EACH if where == "header" else ()
        for parameter in (*operation.parameters[where], *extra):
            for name, value in IN_BYTES.items():
                yield Case(where, (parameter,), name, value)
    for parameter in operation.parameters["query"]:
        yield Case("query", (f"{parameter}[$ne]",), "an operator beside the name", b"a")


def group(operation: Operation) -> str:
    return operation.path.removeprefix(f"{API}/").partition("/")[0]


GROUPS = Counter(map(group, OPERATIONS.values()))


def drawn(operation: Operation) -> list[Case]:
    """All; or one of each place, and as many as make 30 in the whole group of routes."""
    by_place: dict[tuple[str, Place], list[Case]] = {}
    for case in cases(operation):
        by_place.setdefault((case.where, case.place), []).append(case)
    if FULL:
        return list(chain.from_iterable(by_place.values()))
    chance = random.Random(f"{SEED} {operation.id}")
    shuffled = [chance.sample(some, len(some)) for some in by_place.values()]
    in_turn = [case for some in zip_longest(*shuffled) for case in some if case is not None]
    return in_turn[: max(len(by_place), ceil(CASES_OF_A_GROUP / GROUPS[group(operation)]))]


class Caller:
    """Sends an operation's requests as somebody who may, each with one thing in it that is hostile."""

    def __init__(self, psp: Psp, root: dict[str, str], wire: RawConnection, operation: Operation):
        self.psp, self.root, self.wire, self.operation = psp, root, wire, operation
        self.access = ROLE_TABLE[operation.method, operation.path]
        self.accounts: list[str] = []
        self.renew()

    def renew(self) -> None:
        """Another account, with an object for each id in the path."""
        self.own = Belongings(self.psp, self.psp.register("merchant"))
        self.accounts.append(self.own.account.id)
        self.ids = {name: self._id(name) for name in self.operation.parameters["path"]}
        if self.operation.body:
            self.body()
        if self.filters:
            assert self.own["payment_id"], "something that no hostile filter is to find"
        self.expected = self.shown()

    @property
    def filters(self) -> set[str]:
        """The parameters of a list of one's own that take any text, and find what has it."""
        if Role.MERCHANT not in self.access.roles:
            return set()
        parameters = self.operation.parameters["query"].items()
        return {
            name
            for name, schema in parameters
            if schema.get("type") == "string" and name != "cursor" and not {"enum", "format"} & schema.keys()
        }

    def shown(self) -> Any:
        """The object that a request changes, as it is now."""
        operation = self.operation
        if operation.method not in ("PATCH", "PUT") or ("GET", operation.path) not in OPERATIONS:
            return None
        return self.psp.client.get(operation.path.format(**self.ids), headers=self.own.account.key).json()

    def _id(self, name: str) -> str:
        return {"resource": "transactions", "resource_id": "txn_none"}.get(name) or self.own[name]

    @property
    def headers(self) -> dict[str, str]:
        if Role.MERCHANT not in self.access.roles:
            return self.root
        by_key = self.access.needs in (Needs.API_KEY, Needs.PAYMENT_KEY, Needs.EITHER)
        return self.own.account.key if by_key else self.own.account.both

    def body(self) -> Any:
        """The documented example, about one's own objects."""
        body = self.operation.example()
        for name in body.keys() & NAMING.keys():
            body[name] = self.own[NAMING[name]]
        if self.operation.path.endswith("/register"):
            body["email"] = f"{secrets.token_hex(8)}@example.com"
        return body

    def ask(self, case: Case | None) -> Answer:
        operation = self.operation
        headers = {name: value.encode() for name, value in self.headers.items()}
        ids = {name: quote(one, safe="") for name, one in self.ids.items()}
        query, content = b"", None
        if operation.body:
            content = hostile_body(operation, self.body(), case if case and case.where == "body" else None)
            headers["Content-Type"] = str(operation.media_type).encode()
            if operation.path.endswith("/webhook-receive"):
                headers["X-Signature"] = plain_signature(self.own.account.webhook_secret, content).encode()
        if case and case.where == "path":
            ids[str(case.place[0])] = quote(case.value, safe="")
        elif case and case.where == "query":
            query = b"?" + urlencode({str(case.place[0]): case.value}).encode()
        elif case and case.where == "header":
            headers = {name: value for name, value in headers.items() if name.lower() != str(case.place[0]).lower()}
            headers[str(case.place[0])] = case.value
        return self.wire.ask(operation.method, operation.path.format(**ids).encode() + query, headers, content)


def hostile_body(operation: Operation, body: Any, case: Case | None) -> bytes:
    if case is not None:
        put(body, case.place)
    if operation.media_type == "application/x-www-form-urlencoded":
        if case is None:
            return urlencode(body).encode()
        value = case.value.strip(b'"')
        return urlencode({name: value if one == "@@" else one for name, one in body.items()}).encode()
    written = json.dumps(body).encode()
    return written if case is None else written.replace(b'"@@"', case.value)


def put(body: Any, place: Place) -> None:
    """A mark in the place of a value, and what is around it where the example has none."""
    for name, after in zip(place, (*place[1:], None), strict=True):
        if after is None:
            inner: Any = "@@"
        elif isinstance(body, dict) and isinstance(body.get(name), dict | list):
            inner = body[name]
        else:
            inner = [] if after == 0 else {}
        if isinstance(body, list):
            body[:] = [inner]
        else:
            body[name] = inner
        body = inner


def at(body: Any, place: Place) -> Any:
    for name in place:
        try:
            body = body[name]
        except (KeyError, IndexError, TypeError):
            return None
    return body


def faults(case: Case, answer: Answer, documented: frozenset[int]) -> Iterator[str]:
    if answer.status >= 500:
        yield f"{answer.status}"
    if told := INSIDE.search(RANDOM_TEXT.sub(b"", answer.body.replace(case.value, b""))):
        yield f"tells of the inside with {told[0]!r}: {answer.body[:300]!r}"
    if "x-injected" in answer.headers or "set-cookie" in answer.headers:
        yield "a header was smuggled in"
    if answer.status >= 400 and is_http(case):
        body = answer.json()
        if {"detail", "code", "requestId"} != body.keys() or answer.headers["content-type"] != "application/json":
            yield f"an answer in another form: {answer.body[:300]!r}"
    if answer.status not in documented | OF_EVERY_ROUTE and is_http(case):
        yield f"{answer.status} is not documented: {answer.body[:300]!r}"


def is_http(case: Case) -> bool:
    """What is no HTTP is answered by the server before it comes to the application."""
    if case.where == "header" and any(byte < 0x20 or byte == 0x7F for byte in case.value):
        return False
    return case.where == "body" or len(case.value) < 60_000


def differences(caller: Caller, case: Case, answer: Answer) -> Iterator[str]:
    """Where what was accepted is shown otherwise than it was sent, by the answer or by the route that reads it."""
    shown = answer.json() if answer.body else None
    if case.where == "query" and case.place[0] in caller.filters:
        (rows,) = (value for value in shown.values() if isinstance(value, list))
        # An accent alone is how each name begins, whatever its accents.
        if rows and case.name != "a mark alone":
            yield f"finds {len(rows)}"
    if case.where != "body" or not isinstance(shown, dict) or NORMALISED & set(map(str, case.place)):
        return
    sent = json.loads(case.value)
    top = at(shown, case.place)
    if case.place[0] in shown and top != sent and sent is not None:
        yield f"shown as {top!r}"
    path = caller.operation.path
    if str(shown.get("id")).startswith("txn_"):
        url = f"{API}/payments/{shown['id']}"
    elif ("GET", path) in OPERATIONS and caller.operation.method != "POST":
        url = path.format(**caller.ids)
    elif any(one.startswith(f"{path}/{{") and ("GET", one) in OPERATIONS for _, one in OPERATIONS) and "id" in shown:
        url = f"{path.format(**caller.ids)}/{shown['id']}"
    else:
        return
    read = caller.psp.client.get(url, headers=caller.own.account.key)
    if read.status_code == 200 and at(read.json(), case.place) != top:
        yield f"read as {at(read.json(), case.place)!r}"


@pytest.fixture(scope="module")
def wire(server: Server) -> Iterator[RawConnection]:
    wire = RawConnection(server.url)
    yield wire
    wire.close()


@pytest.mark.scaled
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.id)
def test_what_is_sent_is_text_or_is_refused(
    shared_psp: Psp,
    root: dict[str, str],
    server: Server,
    wire: RawConnection,
    database: Database[Any],
    operation: Operation,
) -> None:
    caller = Caller(shared_psp, root, wire, operation)
    logged, found, accepted = server.log.stat().st_size, list[str](), 0

    def owned() -> int:
        wanted = {"owner_id": {"$in": caller.accounts}}
        return sum(database[name].count_documents(wanted) for name in OWNED)

    before = owned()
    for case in drawn(operation):
        try:
            answer = caller.ask(case)
        except OSError as error:
            wire.close()
            if is_http(case):
                found.append(f"{case}: no answer: {error!r}")
            continue
        found += [f"{case}: {fault}" for fault in faults(case, answer, operation.statuses)]
        if answer.status < 300:
            accepted += 1
            found += [f"{case}: {difference}" for difference in differences(caller, case, answer)]
            caller.expected = None if caller.expected is None else answer.json()
        elif answer.status == 401 and caller.access.needs is not Needs.NOTHING and case.place[0] not in CREDENTIALS:
            # An accepted request has ended the session.
            made = owned() - before
            caller.renew()
            before = owned() - made
    assert not found, "\n".join(found)
    assert owned() - before <= accepted, "what was refused has made nothing"
    assert caller.shown() == caller.expected, "what was refused has changed nothing"
    assert b"Traceback" not in server.log.read_bytes()[logged:]


def test_each_group_of_routes_gets_30_bad_inputs() -> None:
    counted = Counter[str]()
    for operation in OPERATIONS.values():
        counted[group(operation)] += len(drawn(operation))

    assert {name: count for name, count in counted.items() if count < CASES_OF_A_GROUP} == {}
