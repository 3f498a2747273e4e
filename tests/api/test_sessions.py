"""Sessions: tokens that are worth something only while their session, account and key are."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Server
from tests.factories import API, PASSWORD, Account, Psp

INVALID = (401, "Invalid or expired token.")
Claims = dict[str, Any]


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


# What forged tokens are made of. The tests know the server's own key, so that nothing but the named fault is wrong.


def encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def forge(header: object, claims: object, key: bytes, digest: str = "sha256") -> str:
    signed = encoded(json.dumps(header).encode()) + b"." + encoded(json.dumps(claims).encode())
    return (signed + b"." + encoded(hmac.digest(key, signed, digest))).decode()


def claims_of(token: str) -> Claims:
    part = token.split(".")[1]
    claims: Claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


@pytest.fixture(scope="module")
def key(data_dir: Path, server: Server) -> bytes:
    secret: str = json.loads((data_dir / "secrets.json").read_text())["JWT_SECRET"]
    return secret.encode()


HS256 = {"alg": "HS256", "typ": "JWT"}


def test_a_token_made_with_the_real_key_and_claims_opens(shared_psp: Psp, merchant: Account, key: bytes) -> None:
    assert opens(shared_psp, forge(HS256, claims_of(merchant.token), key))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "JWT"},
        {"alg": "None"},
        {"alg": ""},
        {"typ": "JWT"},
        {"alg": "HS384", "typ": "JWT"},
        {"alg": "HS512", "typ": "JWT"},
        {"alg": "RS256", "typ": "JWT"},
        {"alg": "hs256"},
        {"alg": ["HS256"]},
        {"alg": {"$ne": None}},
        {"alg": None},
        {"alg": 1},
        {**HS256, "jku": "https://evil.example/keys"},
        {**HS256, "jwk": {"kty": "oct", "k": "AAAA"}},
        {**HS256, "x5u": "https://evil.example/cert"},
        {**HS256, "kid": "../../dev/null"},
        {**HS256, "crit": ["exp"]},
        {**HS256, "b64": False, "crit": ["b64"]},
        {**HS256, "zip": "DEF"},
        {},
        [],
        "HS256",
        None,
        1,
    ],
    ids=str,
)
def test_a_token_with_another_header_is_invalid(shared_psp: Psp, merchant: Account, key: bytes, header: object) -> None:
    name = header.get("alg") if isinstance(header, dict) else None
    digest = {"HS384": "sha384", "HS512": "sha512"}.get(name, "sha256") if isinstance(name, str) else "sha256"

    assert not opens(shared_psp, forge(header, claims_of(merchant.token), key, digest))


def test_a_token_without_a_signature_is_invalid(shared_psp: Psp, merchant: Account) -> None:
    head, claims, signature = merchant.token.split(".")
    unsigned = encoded(b'{"alg":"none","typ":"JWT"}').decode()

    for token in (f"{head}.{claims}.", f"{head}.{claims}", f"{unsigned}.{claims}.", f"{unsigned}.{claims}.{signature}"):
        assert not opens(shared_psp, token)


def changed(change: Callable[[Claims], object]) -> Callable[[Claims], Claims]:
    def apply(claims: Claims) -> Claims:
        change(claims)
        return claims

    return apply


WRONG_CLAIMS: dict[str, Callable[[Claims], object]] = {
    **{f"no {name}": changed(lambda claims, name=name: claims.pop(name)) for name in ("exp", "iat", "sub", "jti")},
    **{f"no {name}": changed(lambda claims, name=name: claims.pop(name)) for name in ("typ", "iss", "aud", "sid")},
    **{
        f"{name} null": changed(lambda claims, name=name: claims.update({name: None}))
        for name in ("exp", "iat", "sub", "jti", "typ", "iss", "aud", "sid")
    },
    "wrong iss": changed(lambda claims: claims.update(iss="https://evil.example")),
    "wrong aud": changed(lambda claims: claims.update(aud="another-api")),
    "wrong typ": changed(lambda claims: claims.update(typ="refresh")),
    "expired": changed(lambda claims: claims.update(exp=int(time.time()) - 1)),
    "not yet valid": changed(lambda claims: claims.update(nbf=int(time.time()) + 1000)),
    "another's session": changed(lambda claims: claims.update(sub="user_none")),
    "a session that never was": changed(lambda claims: claims.update(sid="sess_none")),
    "sub is a number": changed(lambda claims: claims.update(sub=1)),
    "sub is an operator": changed(lambda claims: claims.update(sub={"$ne": None})),
    "sid is an operator": changed(lambda claims: claims.update(sid={"$ne": None})),
    "sid is a list": changed(lambda claims: claims.update(sid=["x"])),
    "exp is a text": changed(lambda claims: claims.update(exp="tomorrow")),
    "exp is infinite": changed(lambda claims: claims.update(exp=float("inf"))),
    "exp is a list": changed(lambda claims: claims.update(exp=[9999999999])),
    "iat is a text": changed(lambda claims: claims.update(iat="now")),
    "claims are a list": lambda claims: [claims],
    "claims are a text": lambda claims: "claims",
    "claims are null": lambda claims: None,
}


@pytest.mark.parametrize("wrong", WRONG_CLAIMS)
def test_a_token_with_wrong_claims_is_invalid(shared_psp: Psp, merchant: Account, key: bytes, wrong: str) -> None:
    claims = WRONG_CLAIMS[wrong](claims_of(merchant.token))

    assert not opens(shared_psp, forge(HS256, claims, key))


def test_a_token_of_another_accounts_session_is_invalid(
    shared_psp: Psp, merchant: Account, user: Account, key: bytes
) -> None:
    mixed = {**claims_of(merchant.token), "sid": claims_of(user.token)["sid"]}

    assert not opens(shared_psp, forge(HS256, mixed, key))


@pytest.mark.parametrize("other_key", [b"", b"secret", hashlib.sha256(b"guess").digest()])
def test_a_token_signed_with_another_key_is_invalid(shared_psp: Psp, merchant: Account, other_key: bytes) -> None:
    assert not opens(shared_psp, forge(HS256, claims_of(merchant.token), other_key))


def test_other_credentials_are_no_access_token(shared_psp: Psp, merchant: Account) -> None:
    for credential in (merchant.refresh_token, merchant.api_key, merchant.webhook_secret, merchant.id):
        assert not opens(shared_psp, credential)


@pytest.mark.parametrize("token", ["null", "undefined", "a.b.c", "...", "\u00e9.\u00e9.\u00e9", "a" * 20_000, "%00"])
def test_nonsense_is_no_access_token(shared_psp: Psp, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}".encode("latin-1")}

    assert outcome(shared_psp.get("/protected", headers=headers)) == INVALID  # type: ignore[arg-type]


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
