"""Addresses that proxies forward: what they open and hold back, where the proxy is trusted and where it is not."""

from typing import Any

import pytest

from tests.factories import NEEDS_3DS, Account, Psp, card

FORGED = {"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.7", "Forwarded": "for=203.0.113.7;proto=https"}
GARBAGE = ["unknown", "unix", "203.0.113.7:x:y", "[", "\xe9", "1," * 4000]


def bound_key(psp: Psp, account: Account, network: str) -> dict[str, str]:
    body = {"name": "bound", "scopes": ["events:read"], "allowedNetworks": [network]}
    made = psp.post("/api-keys", json=body, headers=account.bearer)
    assert made.status_code == 201, made.text
    return {"X-API-Key": made.json()["apiKey"]}


def test_a_forged_address_opens_no_key_that_is_bound_to_it(psp: Psp, merchant: Account) -> None:
    key = bound_key(psp, merchant, "203.0.113.0/24")

    assert psp.get("/events", headers={**key, **FORGED}).status_code == 403


def test_behind_a_trusted_proxy_the_key_opens_from_its_network_and_not_from_the_proxys(
    psp: Psp, proxied_psp: Psp, merchant: Account
) -> None:
    clients, proxies = (bound_key(psp, merchant, network) for network in ("203.0.113.0/24", "127.0.0.0/8"))

    assert proxied_psp.get("/events", headers={**clients, **FORGED}).status_code == 200
    assert proxied_psp.get("/events", headers={**proxies, **FORGED}).status_code == 403
    left_of_the_client = {"X-Forwarded-For": "203.0.113.7, 198.51.100.1, 192.0.2.3"}
    assert proxied_psp.get("/events", headers={**clients, **left_of_the_client}).status_code == 403


def test_behind_a_trusted_proxy_each_client_has_patience_of_its_own(proxied_psp: Psp) -> None:
    account = proxied_psp.register()

    def guess(address: str) -> int:
        body = {"email": account.email, "password": "wrong"}
        headers = {"X-Forwarded-For": f"198.51.100.9, {address}, 192.0.2.1"}
        return proxied_psp.post("/users/login", json=body, headers=headers).status_code

    assert [guess("203.0.113.50") for _ in range(6)] == [401] * 5 + [429]
    assert guess("[2001:db8::50]:4711") == 401


def test_the_ipv6_addresses_of_one_customer_share_their_patience(proxied_psp: Psp) -> None:
    account = proxied_psp.register()

    def guess(address: str) -> int:
        body = {"email": account.email, "password": "wrong"}
        return proxied_psp.post("/users/login", json=body, headers={"X-Forwarded-For": address}).status_code

    assert [guess(f"2001:db8::{number}") for number in range(1, 7)] == [401] * 5 + [429]
    assert guess("2001:db8:0:1::1") == 401, "the next customer's network"


def session_address(psp: Psp, account: Account, headers: dict[str, Any]) -> str | None:
    body = {"email": account.email, "password": account.password}
    login = psp.post("/users/login", json=body, headers=headers)
    assert login.status_code == 200, login.text
    token = {"Authorization": f"Bearer {login.json()['access_token']}"}
    address: str | None = psp.get("/sessions", headers=token).json()["sessions"][0]["address"]
    return address


def test_a_session_tells_the_connections_address_or_what_a_trusted_proxy_forwards(
    psp: Psp, proxied_psp: Psp, merchant: Account
) -> None:
    assert session_address(psp, merchant, FORGED) == "127.0.0.1"
    assert session_address(proxied_psp, merchant, FORGED) == "203.0.113.7"


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_for_an_address_is_an_unknown_client(proxied_psp: Psp, merchant: Account, garbage: str) -> None:
    headers = {"X-Forwarded-For": garbage.encode("latin-1"), "X-Forwarded-Proto": "ftp;"}

    assert session_address(proxied_psp, merchant, headers) is None


def challenge(psp: Psp, account: Account) -> str:
    headers = {"Prefer": "wait=10", "X-Forwarded-Proto": "https"}
    url: str = psp.charge(account, headers, card=card(NEEDS_3DS)).json()["nextAction"]["url"]
    return url


def test_the_scheme_of_the_3d_secure_page_is_the_clients(psp: Psp, proxied_psp: Psp, merchant: Account) -> None:
    assert challenge(psp, merchant).startswith("http://")
    assert challenge(proxied_psp, merchant).startswith("https://")
