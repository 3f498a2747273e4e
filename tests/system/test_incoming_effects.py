"""The effect of a received webhook: leased work that is carried out once, whoever dies in between."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from domain.signing import plain_signature
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server
from tests.factories import Account, Psp

pytestmark = pytest.mark.long


def send(psp: Psp, account: Account, number: int) -> None:
    body = json.dumps({"id": f"evt_{number}", "event": "x", "data": {}}).encode()
    signature = {"X-Signature": plain_signature(account.webhook_secret, body), "Content-Type": "application/json"}
    answer = psp.post("/webhook-receive", content=body, headers={**account.key, **signature})
    assert answer.json()["duplicate"] is False


def listed(psp: Psp, account: Account) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = psp.get("/incoming-webhooks", headers=account.key).json()["incomingWebhooks"]
    return found


def test_what_was_stored_before_a_kill_has_its_effect_afterwards(start_server: Callable[..., Server]) -> None:
    """The first server is killed between storing and the effect; a worker that starts later carries it out."""
    first = start_server(WORKER="off")
    with httpx.Client(base_url=first.url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        account = psp.register("user")
        for number in range(5):
            send(psp, account, number)
        assert {one["state"] for one in listed(psp, account)} == {"received"}
    first.kill()

    second = start_server()
    with httpx.Client(base_url=second.url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        deadline = time.monotonic() + 60
        while {one["state"] for one in listed(psp, account)} != {"processed"}:
            assert time.monotonic() < deadline, "a stored webhook never had its effect"
            time.sleep(0.05)
        found = listed(psp, account)
        assert len(found) == 5
        assert all(one["processedAt"] >= one["receivedAt"] for one in found)
