"""Every error has one form, and a wrong request is always answered with the same, first, thing that is wrong."""

import re
from typing import Any

import httpx
import pytest

from core.ids import fresh
from tests.factories import API, Account, Psp

REQUEST_ID = re.compile(r"req_[0-9a-z]{26}")
CHARGE = {"customerName": "Grace", "paymentAmount": 1, "currency": "USD"}


def assert_problem(answer: httpx.Response, status: int, code: str, detail: Any) -> None:
    assert answer.headers["content-type"] == "application/json"
    assert (answer.status_code, answer.json()) == (
        status,
        {"detail": detail, "code": code, "requestId": answer.headers["x-request-id"]},
    )


def test_an_error_has_a_sentence_a_code_and_the_requests_id(shared_psp: Psp) -> None:
    answer = shared_psp.get("/protected")

    assert_problem(answer, 401, "authorization_missing", "Authorization header missing.")
    assert REQUEST_ID.fullmatch(answer.json()["requestId"])
    assert answer.headers["www-authenticate"] == "Bearer"


def test_every_answer_has_a_request_id_of_its_own(shared_psp: Psp) -> None:
    first, second = shared_psp.get("/status"), shared_psp.get("/status")

    assert REQUEST_ID.fullmatch(first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize("given", ["order-42:try.1_A", "3q2+7w/==", "Root=1-67891233-abcdef", "~me@host"])
@pytest.mark.parametrize("path", ["/status", "/protected", "/nonsense"])
def test_a_request_id_that_is_given_comes_back(shared_psp: Psp, path: str, given: str) -> None:
    answer = shared_psp.get(path, headers={"X-Request-ID": given})

    assert answer.headers.get_list("x-request-id") == [given]
    assert answer.json().get("requestId", given) == given


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "caf\u00e9", '{"$ne":1}', "<script>"])
def test_a_request_id_that_is_no_plain_word_is_replaced(shared_psp: Psp, given: str) -> None:
    answer = shared_psp.get("/status", headers={"X-Request-ID": given.encode("latin-1")})  # type: ignore[dict-item]

    assert REQUEST_ID.fullmatch(answer.headers["x-request-id"])


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/nonsense",
        "/api/v1/nonsense/x",
        "/api/v1/nonsense/x/y",
        "/api/v1",
        "/api/v1/",
        "/api/v1/status/",
        "/api/v1/users/",
        "/api/v1/payments/a/b",
        "/api/v1/payments/a%2Fb",
        "/nonsense",
        "/api/v2/status",
    ],
)
def test_an_unknown_path_is_a_404_for_every_method(shared_psp: Psp, path: str) -> None:
    assert shared_psp.client.head(path).status_code == 404
    for method in ("GET", "POST", "PUT", "PATCH", "OPTIONS", "TRACE"):
        assert_problem(shared_psp.client.request(method, path), 404, "not_found", "Not Found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/status", "GET"),
        ("DELETE", "/status", "GET"),
        ("GET", "/users/register", "POST"),
        ("DELETE", "/users/register", "POST"),
        ("DELETE", "/users/me", "GET"),
        ("DELETE", "/admin/payments", "GET"),
        ("DELETE", "/auth/token", "POST"),
        ("PATCH", "/users/me", "GET"),
        ("GET", "/payments/charge", "POST"),
        ("PATCH", "/payments/charge", "POST"),
        ("DELETE", "/payments/charge", "POST"),
        ("DELETE", "/payments/all", "GET"),
        ("PATCH", "/payments/query", "GET"),
        ("POST", "/payments/query", "GET"),
        ("PUT", "/payments/txn_1", "DELETE, GET, PATCH"),
        ("GET", "/payments/txn_1/cancel", "POST"),
        ("POST", "/users/user_1", "DELETE, GET"),
        ("GET", "/users/user_1/role", "PATCH"),
        ("GET", "/transactions/txn_1", "DELETE"),
        ("GET", "/webhook-receive", "POST"),
    ],
)
def test_a_wrong_method_is_a_405_that_names_the_right_ones(
    shared_psp: Psp, method: str, path: str, allowed: str
) -> None:
    answer = shared_psp.client.request(method, API + path, content=b"{broken", headers={"Content-Type": "text/plain"})

    assert_problem(answer, 405, "method_not_allowed", "Method Not Allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/openapi.json", "/docs/assets/swagger-ui.css"])
def test_a_page_is_not_posted_to(shared_psp: Psp, path: str) -> None:
    assert_problem(shared_psp.client.post(path), 405, "method_not_allowed", "Method Not Allowed")


JSON_ROUTES = [
    ("POST", "/users/register"),
    ("POST", "/users/login"),
    ("POST", "/users/refresh"),
    ("POST", "/users/logout"),
    ("PATCH", "/users/user_1/role"),
    ("POST", "/payments/charge"),
    ("PATCH", "/payments/txn_1"),
    ("POST", "/payments/txn_1/cancel"),
    ("POST", "/webhook-receive"),
]


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/x+json", "json", "", "\u00e9"],
)
def test_another_media_type_is_a_415(shared_psp: Psp, media_type: str) -> None:
    headers: Any = {"Content-Type": media_type.encode("latin-1")}
    for method, path in JSON_ROUTES:
        answer = shared_psp.client.request(method, API + path, content=b"{broken", headers=headers)

        sentence = "Unsupported media type. Send the body as application/json."
        assert_problem(answer, 415, "unsupported_media_type", sentence)


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"])
def test_json_under_another_spelling_of_its_type_is_read(shared_psp: Psp, merchant: Account, media_type: str) -> None:
    answer = shared_psp.charge(merchant, {"Content-Type": media_type})

    assert answer.status_code == 201


def test_a_body_without_a_media_type_is_a_415(shared_psp: Psp) -> None:
    assert shared_psp.post("/users/login", content=b"{}").status_code == 415


def test_the_login_form_is_no_json(shared_psp: Psp) -> None:
    answer = shared_psp.post("/auth/token", json={"username": "a@example.com", "password": "x"})

    sentence = "Unsupported media type. Send the body as application/x-www-form-urlencoded."
    assert_problem(answer, 415, "unsupported_media_type", sentence)


@pytest.mark.parametrize("size", [64 * 1024 + 1, 1_000_000])
def test_a_body_over_64_kib_is_a_413(shared_psp: Psp, size: int) -> None:
    for method, path in (*JSON_ROUTES, ("POST", "/auth/token")):
        media_type = "application/x-www-form-urlencoded" if path == "/auth/token" else "application/json"
        headers = {"Content-Type": media_type}
        answer = shared_psp.client.request(method, API + path, content=b" " * size, headers=headers)

        assert_problem(answer, 413, "body_too_large", "The request body is larger than 64 KiB.")


def test_a_body_that_does_not_say_its_length_is_counted(shared_psp: Psp) -> None:
    answer = shared_psp.post(
        "/users/login", content=(b" " * 1024 for _ in range(65)), headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 413


def test_a_body_of_64_kib_is_read(shared_psp: Psp, merchant: Account) -> None:
    body = b'{"customerName": "Grace", "paymentAmount": 1, "currency": "USD"}'.ljust(64 * 1024)

    answer = shared_psp.post(
        "/payments/charge", content=body, headers={**merchant.key, "Content-Type": "application/json"}
    )

    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("broken", "status", "where"),
    [
        ({"content": b"{broken", "headers": {}, "path": "/admin/dashboard", "method": "PUT"}, 405, None),
        ({"content": b"{broken", "headers": {"Content-Type": "text/plain"}}, 415, None),
        ({"content": b"{broken".ljust(65537), "headers": {"Content-Type": "text/plain"}}, 415, None),
        ({"content": b"{broken", "headers": {}}, 422, ["body", 1]),
        ({"content": b"{}", "headers": {}}, 401, None),
        ({"content": b"{}", "headers": "user"}, 403, None),
        ({"content": b"{}", "headers": "root"}, 422, ["body", "new_role"]),
        ({"content": b'{"new_role": "user"}', "headers": "root"}, 404, None),
    ],
)
def test_a_request_is_checked_in_the_order_of_the_contract(
    shared_psp: Psp, user: Account, root: dict[str, str], broken: dict[str, Any], status: int, where: list[Any] | None
) -> None:
    """Method, media type, readable JSON, credentials, role, fields, and only then whether the object is there."""
    known = {"user": user.bearer, "root": root}
    headers = known.get(broken["headers"], {}) if isinstance(broken["headers"], str) else broken["headers"]

    answer = shared_psp.client.request(
        broken.get("method", "PATCH"),
        API + broken.get("path", "/users/user_none/role"),
        content=broken["content"],
        headers={"Content-Type": "application/json", **headers},
    )

    assert answer.status_code == status
    if where is not None:
        assert answer.json()["detail"][0]["loc"] == where


def test_unreadable_json_is_told_before_a_missing_key(shared_psp: Psp) -> None:
    headers = {"Content-Type": "application/json"}

    assert shared_psp.post("/payments/charge", content=b"{", headers=headers).status_code == 422
    assert shared_psp.post("/payments/charge", content=b"{}", headers=headers).status_code == 401


def test_unreadable_json_is_a_json_invalid_with_its_position(shared_psp: Psp) -> None:
    answer = shared_psp.post("/users/login", content=b'{"a": }', headers={"Content-Type": "application/json"})

    problem = {
        "type": "json_invalid",
        "loc": ["body", 6],
        "msg": "JSON decode error",
        "ctx": {"error": "Expecting value"},
    }
    assert_problem(answer, 422, "validation_error", [problem])


def test_a_field_that_is_unknown_is_named(shared_psp: Psp, merchant: Account) -> None:
    answer = shared_psp.charge(merchant, paymentAmuont=5)

    (problem,) = answer.json()["detail"]
    assert (answer.status_code, problem["type"], problem["loc"]) == (422, "extra_forbidden", ["body", "paymentAmuont"])


@pytest.mark.parametrize("name", ["customer_name", "payment_amount", "webhook_url"])
def test_a_field_has_one_spelling(shared_psp: Psp, merchant: Account, name: str) -> None:
    assert shared_psp.charge(merchant, **{name: "x"}).json()["detail"][0]["loc"] == ["body", name]


def test_validation_errors_carry_pydantics_types(shared_psp: Psp) -> None:
    answer = shared_psp.post("/users/register", json={"name": "A", "email": "no", "password": "short", "role": "admin"})

    name, email, password, role = answer.json()["detail"]
    assert name == {
        "type": "string_too_short",
        "loc": ["body", "name"],
        "msg": "String should have at least 2 characters",
        "input": "A",
        "ctx": {"min_length": 2},
    }
    assert (email["type"], email["loc"], email["input"]) == ("string_pattern_mismatch", ["body", "email"], "no")
    assert password == {
        "type": "string_too_short",
        "loc": ["body", "password"],
        "msg": "String should have at least 8 characters",
        "ctx": {"min_length": 8},
    }
    assert (role["type"], role["msg"]) == ("enum", "Input should be 'user' or 'merchant'")


def test_an_id_that_nobody_has_is_a_404_whatever_it_looks_like(shared_psp: Psp, merchant: Account) -> None:
    for shown, sent in {
        fresh("txn"): fresh("txn"),
        "$ne": "$ne",
        "\0": "%00",
        "\ufffd\ufffd\ufffd": "%ED%A0%80",
        "\u00e9": "%C3%A9",
        "x" * 5000: "x" * 5000,
        "..%2f": "..%252f",
    }.items():
        answer = shared_psp.get(f"/payments/{sent}", headers=merchant.key)

        assert answer.status_code == 404
        if not shown.startswith("txn_"):
            assert answer.json()["detail"] == f"Transaction '{shown}' not found for this user."
