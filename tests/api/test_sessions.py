"""Sessions: tokens that are worth something only while their session, account and key are."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.conftest import Server
from tests.factories import API, PASSWORD, Account, Psp

INVALID = (401, "Invalid or expired token.")


def outcome(answer: httpx.Response) -> tuple[int, object]:
    return answer.status_code, answer.json().get("detail")


def opens(psp: Psp, token: str) -> bool:
    """Whether an access token works."""
    answer = psp.get("/protected", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200 or outcome(answer) == INVALID
    return answer.status_code == 200


def refresh(psp: Psp, token: str) -> httpx.Response:
    return psp.post("/users/refresh", json={"refresh_token": token})


def test_logging_in_answers_with_oauths_names_and_whose_it_is(psp: Psp) -> None:
    account = psp.register("merchant")

    answer = psp.login(account.email)

    assert answer.status_code == 200
    session = answer.json()
    assert set(session) == {"access_token", "token_type", "expires_in", "refresh_token", "userId", "role"}
    assert (session["token_type"], session["expires_in"]) == ("bearer", 7200)
    assert (session["userId"], session["role"]) == (account.id, "merchant")
    assert opens(psp, session["access_token"])


def test_the_oauth_form_logs_in_as_well(psp: Psp) -> None:
    account = psp.register()
    form = {"username": account.email.upper(), "password": PASSWORD, "grant_type": "password", "scope": "", "x": "y"}

    for sent in ({"data": form}, {"files": {name: (None, value) for name, value in form.items()}}):
        session = psp.post("/auth/token", **sent).json()

        assert session["userId"] == account.id
        assert opens(psp, session["access_token"])


def test_a_wrong_login_does_not_tell_what_was_wrong(psp: Psp) -> None:
    account = psp.register()
    wrong = (401, "Invalid email or password.")

    assert outcome(psp.login(account.email, PASSWORD + "x")) == wrong
    assert outcome(psp.login("nobody@example.com")) == wrong
    assert outcome(psp.login("not an address")) == wrong
    assert outcome(psp.post("/auth/token", data={"username": account.email, "password": "x"})) == wrong


def test_the_scheme_is_read_in_any_case(psp: Psp) -> None:
    account = psp.register()

    assert psp.get("/protected", headers={"Authorization": f"bearer {account.token}"}).status_code == 200


def test_a_refresh_token_gives_a_new_pair(psp: Psp) -> None:
    account = psp.register("merchant")

    answer = refresh(psp, account.refresh_token)

    pair = answer.json()
    assert answer.status_code == 200
    assert set(pair) == {"access_token", "token_type", "expires_in", "refresh_token", "userId", "role"}
    assert pair["refresh_token"] != account.refresh_token
    assert (pair["userId"], pair["role"]) == (account.id, "merchant")
    assert opens(psp, pair["access_token"])
    assert refresh(psp, pair["refresh_token"]).status_code == 200


def test_using_a_refresh_token_twice_ends_its_whole_session(psp: Psp) -> None:
    account = psp.register()
    other_session = psp.login(account.email).json()
    pair = refresh(psp, account.refresh_token).json()

    assert outcome(refresh(psp, account.refresh_token)) == INVALID

    assert not opens(psp, pair["access_token"])
    assert not opens(psp, account.token)
    assert outcome(refresh(psp, pair["refresh_token"])) == INVALID
    assert opens(psp, other_session["access_token"])


def test_a_refresh_token_that_is_used_twice_at_once_ends_its_session(psp: Psp, server: Server) -> None:
    for _ in range(5):
        account = psp.register()

        def send(_: int, token: str = account.refresh_token) -> httpx.Response:
            body = {"refresh_token": token}
            return httpx.post(f"{server.url}{API}/users/refresh", json=body, timeout=30, verify=False)

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(send, range(4)))

        assert sum(answer.status_code == 200 for answer in answers) <= 1
        assert {outcome(answer) for answer in answers if answer.status_code != 200} == {INVALID}
        for answer in answers:
            if answer.status_code == 200:
                assert not opens(psp, answer.json()["access_token"])
                assert outcome(refresh(psp, answer.json()["refresh_token"])) == INVALID


@pytest.mark.parametrize("token", ["x", "psp_rt_", "psp_rt_" + "0" * 64, "\u00e9" * 20, "x" * 256])
def test_what_is_no_refresh_token_is_invalid(shared_psp: Psp, token: str) -> None:
    assert outcome(refresh(shared_psp, token)) == INVALID


def test_other_credentials_are_no_refresh_token(shared_psp: Psp, merchant: Account) -> None:
    for credential in (merchant.api_key, merchant.webhook_secret):
        assert outcome(refresh(shared_psp, credential)) == INVALID


def test_logging_out_stops_the_session_at_once_and_no_other_one(psp: Psp) -> None:
    account = psp.register()
    other = psp.login(account.email).json()

    answer = psp.post("/users/logout", headers=account.bearer)

    assert answer.status_code == 200
    assert not opens(psp, account.token)
    assert outcome(refresh(psp, account.refresh_token)) == INVALID
    assert outcome(psp.post("/users/logout", headers=account.bearer)) == INVALID
    assert opens(psp, other["access_token"])
    assert psp.charge(account).status_code == 201


def test_deleting_an_account_stops_its_tokens_and_keys_at_once(psp: Psp, admin: Account) -> None:
    account = psp.register("merchant")
    payment = psp.charge(account).json()

    assert psp.delete(f"/users/{account.id}", headers=admin.bearer).status_code == 200

    assert not opens(psp, account.token)
    assert outcome(refresh(psp, account.refresh_token)) == INVALID
    refused = (401, "Invalid or missing X-API-Key. Access denied.")
    assert outcome(psp.charge(account)) == refused
    assert outcome(psp.get(f"/payments/{payment['id']}", headers=account.key)) == refused
    assert outcome(psp.get("/payments/query", headers=account.both)) == refused
    assert outcome(psp.login(account.email)) == (401, "Invalid email or password.")


def test_tokens_and_keys_already_issued_carry_on_with_the_new_role(psp: Psp, root: dict[str, str]) -> None:
    account = psp.register("user")

    for role, status in (("admin", 200), ("merchant", 403), ("admin", 200), ("user", 403)):
        assert psp.patch(f"/users/{account.id}/role", json={"new_role": role}, headers=root).status_code == 200

        assert psp.get("/admin/dashboard", headers=account.bearer).status_code == status
        assert psp.get("/protected", headers=account.bearer).json()["role"] == role
    assert refresh(psp, account.refresh_token).json()["role"] == "user"


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", "Bearer a b", "Token x", "Bearer,x", "BearerX"])
def test_a_header_in_another_form_is_told_apart(shared_psp: Psp, header: str) -> None:
    answer = shared_psp.get("/protected", headers={"Authorization": header})

    assert outcome(answer) == (401, "Invalid authorization header format.")


@pytest.mark.parametrize("change", [lambda key: key[:-1], lambda key: key + "0", str.lower, lambda key: key[::-1]])
def test_an_api_key_that_differs_by_a_character_is_refused(
    shared_psp: Psp, merchant: Account, change: Callable[[str], str]
) -> None:
    answer = shared_psp.get("/payments/all", headers={"X-API-Key": change(merchant.api_key)})

    assert outcome(answer) == (401, "Invalid or missing X-API-Key. Access denied.")
