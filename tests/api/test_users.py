"""Accounts: registering, one's own, and what admins see of everybody's."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import pytest
from pymongo.database import Database

from domain.signing import valid_secret
from tests.conftest import Server
from tests.factories import API, PASSWORD, Account, Psp

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ADA = {"name": "Ada Lovelace", "password": PASSWORD}


def email(name: str) -> str:
    """An address of this run, so that a test can be repeated in one database."""
    return f"{name}-{datetime.now().timestamp()}@example.com"  # noqa: DTZ005 - only has to differ


def test_registering_shows_the_key_and_the_secret_once(psp: Psp) -> None:
    answer = psp.post("/users/register", json={**ADA, "email": email("ada"), "role": "merchant"})

    assert answer.status_code == 201
    made = answer.json()
    assert set(made) == {"message", "userId", "apiKey", "webhookSecret", "role", "createdAt"}
    assert (made["message"], made["role"]) == ("User registered successfully.", "merchant")
    assert made["userId"].startswith("user_")
    assert made["apiKey"].startswith("psp_sk_")
    assert valid_secret(made["webhookSecret"])
    assert MOMENT.fullmatch(made["createdAt"])


def test_whoever_names_no_role_is_a_user(psp: Psp) -> None:
    assert psp.post("/users/register", json={**ADA, "email": email("plain")}).json()["role"] == "user"


@pytest.mark.parametrize("role", ["admin", "system_admin", "Merchant", "", None, 1, ["user"], {"$ne": "user"}])
def test_nobody_gives_themselves_another_role(shared_psp: Psp, database: Database[Any], role: object) -> None:
    address = email("climber")
    answer = shared_psp.post("/users/register", json={**ADA, "email": address, "role": role})

    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "role"])
    assert database.users.count_documents({"email": address}) == 0


@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_an_address_is_taken_in_any_case(shared_psp: Psp, change: Any) -> None:
    address = email("taken")
    shared_psp.post("/users/register", json={**ADA, "email": address})

    answer = shared_psp.post("/users/register", json={**ADA, "email": change(address)})

    assert answer.status_code == 400
    assert (answer.json()["detail"], answer.json()["code"]) == ("User with this email already exists.", "email_taken")
    assert shared_psp.login(change(address)).status_code == 200


def test_of_many_that_register_one_address_at_once_one_succeeds(psp: Psp, server: Server) -> None:
    address = email("race")

    def register(number: int) -> int:
        spelling = address.upper() if number % 2 else address
        body = {**ADA, "email": spelling}
        return httpx.post(f"{server.url}{API}/users/register", json=body, timeout=30, verify=False).status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = sorted(pool.map(register, range(10)))

    assert statuses == [201] + [400] * 9


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a@b",
        "a@b.",
        "@b.example",
        "a@b..example",
        "a b@c.example",
        "a@b.example\\n",
        "a@b_c.example",
        "a@@b.example",
        "a@-b.example",
        "\u00e9@b.example",
        "a@b.example,c@d.example",
        '"a"@b.example',
        "a@[127.0.0.1]",
    ],
)
def test_an_address_is_checked_by_its_pattern(shared_psp: Psp, address: str) -> None:
    answer = shared_psp.post("/users/register", json={**ADA, "email": address})

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert (problem["type"], problem["loc"], problem["input"]) == (
        "string_pattern_mismatch",
        ["body", "email"],
        address,
    )


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("name", "A", "string_too_short"),
        ("name", "A" * 101, "string_too_long"),
        ("name", "   ", "string_pattern_mismatch"),
        ("password", "a" * 7, "string_too_short"),
        ("password", "", "string_too_short"),
        ("password", "a" * 65, "string_too_long"),
        ("email", "a" * 60 + "@" + "b." * 95 + "example", "string_too_long"),
    ],
)
def test_lengths_are_those_of_the_contract(shared_psp: Psp, field: str, value: str, error: str) -> None:
    answer = shared_psp.post("/users/register", json={**ADA, "email": email("long"), field: value})

    assert answer.status_code == 422
    assert (answer.json()["detail"][0]["type"], answer.json()["detail"][0]["loc"]) == (error, ["body", field])


@pytest.mark.parametrize(
    ("name", "password"),
    [("Al", "a" * 8), ("A" * 100, "a" * 64), ("\u738b\u82b3", "\U0001f511" * 64), ("O'Neil; $ne", " pass word ")],
)
def test_what_is_within_the_limits_is_kept_as_it_came(shared_psp: Psp, name: str, password: str) -> None:
    account = shared_psp.register(name=name, password=password)

    assert shared_psp.get("/users/me", headers=account.bearer).json()["name"] == name
    assert shared_psp.login(account.email, password).status_code == 200
    assert shared_psp.login(account.email, password[:-1]).status_code == 401


def test_ones_own_account_is_shown_without_secrets(psp: Psp, database: Database[Any]) -> None:
    account = psp.register("merchant")

    answer = psp.get("/users/me", headers=account.bearer)

    me = answer.json()
    assert answer.status_code == 200
    assert (me["id"], me["email"], me["role"], me["name"]) == (account.id, account.email, "merchant", "Test Account")
    assert MOMENT.fullmatch(me["createdAt"])
    assert MOMENT.fullmatch(me["updatedAt"])
    stored = database.users.find_one({"_id": account.id})
    assert stored is not None
    for secret in (account.api_key, account.webhook_secret, stored["password_hash"], PASSWORD):
        assert secret not in answer.text
    (key,) = me["apiKeys"]
    assert account.api_key.startswith(key["prefix"].removesuffix("\u2026"))
    assert len(key["prefix"]) < 20


@pytest.mark.parametrize("whose", ["me", "one"])
def test_an_account_carries_an_etag(psp: Psp, admin: Account, whose: str) -> None:
    account = psp.register("merchant")
    path, headers = ("/users/me", account.bearer) if whose == "me" else (f"/users/{account.id}", admin.bearer)
    first = psp.get(path, headers=headers)

    unchanged = psp.get(path, headers={**headers, "If-None-Match": first.headers["etag"]})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", first.headers["etag"])

    psp.patch(f"/users/{account.id}/role", json={"new_role": "user"}, headers=psp.root())
    changed = psp.get(path, headers={**headers, "If-None-Match": first.headers["etag"]})
    assert (changed.status_code, changed.json()["role"]) == (200, "user")


def test_an_admin_reads_every_account(psp: Psp, admin: Account) -> None:
    account = psp.register("merchant")

    one = psp.get(f"/users/{account.id}", headers=admin.bearer)

    assert one.json() == psp.get("/users/me", headers=account.bearer).json()
    assert account.webhook_secret not in one.text


@pytest.mark.parametrize("user_id", ["user_none", "%00", "$ne", "x" * 3000])
def test_an_account_that_nobody_has_is_not_found(shared_psp: Psp, admin: Account, user_id: str) -> None:
    answer = shared_psp.get(f"/users/{user_id}", headers=admin.bearer)

    missing = user_id.replace("%00", "\0")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"User '{missing}' not found.")


def test_accounts_are_found_by_their_address_in_any_case(psp: Psp, admin: Account) -> None:
    account = psp.register("merchant")

    page = psp.get("/users", params={"email": account.email.upper()}, headers=admin.bearer).json()

    assert [user["id"] for user in page["users"]] == [account.id]
    assert (page["totalUsers"], page["totalIsLowerBound"], page["hasMore"], page["nextCursor"]) == (
        1,
        False,
        False,
        None,
    )


def test_accounts_are_listed_by_role_newest_first_page_by_page(psp: Psp, admin: Account) -> None:
    _, *made = [psp.register("user").id for _ in range(4)]
    seen: list[str] = []
    query: dict[str, Any] = {"role": "user", "limit": 1}
    while len(seen) < 3:
        page = psp.get("/users", params=query, headers=admin.bearer).json()
        assert page["hasMore"] is True
        seen += [user["id"] for user in page["users"]]
        query["cursor"] = page["nextCursor"]
        psp.register("user")  # whoever comes meanwhile shifts nothing

    assert seen == made[::-1]


def test_no_account_has_an_address_that_nobody_registered(shared_psp: Psp, admin: Account) -> None:
    page = shared_psp.get("/users", params={"email": "nobody@example.com"}, headers=admin.bearer)

    assert (page.status_code, page.json()["users"], page.json()["totalUsers"]) == (200, [], 0)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "x"},
        {"limit": "1e9999"},
        {"role": "root"},
        {"role": "$ne"},
        {"cursor": "x"},
        {"cursor": "e30"},
        {"email": "x" * 255},
        {"name": "Ada"},
        {"email[$ne]": "x"},
    ],
)
def test_a_wrong_query_is_a_422(shared_psp: Psp, admin: Account, query: dict[str, str]) -> None:
    answer = shared_psp.get("/users", params=query, headers=admin.bearer)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", *query]


def test_a_protected_route_welcomes_every_role(shared_psp: Psp, user: Account, admin: Account) -> None:
    for account in (user, admin):
        answer = shared_psp.get("/protected", headers=account.bearer)

        assert answer.status_code == 200
        assert answer.json() == {
            "message": "Access granted \u2014 authenticated user.",
            "userId": account.id,
            "role": account.role,
        }


def test_the_dashboard_welcomes_admins_with_its_figures(psp: Psp, admin: Account) -> None:
    before = psp.get("/admin/dashboard", headers=admin.bearer).json()
    account = psp.register("merchant")
    psp.completed(account, paymentAmount=1000, currency="JPY")
    after = psp.get("/admin/dashboard", headers=admin.bearer).json()

    assert (after["message"], after["userId"]) == ("Welcome to the admin dashboard.", admin.id)
    assert after["role"] == "admin"
    assert after["usersByRole"]["merchant"] == before["usersByRole"]["merchant"] + 1
    assert after["paymentsByStatus"]["completed"] == before["paymentsByStatus"]["completed"] + 1
    volumes = [{one["currency"]: one for one in figures["volumeByCurrency"]} for figures in (before, after)]
    assert volumes[1]["JPY"]["amountMinor"] - volumes[0].get("JPY", {"amountMinor": 0})["amountMinor"] == 1000
    assert sum(hour["count"] for hour in after["last24Hours"]) > sum(hour["count"] for hour in before["last24Hours"])
    assert len(after["last24Hours"]) == 24
    assert after["webhooks"].keys() == {"delivered", "waiting", "dead", "successRate"}
