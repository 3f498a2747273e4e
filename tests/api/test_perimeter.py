"""What stands around every route: security headers, CORS, the names of hosts, and limits on what may be sent."""

import os
import socket
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import httpx
import pymongo
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from core.config import Settings
from routers.http_protocol import MAX_HEADERS, MAX_HEADERS_BYTES, MAX_URL_BYTES
from routers.middleware import UnexpectedErrors
from routers.perimeter import perimeter
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, serving
from tests.factories import API, NEEDS_3DS, Account, Psp, card

COMMON = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
NO_PAGE = "default-src 'none'; frame-ancestors 'none'"
HSTS = "strict-transport-security"
SHOP, HOST = "https://shop.example.com", "psp.example.com"
DATABASE = "perimeter"
READABLE = {"x-request-id", "etag", "idempotent-replayed", "retry-after", "ratelimit", "ratelimit-policy"}


@pytest.fixture(scope="module")
def guarded(
    data_dir: Path, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Psp]:
    """A server in production, with hosts and origins."""
    settings = {
        "ENVIRONMENT": "production",
        "PASSWORD_HASH_COST": "12",
        "JWT_SECRET": token_urlsafe(48),
        "ENCRYPTION_KEY": b64encode(os.urandom(32)).decode(),
        "CORS_ORIGINS": f"http://localhost:3000, {SHOP}",
        "TRUSTED_HOSTS": f"{HOST}, *.example.org",
        "METRICS_TOKEN": token_urlsafe(32),
        "WORKER": "off",
    }
    log = tmp_path_factory.mktemp("guarded") / "server.log"
    with (
        serving(log, DATA_DIR=str(data_dir), MONGODB_DB=DATABASE, **settings) as server,
        httpx.Client(base_url=server.url, timeout=35, verify=False) as client,
    ):
        yield Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
    mongo.drop_database(DATABASE)


def send_raw(psp: Psp, request: bytes) -> tuple[int, httpx.Headers, dict[str, Any]]:
    """Send bytes as they are, and read until the server closes."""
    address = psp.client.base_url
    with socket.create_connection((address.host, address.port or 80), timeout=30) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    answer = httpx.Response(int(first.split()[1]), headers=[line.split(": ", 1) for line in lines], content=body)
    return answer.status_code, answer.headers, answer.json()


def request(target: bytes = b"/api/v1/status", headers: bytes = b"") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + b"\r\n"


# Security headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{API}/status", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs/assets/swagger-ui.css", 200),
        ("GET", "/", 307),
        ("GET", f"{API}/protected", 401),
        ("GET", f"{API}/nonsense", 404),
        ("PUT", f"{API}/status", 405),
        ("GET", f"{API}/status?x=1", 422),
        ("GET", "/3ds/txn_none/none", 404),
        ("OPTIONS", f"{API}/status", 405),
        ("HEAD", f"{API}/status", 405),
    ],
)
def test_every_answer_tells_browsers_what_not_to_do(psp: Psp, method: str, path: str, status: int) -> None:
    answer = psp.client.request(method, path)

    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in COMMON} == COMMON
    assert answer.headers["content-security-policy"] == NO_PAGE
    assert HSTS not in answer.headers


def test_a_page_has_its_own_policy_and_the_common_headers(psp: Psp, merchant: Account) -> None:
    payment = psp.charge(merchant, {"Prefer": "wait=30"}, card=card(NEEDS_3DS)).json()

    for page in ("/docs", "/redoc", "/docs/oauth2-redirect", payment["nextAction"]["url"]):
        headers = psp.client.get(page).headers

        assert {name: headers.get(name) for name in COMMON} == COMMON
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers.get_list("content-security-policy") != [NO_PAGE]
        assert len(headers.get_list("content-security-policy")) == 1


def test_production_asks_for_https(guarded: Psp) -> None:
    for path in (f"{API}/status", "/docs", f"{API}/protected"):
        assert guarded.client.get(path).headers[HSTS] == "max-age=31536000"


# CORS


def preflight(
    psp: Psp, origin: str, method: str = "POST", headers: str = "x-api-key,idempotency-key"
) -> httpx.Response:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return psp.client.options(f"{API}/payments/charge", headers={"Origin": origin, **asked})


def allowed(answer: httpx.Response) -> str | None:
    origin: str | None = answer.headers.get("access-control-allow-origin")
    return origin


def test_no_page_of_another_origin_gets_in_unless_it_is_named(psp: Psp, guarded: Psp) -> None:
    assert preflight(psp, SHOP).status_code == 405
    assert allowed(preflight(psp, SHOP)) is None
    assert allowed(psp.get("/status", headers={"Origin": SHOP})) is None
    assert allowed(guarded.get("/status", headers={"Origin": "https://evil.example"})) is None
    for origin in ("https://evil.example", "null", SHOP + ".evil.example", SHOP.upper(), "http://shop.example.com"):
        refused = preflight(guarded, origin)
        assert allowed(refused) is None
        assert (refused.status_code, refused.json()["code"]) == (400, "origin_refused")
        assert refused.json()["requestId"] == refused.headers["X-Request-ID"]


@pytest.mark.parametrize("origin", [SHOP, "http://localhost:3000"])
def test_a_named_origin_may_send_what_the_api_takes(guarded: Psp, origin: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        answer = preflight(guarded, origin, method, "authorization, x-api-key, content-type, idempotency-key, prefer")

        assert (answer.status_code, allowed(answer)) == (200, origin)
        assert method in answer.headers["access-control-allow-methods"]
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["X-Request-ID"]
    assert preflight(guarded, origin, "TRACE").status_code == 400
    assert preflight(guarded, origin, headers="x-anything").status_code == 400


@pytest.mark.parametrize(
    ("path", "status"), [("/status", 200), ("/protected", 401), ("/nonsense", 404), ("/status?x=1", 422)]
)
def test_a_named_origin_reads_answers_and_errors_with_their_headers(guarded: Psp, path: str, status: int) -> None:
    answer = guarded.get(path, headers={"Origin": SHOP})

    assert (answer.status_code, allowed(answer)) == (status, SHOP)
    assert {name.lower() for name in answer.headers["access-control-expose-headers"].split(", ")} == READABLE
    assert "Origin" in answer.headers["vary"]


async def test_it_reads_a_500_and_the_refusal_of_a_host_as_well() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("as nobody expected")

    app: ASGIApp = UnexpectedErrors(fail)
    for layer in reversed(perimeter(Settings(cors_origins=(SHOP,), trusted_hosts=(HOST,), _env_file=None))):
        app = layer.cls(app, *layer.args, **layer.kwargs)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        failed = await client.get(f"http://{HOST}/", headers={"Origin": SHOP})
        refused = await client.get("http://evil.example/", headers={"Origin": SHOP})

    assert (failed.status_code, failed.json()["code"], allowed(failed)) == (500, "internal_error", SHOP)
    assert (refused.status_code, refused.json()["code"], allowed(refused)) == (400, "host_unknown", SHOP)
    for answer in (failed, refused):
        assert answer.json()["requestId"] == answer.headers["X-Request-ID"]
        assert answer.headers["content-security-policy"] == NO_PAGE


# Hosts


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (HOST, 200),
        (f"{HOST}:8443", 200),
        ("PSP.Example.Com", 200),
        ("a.example.org", 200),
        ("a.b.example.org", 200),
        ("localhost:8000", 200),
        ("[::1]:8000", 200),
        ("example.org", 400),
        ("badexample.org", 400),
        ("evil.example", 400),
        (f"{HOST}.evil.example", 400),
        (f"evil.example/{HOST}", 400),
        (f"evil.example@{HOST}", 400),
        (f"{HOST}:80:80", 400),
        ("", 400),
    ],
)
def test_a_server_with_names_answers_to_these_alone(guarded: Psp, host: str, status: int) -> None:
    answer = guarded.get("/status", headers={"Host": host})

    assert answer.status_code == status
    if status == 400:
        assert answer.json()["code"] == "host_unknown"
        assert answer.json()["requestId"] == answer.headers["X-Request-ID"]


def test_two_hosts_are_none_and_none_is_none(guarded: Psp) -> None:
    for hosts in (b"", b"Host: evil.example\r\n", b"Host: psp.example.com\r\n"):
        sent = b"GET /api/v1/status HTTP/1.1\r\nHost: psp.example.com\r\n" + hosts + b"Connection: close\r\n\r\n"

        assert send_raw(guarded, sent)[0] == (400 if hosts else 200)
    assert send_raw(guarded, b"GET /api/v1/status HTTP/1.1\r\nConnection: close\r\n\r\n")[0] == 400


@pytest.mark.parametrize(("path", "status"), [("/metrics", 401), ("/health/live", 200), ("/health/ready", 503)])
def test_who_watches_a_server_may_ask_it_by_its_address(guarded: Psp, path: str, status: int) -> None:
    """Prometheus that finds containers by DNS, and probes of a cluster, know no name."""
    by_address = {"Host": "192.0.2.7:8000"}

    assert guarded.client.get(path, headers=by_address).status_code == status
    assert guarded.client.get(f"{path}/", headers=by_address).json()["code"] == "host_unknown"


def test_a_server_without_names_answers_to_any(psp: Psp) -> None:
    assert psp.get("/status", headers={"Host": "anything.example"}).status_code == 200


# Limits


@pytest.mark.parametrize("target", [b"/api/v1/status?", b"/api/v1/", b"/docs/assets/", b"/3ds/x/"])
@pytest.mark.parametrize("size", [MAX_URL_BYTES, 100_000, 2**16 + 20, 1_000_000])
def test_a_url_that_is_too_long_is_a_414(psp: Psp, target: bytes, size: int) -> None:
    status, headers, body = send_raw(psp, request(target + b"a" * size))

    assert (status, body["code"]) == (414, "url_too_long")
    assert body["requestId"] == headers["X-Request-ID"]
    assert {name: headers.get(name) for name in COMMON} == COMMON


@pytest.mark.parametrize(
    "headers",
    [
        b"X-A: " + b"a" * MAX_HEADERS_BYTES + b"\r\n",
        b"X-A: " + b"a" * 1_000_000 + b"\r\n",
        b"a" * 1_000_000 + b": a\r\n",
        b"X-A: a\r\n" * MAX_HEADERS,
        b"X-A: a\r\n" * 100_000,
        b"Cookie: " + b"a" * 1_000_000,
    ],
    ids=["one too large", "1 MB", "1 MB of a name", "too many", "100,000", "1 MB without an end"],
)
def test_headers_that_are_too_large_or_too_many_are_a_431(psp: Psp, headers: bytes) -> None:
    status, told, body = send_raw(psp, request(headers=headers))

    assert (status, body["code"]) == (431, "headers_too_large")
    assert body["requestId"] == told["X-Request-ID"]
    assert {name: told.get(name) for name in COMMON} == COMMON


def test_what_stays_within_the_limits_is_served(psp: Psp) -> None:
    many = b"X-A: a\r\n" * (MAX_HEADERS - 2)

    assert send_raw(psp, request(headers=many))[0] == 200
    assert send_raw(psp, request(headers=b"X-A: " + b"a" * (MAX_HEADERS_BYTES - 100) + b"\r\n"))[0] == 200
    assert send_raw(psp, request(b"/api/v1/" + b"a" * (MAX_URL_BYTES - 100)))[0] == 404


def test_trailers_without_an_end_are_a_431(psp: Psp) -> None:
    head = b"POST /api/v1/users/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"

    status, _, body = send_raw(psp, head + b"X-A: " + b"a" * 1_000_000)

    assert (status, body["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_400_in_the_form_of_all_errors(psp: Psp, nonsense: bytes) -> None:
    status, headers, body = send_raw(psp, nonsense)

    assert (status, body["code"]) == (400, "http_malformed")
    assert headers["content-type"] == "application/json"
    assert body["requestId"] == headers["X-Request-ID"]


# Passwords


def test_production_refuses_common_passwords_at_registration_and_change(guarded: Psp) -> None:
    common = "Value error, this is one of the 10,000 most common passwords"

    def assert_refused(answer: httpx.Response, field: str, password: str) -> None:
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"] == [{"type": "value_error", "loc": ["body", field], "msg": common}]
        assert password not in answer.text

    for number, password in enumerate(("password123", "Trustno1", "QWERTYUIOP", "1234567890")):
        body = {"name": "Ada Lovelace", "email": f"{number}@example.com", "password": password}
        assert_refused(guarded.post("/users/register", json=body), "password", password)
    account = guarded.register()
    change = {"currentPassword": account.password, "newPassword": "iloveyou"}

    refused = guarded.post("/users/me/password", json=change, headers=account.bearer)

    assert_refused(refused, "newPassword", "iloveyou")
    assert guarded.get("/protected", headers=account.bearer).status_code == 200
