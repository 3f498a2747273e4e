"""The effect of a received webhook: leased work that is carried out once, whoever dies in between."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from core import clock
from core.database import Database
from domain.signing import plain_signature
from repositories.incoming_webhooks import IncomingState, IncomingWebhookRepository, LeasedWebhooks
from repositories.indexes import create_indexes
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server
from tests.factories import Account, Psp


@pytest.fixture
async def webhooks(mongo_uri: str) -> AsyncIterator[IncomingWebhookRepository]:
    database = Database(mongo_uri, "incoming_effects")
    await create_indexes(database)
    yield IncomingWebhookRepository(database)
    await database.drop()
    database.close()


async def receive(webhooks: IncomingWebhookRepository, number: int = 1) -> str:
    webhook_id = f"inw_{number}"
    assert await webhooks.insert(
        webhook_id, owner_id="user_1", message_id="evt_1", event="x", body=b"{}", received_at=clock.now()
    )
    return webhook_id


async def lease(webhooks: IncomingWebhookRepository, limit: int = 100, lease_s: int = 30) -> LeasedWebhooks:
    leased = await webhooks.lease(limit=limit, lease_s=lease_s)
    assert leased is not None
    return leased


async def state(webhooks: IncomingWebhookRepository, webhook_id: str) -> IncomingState:
    found = await webhooks.get("user_1", webhook_id)
    assert found is not None
    return found.state


async def test_two_workers_never_hold_the_same_webhook(webhooks: IncomingWebhookRepository) -> None:
    for number in range(60):
        await receive(webhooks, number)

    claims = await asyncio.gather(*(webhooks.lease(limit=10, lease_s=30) for _ in range(12)))

    held = [webhook_id for claim in claims if claim is not None for webhook_id in claim.ids]
    assert held
    assert len(held) == len(set(held))


async def test_a_worker_that_wakes_up_late_changes_nothing(webhooks: IncomingWebhookRepository) -> None:
    webhook_id = await receive(webhooks)
    late = await lease(webhooks, lease_s=0)
    next_one = await lease(webhooks)

    assert await webhooks.mark_processed(late, clock.now()) == 0
    assert await state(webhooks, webhook_id) is IncomingState.RECEIVED
    assert await webhooks.mark_processed(next_one, clock.now()) == 1
    assert await webhooks.mark_processed(next_one, clock.now()) == 0
    assert await state(webhooks, webhook_id) is IncomingState.PROCESSED
    assert await webhooks.lease(limit=10, lease_s=30) is None


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
