"""Sessions that their owner sees and ends, and the password that ends them all."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pymongo.database
import pytest

from tests.conftest import Server
from tests.factories import API, PASSWORD, Account, Psp

NEW = "staple-of-the-battery"
Database = pymongo.database.Database[dict[str, Any]]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def opens(psp: Psp, token: str) -> bool:
    return psp.get("/protected", headers=bearer(token)).status_code == 200


def refreshes(psp: Psp, token: str) -> bool:
    return psp.post("/users/refresh", json={"refresh_token": token}).status_code == 200


def listed(psp: Psp, token: str, **query: Any) -> list[dict[str, Any]]:
    answer = psp.get("/sessions", headers=bearer(token), params=query)
    assert answer.status_code == 200, answer.text
    sessions: list[dict[str, Any]] = answer.json()["sessions"]
    return sessions


def change(psp: Psp, account: Account, current: str = PASSWORD, new: str = NEW) -> httpx.Response:
    body = {"currentPassword": current, "newPassword": new}
    return psp.post("/users/me/password", json=body, headers=account.bearer)


@pytest.fixture
def account(psp: Psp) -> Account:
    """Nobody else's, since its sessions are ended."""
    return psp.register()


def test_a_session_tells_when_and_from_where_it_was_opened(psp: Psp, account: Account) -> None:
    psp.post(
        "/users/login", json={"email": account.email, "password": PASSWORD}, headers={"User-Agent": "Phone/1-" * 50}
    )

    newest, first = listed(psp, account.token)

    assert (newest["current"], first["current"]) == (False, True)
    assert newest["userAgent"] == ("Phone/1-" * 50)[:200]
    assert newest["address"] == "127.0.0.1"
    assert first["createdAt"] == first["lastUsedAt"] < newest["createdAt"] < first["expiresAt"]


def test_what_a_device_calls_itself_is_shown_without_secrets(psp: Psp, account: Account) -> None:
    psp.post(
        "/users/login",
        json={"email": account.email, "password": PASSWORD},
        headers={"User-Agent": "Till/1 4242 4242 4242 4242"},
    )

    assert listed(psp, account.token)[0]["userAgent"] == "Till/1 4242 42XX XXXX 4242"


def test_a_refresh_token_is_good_for_fourteen_days(psp: Psp, account: Account, database: Database) -> None:
    (session,) = listed(psp, account.token)
    opened_at, expires_at = (datetime.fromisoformat(session[name]) for name in ("createdAt", "expiresAt"))
    assert expires_at - opened_at == timedelta(days=14)

    database["sessions"].update_one({"_id": session["id"]}, {"$set": {"expires_at": datetime.now(UTC)}})

    answer = psp.post("/users/refresh", json={"refresh_token": account.refresh_token})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


def test_a_refresh_is_a_use_of_its_session(psp: Psp, account: Account) -> None:
    (before,) = listed(psp, account.token)
    pair = psp.post("/users/refresh", json={"refresh_token": account.refresh_token}).json()

    (after,) = listed(psp, pair["access_token"])

    assert after["id"] == before["id"]
    assert after["lastUsedAt"] > before["lastUsedAt"]
    assert after["expiresAt"] > before["expiresAt"]


def test_sessions_come_in_pages(psp: Psp, account: Account) -> None:
    for _ in range(2):
        psp.login(account.email)

    first = psp.get("/sessions", headers=account.bearer, params={"limit": 2}).json()
    second = psp.get("/sessions", headers=account.bearer, params={"limit": 2, "cursor": first["nextCursor"]}).json()

    assert (first["totalSessions"], first["hasMore"], second["hasMore"]) == (3, True, False)
    assert len({one["id"] for one in [*first["sessions"], *second["sessions"]]}) == 3


def test_a_session_that_is_ended_is_worth_nothing_and_in_no_list(psp: Psp, account: Account) -> None:
    other = psp.login(account.email).json()
    (ended,) = [one for one in listed(psp, account.token) if not one["current"]]

    answer = psp.delete(f"/sessions/{ended['id']}", headers=account.bearer)

    assert answer.json() == {"message": f"Session '{ended['id']}' ended successfully."}
    assert not opens(psp, other["access_token"])
    assert not refreshes(psp, other["refresh_token"])
    assert [one["current"] for one in listed(psp, account.token)] == [True]
    assert psp.delete(f"/sessions/{ended['id']}", headers=account.bearer).status_code == 404


def test_nobody_ends_anothers_session(psp: Psp, account: Account, merchant: Account) -> None:
    (session,) = listed(psp, account.token)

    for who in (merchant.bearer, psp.root()):
        answer = psp.delete(f"/sessions/{session['id']}", headers=who)
        assert (answer.status_code, answer.json()["detail"]) == (404, f"Session '{session['id']}' not found.")
    assert opens(psp, account.token)


def test_all_sessions_end_at_once_the_one_that_asks_among_them(psp: Psp, account: Account, merchant: Account) -> None:
    other = psp.login(account.email).json()

    assert psp.delete("/sessions", headers=account.bearer).json() == {"message": "All sessions ended successfully."}

    for token in (account.token, other["access_token"]):
        assert not opens(psp, token)
    for token in (account.refresh_token, other["refresh_token"]):
        assert not refreshes(psp, token)
    assert opens(psp, merchant.token)
    assert opens(psp, psp.login(account.email).json()["access_token"])


def test_a_changed_password_opens_and_the_one_before_does_not(psp: Psp, account: Account) -> None:
    other = psp.login(account.email).json()

    answer = change(psp, account)

    assert (answer.status_code, answer.json()) == (200, {"message": "Password changed successfully. Log in again."})
    assert psp.login(account.email).status_code == 401
    for token in (account.token, other["access_token"]):
        assert not opens(psp, token)
    assert not refreshes(psp, other["refresh_token"])
    assert psp.get("/events", headers=account.key).status_code == 200, "API keys stay"
    session = psp.login(account.email, NEW).json()
    assert [one["current"] for one in listed(psp, session["access_token"])] == [True]


def test_a_password_is_changed_by_who_knows_it_only(psp: Psp, account: Account) -> None:
    answer = change(psp, account, current="x")

    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_password")
    assert answer.json()["detail"] == "The current password is wrong."
    assert opens(psp, account.token)
    assert psp.login(account.email).status_code == 200


@pytest.mark.parametrize("new", ["short-7", "x" * 65, 12345678, None])
def test_a_new_password_is_bound_by_the_rules_of_registering(psp: Psp, account: Account, new: Any) -> None:
    assert change(psp, account, new=new).status_code == 422
    assert opens(psp, account.token)


@pytest.mark.parametrize("field", ["currentPassword", "newPassword"])
def test_a_password_that_is_refused_is_not_in_the_answer(psp: Psp, account: Account, field: str) -> None:
    refused = "Gr4ce-Hopper" * 100
    body = {"currentPassword": PASSWORD, "newPassword": NEW, field: refused}

    answer = psp.post("/users/me/password", json=body, headers=account.bearer)

    assert answer.status_code == 422
    assert "Gr4ce" not in answer.text


def test_of_two_changes_at_once_one_is_carried_out(psp: Psp, server: Server, account: Account) -> None:
    def send(number: int) -> int:
        body = {"currentPassword": PASSWORD, "newPassword": f"{NEW}-{number}"}
        url = f"{server.url}{API}/users/me/password"
        return httpx.post(url, json=body, headers=account.bearer, timeout=30, verify=False).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, range(4)))

    assert answers.count(200) == 1
    assert set(answers) <= {200, 401, 403, 409}, "others were too late at one step or another"
    assert [psp.login(account.email, f"{NEW}-{number}").status_code for number in range(4)].count(200) == 1


def test_a_changed_password_is_written_down_and_the_password_is_not(
    psp: Psp, account: Account, database: Database
) -> None:
    change(psp, account)

    (row,) = database.audit.find({"target_id": account.id, "action": "account.password_changed"})
    assert (row["action"], row["account_id"], row["outcome"]) == ("account.password_changed", account.id, "success")
    assert not {PASSWORD, NEW} & {str(value) for value in row.values()}
