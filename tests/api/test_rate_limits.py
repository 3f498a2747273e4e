"""With RATE_LIMIT on, each request counts once, over all processes; one too many changes nothing and is told when."""

import itertools
import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pymongo.database
import pytest

from domain.rate_limits import By
from routers.rate_limits import (
    LOGINS,
    PAYMENTS,
    READS,
    REGISTRATIONS,
    SECRETS,
    UNAUTHENTICATED,
    WRITES,
    policy_of,
)
from routers.roles import API, ROLE_TABLE, Needs
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server, serving
from tests.factories import PASSWORD, Account, Psp

NAME = "rate_limits"
MESSAGE = "Too many requests. Wait as long as Retry-After says."
Database = pymongo.database.Database[dict[str, Any]]
Mongo = pymongo.MongoClient[dict[str, Any]]
_addresses = itertools.count(1)


@pytest.fixture(scope="module")
def servers(
    mongo_uri: str, data_dir: Path, tmp_path_factory: pytest.TempPathFactory, mongo: Mongo
) -> Iterator[list[Server]]:
    """Two API processes, behind a proxy on this machine so that each test has clients of its own."""
    logs = tmp_path_factory.mktemp("limited")
    settings = {"DATA_DIR": str(data_dir), "MONGODB_DB": NAME, "WORKER": "off"}
    settings.update(RATE_LIMIT="on", TRUSTED_PROXIES="127.0.0.1")
    with ExitStack() as stack:
        yield [stack.enter_context(serving(logs / f"{number}.log", **settings)) for number in range(2)]
    mongo.drop_database(NAME)


@pytest.fixture
def database(mongo: Mongo, servers: list[Server]) -> Database:
    return mongo[NAME]


@pytest.fixture
def client_at(servers: list[Server]) -> Iterator[Callable[[str], Psp]]:
    """A client at an address."""
    with ExitStack() as stack:

        def at(address: str, server: int = 0) -> Psp:
            headers = {"X-Forwarded-For": address}
            client = httpx.Client(base_url=servers[server].url, headers=headers, timeout=60, verify=False)
            return Psp(stack.enter_context(client), ADMIN_EMAIL, ADMIN_PASSWORD)

        yield at


@pytest.fixture
def address() -> str:
    """Nobody else's."""
    number = next(_addresses)
    return f"203.0.{number // 250}.{number % 250 + 1}"


@pytest.fixture
def psp(client_at: Callable[[str], Psp], address: str) -> Psp:
    return client_at(address)


@pytest.fixture
def account(psp: Psp) -> Account:
    return psp.register()


def let_windows_last(window_s: int, needed_s: float) -> None:
    """Windows begin on the clock: none may end under a test."""
    left_s = window_s - time.time() % window_s
    if left_s < needed_s:
        time.sleep(left_s + 0.1)


@pytest.fixture
def a_minute_that_lasts() -> None:
    let_windows_last(60, 5)


counting = pytest.mark.usefixtures("a_minute_that_lasts")


def uncounted(database: Database) -> None:
    """As if nobody had asked for anything yet."""
    database["rate_limits"].delete_many({})


def counted(database: Database, number: int) -> None:
    """As if the only one who has asked, and once, had asked so often."""
    done = database["rate_limits"].update_many({"count": 1}, {"$set": {"count": number}})
    assert done.modified_count == 1


def assert_refused(answer: httpx.Response, policy: Any) -> None:
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (429, "rate_limited", MESSAGE)
    assert answer.json()["requestId"] == answer.headers["X-Request-ID"]
    assert 1 <= int(answer.headers["Retry-After"]) <= policy.window_s
    assert answer.headers["RateLimit-Policy"] == f'"{policy.name}";q={policy.quota};w={policy.window_s}'
    assert answer.headers["RateLimit"] == f'"{policy.name}";r=0;t={answer.headers["Retry-After"]}'


def test_of_200_requests_at_once_to_two_processes_exactly_50_pass(
    servers: list[Server], database: Database, address: str
) -> None:
    assert REGISTRATIONS.quota == 50
    let_windows_last(REGISTRATIONS.window_s, 30)
    accounts = database["users"].count_documents({})

    def register(number: int) -> httpx.Response:
        body = {"name": "Ada", "email": f"{secrets.token_hex(8)}@example.com", "password": PASSWORD}
        url = f"{servers[number % 2].url}{API}/users/register"
        return httpx.post(url, json=body, headers={"X-Forwarded-For": address}, timeout=120, verify=False)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(register, range(200)))

    passed = [answer for answer in answers if answer.status_code == 201]
    assert len(passed) == 50
    assert database["users"].count_documents({}) == accounts + 50
    # Each one has read of another place in the row.
    left = [int(re.findall(r"r=(\d+)", answer.headers["RateLimit"])[0]) for answer in passed]
    assert sorted(left) == list(range(50))
    for answer in answers:
        if answer not in passed:
            assert_refused(answer, REGISTRATIONS)


@counting
def test_a_login_too_many_is_refused_before_anything_is_looked_at(
    psp: Psp, account: Account, database: Database
) -> None:
    uncounted(database)
    sessions = database["sessions"].count_documents({})
    assert psp.login(account.email, "wrong").status_code == 401
    counted(database, LOGINS.quota - 1)
    assert psp.login(account.email).status_code == 200

    assert_refused(psp.login(account.email), LOGINS)
    body = {"email": "", "unknown": 1}
    assert psp.post("/users/login", json=body).status_code == 429, "the fields come later"
    form = {"username": account.email, "password": PASSWORD}
    assert psp.post("/auth/token", data=form).status_code == 429, "the same limit"
    assert database["sessions"].count_documents({}) == sessions + 1


@counting
def test_each_answer_says_where_one_stands(psp: Psp, account: Account, database: Database) -> None:
    uncounted(database)
    charged = psp.charge(account)
    invalid = psp.charge(account, paymentAmount=-1)
    read = psp.get("/payments/txn_none", headers=account.key)
    forbidden = psp.get("/users", headers=account.bearer)

    for answer, status, policy, left in (
        (charged, 201, PAYMENTS, PAYMENTS.quota - 1),
        (invalid, 422, PAYMENTS, PAYMENTS.quota - 2),
        (read, 404, READS, READS.quota - 1),
        (forbidden, 403, READS, READS.quota - 2),
    ):
        assert answer.status_code == status
        assert answer.headers["RateLimit-Policy"] == f'"{policy.name}";q={policy.quota};w={policy.window_s}'
        assert re.fullmatch(rf'"{policy.name}";r={left};t=([1-9]|[1-5]\d|60)', answer.headers["RateLimit"])
        assert "Retry-After" not in answer.headers


def use_up(database: Database, policy: Any, request: Callable[[], httpx.Response]) -> None:
    """Make one request, and let it have been as many as there may be."""
    uncounted(database)
    assert request().status_code < 400
    counted(database, policy.quota)
    assert_refused(request(), policy)


@counting
def test_a_key_that_asks_too_often_leaves_the_accounts_other_keys_alone(
    psp: Psp, account: Account, database: Database
) -> None:
    body = {"name": "other", "scopes": ["payments:write"]}
    other = psp.post("/api-keys", json=body, headers=account.bearer).json()["apiKey"]
    public = psp.post("/payment-keys", json={"maxUses": None}, headers=account.key).json()["paymentKey"]
    payments = database["payments"].count_documents({})

    use_up(database, PAYMENTS, lambda: psp.charge(account))

    fields = {"customerName": "Grace Hopper", "paymentAmount": 1, "currency": "USD"}
    assert psp.post("/payments/charge", json=fields, headers={"X-API-Key": other}).status_code == 201
    assert psp.post("/payments/charge", json=fields, headers={"X-Payment-Key": public}).status_code == 201
    assert database["payments"].count_documents({}) == payments + 3, "nothing was charged by the refused one"


@counting
def test_an_account_has_one_limit_whatever_it_shows(
    psp: Psp, client_at: Callable[..., Psp], account: Account, database: Database
) -> None:
    use_up(database, READS, lambda: psp.get("/events", headers=account.key))

    elsewhere = client_at("198.51.100.1", 1)
    assert elsewhere.get("/events", headers=account.bearer).status_code == 429
    assert elsewhere.get("/events", headers=psp.register().key).status_code == 200
    assert psp.charge(account).status_code == 201, "another limit"


@counting
@pytest.mark.parametrize(
    ("policy", "method", "path", "body"),
    [
        (SECRETS, "POST", "/api-keys", {"name": "one more", "scopes": ["events:read"]}),
        (WRITES, "POST", "/payment-keys", {"maxUses": 1}),
    ],
)
def test_what_is_refused_changes_nothing(
    psp: Psp, account: Account, database: Database, policy: Any, method: str, path: str, body: dict[str, Any]
) -> None:
    def contents() -> dict[str, list[Any]]:
        left_out = ("rate_limits", "signals", "login_attempts", "request_logs")
        names = [name for name in sorted(database.list_collection_names()) if name not in left_out]
        return {name: list(database[name].find({}, {"api_keys.last_used_at": 0})) for name in names}

    use_up(database, policy, lambda: psp.client.request(method, API + path, json=body, headers=account.bearer))
    before = contents()

    assert_refused(psp.client.request(method, API + path, json=body, headers=account.bearer), policy)

    assert contents() == before


WRONG: dict[str, dict[str, Any]] = {
    "no key": {},
    "a wrong key": {"headers": {"X-API-Key": "psp_sk_nonsense"}},
    "no JSON": {"content": b"{", "headers": {"Content-Type": "application/json"}},
    "another type": {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
    "too large a body": {"content": b" " * 70_000, "headers": {"Content-Type": "application/json"}},
}


@counting
@pytest.mark.parametrize("wrong", WRONG)
def test_who_cannot_show_who_they_are_is_limited_by_address(
    psp: Psp, client_at: Callable[..., Psp], account: Account, database: Database, wrong: str
) -> None:
    uncounted(database)

    def ask(psp: Psp = psp) -> httpx.Response:
        return psp.post("/payments/charge", **WRONG[wrong])

    first = ask()
    assert first.status_code in (401, 413, 415, 422)
    assert first.headers["RateLimit"].startswith(f'"{UNAUTHENTICATED.name}";r={UNAUTHENTICATED.quota - 1};')
    counted(database, UNAUTHENTICATED.quota - 1)
    assert ask().status_code == first.status_code

    assert_refused(ask(), UNAUTHENTICATED)
    assert psp.get("/protected", headers={"Authorization": "Bearer garbage"}).status_code == 429, "one limit for all"
    assert ask(client_at("198.51.100.2")).status_code == first.status_code
    assert psp.charge(account).status_code == 201, "others at this address go on"


@counting
def test_the_addresses_of_one_ipv6_network_count_together(client_at: Callable[..., Psp], database: Database) -> None:
    uncounted(database)

    def left(address: str) -> str:
        return client_at(address).get("/bank/scenarios").headers["RateLimit"].split(";")[1]

    assert [left("2001:db8::1"), left("2001:db8:0:0:ffff::9"), left("2001:db8:0:1::1")] == ["r=119", "r=118", "r=119"]


@counting
def test_an_unknown_address_is_one_address(client_at: Callable[..., Psp], database: Database) -> None:
    uncounted(database)

    answers = [client_at(garbage).get("/bank/scenarios") for garbage in ("unknown", "unix", "::::")]

    assert [answer.headers["RateLimit"].split(";")[1] for answer in answers] == ["r=119", "r=118", "r=117"]


def test_the_status_is_told_to_everyone_always(psp: Psp, database: Database) -> None:
    uncounted(database)

    answer = psp.get("/status")

    assert (answer.status_code, "RateLimit" in answer.headers) == (200, False)
    assert database["rate_limits"].count_documents({}) == 0


def test_a_request_that_cannot_be_counted_is_a_503_and_changes_nothing(
    psp: Psp, account: Account, database: Database, mongo: Mongo
) -> None:
    payments = database["payments"].count_documents({})
    refused = {"failCommands": ["findAndModify"], "namespace": f"{NAME}.rate_limits", "errorCode": 50}
    mongo.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=refused)
    try:
        answers = [psp.charge(account), psp.login(account.email), psp.get("/protected"), psp.get("/events")]
        status = psp.get("/status")
    finally:
        mongo.admin.command("configureFailPoint", "failCommand", mode="off")

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert answer.headers["Retry-After"] == "1"
    assert status.status_code == 200
    assert database["payments"].count_documents({}) == payments


@counting
def test_nobody_can_read_from_the_counters_who_has_asked(
    psp: Psp, account: Account, database: Database, address: str
) -> None:
    uncounted(database)
    psp.charge(account)
    psp.login(account.email)

    kept = str(list(database["rate_limits"].find()))

    assert database["rate_limits"].count_documents({}) == 2
    for told in (address, account.id, account.email, account.api_key, "key_"):
        assert told not in kept


def test_where_it_is_off_nothing_is_counted_and_nothing_said(server: Server, mongo: Mongo) -> None:
    with httpx.Client(base_url=server.url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        answers = [
            psp.charge(psp.register()),
            psp.get("/events"),
            *(psp.login("nobody@example.com") for _ in range(40)),
        ]

    assert {answer.status_code for answer in answers} == {201, 401}
    assert not any("RateLimit" in answer.headers for answer in answers)
    assert mongo["tests"]["rate_limits"].count_documents({}) == 0


@pytest.mark.parametrize("route", [route for route in ROLE_TABLE if route[1].startswith((API, "/3ds/"))], ids=" ".join)
def test_each_route_has_a_limit_that_knows_whose_its_requests_are(route: tuple[str, str]) -> None:
    policy = policy_of(*route)
    if route == ("GET", f"{API}/status"):
        assert policy is None
        return
    assert policy is not None
    assert (policy.by is By.ADDRESS) is (ROLE_TABLE[route].needs is Needs.NOTHING)
