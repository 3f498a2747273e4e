"""JWT_SECRET exchanged for another one: nobody is logged out before the last token of the old one has expired."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from secrets import token_urlsafe

import httpx
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server
from tests.factories import Psp


def client_of(server: Server) -> Psp:
    return Psp(httpx.Client(base_url=server.url, timeout=35, verify=False), ADMIN_EMAIL, ADMIN_PASSWORD)


def opens(psp: Psp, token: str) -> bool:
    answer = psp.get("/protected", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


def header(token: str) -> dict[str, str]:
    part = token.partition(".")[0]
    read: dict[str, str] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return read


@pytest.mark.long
def test_a_signing_key_is_exchanged_while_its_tokens_go_on(start_server: Callable[..., Server]) -> None:
    old, new = token_urlsafe(48), token_urlsafe(48)
    before = client_of(start_server(JWT_SECRET=old, WORKER="off"))
    account = before.register("merchant")
    both = client_of(start_server(JWT_SECRET=f"{new},{old}", WORKER="off"))
    after = client_of(start_server(JWT_SECRET=new, WORKER="off"))

    fresh = both.login(account.email).json()

    assert set(header(account.token)) == set(header(fresh["access_token"])) == {"alg", "typ", "kid"}
    assert header(account.token)["kid"] != header(fresh["access_token"])["kid"]
    for psp, takes_old, takes_new in ((before, True, False), (both, True, True), (after, False, True)):
        assert (opens(psp, account.token), opens(psp, fresh["access_token"])) == (takes_old, takes_new)
    # What is not signed with it goes on: keys, and sessions with their refresh tokens.
    assert after.charge(account).status_code == 201
    refreshed = after.post("/users/refresh", json={"refresh_token": account.refresh_token}).json()
    assert opens(after, refreshed["access_token"])
