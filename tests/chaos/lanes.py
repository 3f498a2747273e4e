"""A lane: a database and a receiver, in which workers stop dead one after the other, and others go on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymongo
import pytest

from core.config import Settings
from domain.roles import Role
from schemas.payments import ChargeRequest
from schemas.refunds import RefundRequest
from schemas.users import RegisterRequest
from schemas.webhook_endpoints import WebhookEndpointRequest
from schemas.webhooks import IncomingWebhook
from services.audit import COMMAND_LINE
from services.caller import Caller
from services.delivery import URL_LIMIT
from services.psp import Psp, open_psp
from tests.books import Books, Documents
from tests.chaos.crashing_worker import STOPPED, CrashPoint, start_worker
from tests.conftest import QUICK
from tests.databases import end_abandoned
from tests.factories import PASSWORD
from tests.receiver import Received, Receiver

SECRETS = {
    "JWT_SECRET": "a-secret-of-more-than-thirty-two-bytes",
    "ENCRYPTION_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
}
PATIENCE_S = 120
SOON = timedelta(minutes=1)
TARGETS = ("endpoint", "own")


@dataclass(frozen=True)
class Lane:
    """A database with a receiver, in which crashes happen one after the other."""

    psp: Psp
    database: Documents
    receiver: Receiver
    settings: dict[str, str]
    directory: Path

    async def survive(self, number: int, point: CrashPoint) -> int:
        """A worker stops at the point, and another one goes on; how much was sent and not recorded."""
        caller = await self.merchant(number)
        await self.leave_work(caller, f"{self.receiver.url}/{number}")

        await self.stop_and_go_on(number, point)
        return self.judge(caller.account_id, f"/{number}")

    async def be_told_to_go(self, number: int, point: CrashPoint) -> int:
        """The same of an endpoint whose answer is 410: it is disabled once, with its event."""
        caller = await self.merchant(number)
        endpoint_id = await self.endpoint(caller, f"{self.receiver.url}/{number}")
        await self.charge(caller)
        await self.process()

        await self.stop_and_go_on(number, point)
        endpoint = self.database["webhook_endpoints"].find_one({"_id": endpoint_id})
        assert endpoint is not None
        assert (endpoint["status"], endpoint["disabled_reason"]) == ("disabled", "gone")
        states = [row["state"] for row in self.database["deliveries"].find({"target": endpoint_id})]
        assert states == ["dead"] * 3
        assert [row["type"] for row in self.database["events"].find({"stream_id": endpoint_id})] == ["webhook.disabled"]
        return 0

    async def stop_and_go_on(self, number: int, point: CrashPoint) -> None:
        await self.work(f"{number}-stopping", point)
        self.let_leases_end()
        await self.work(f"{number}-next")

    async def merchant(self, number: int) -> Caller:
        request = RegisterRequest(name="Crash", email=f"crash{number}@example.com", password=PASSWORD, role="merchant")
        return Caller((await self.psp.accounts.register(request, COMMAND_LINE)).user_id, Role.MERCHANT)

    async def endpoint(self, caller: Caller, url: str) -> str:
        request = WebhookEndpointRequest(url=url, events=["*"])
        return (await self.psp.webhook_endpoints.create(COMMAND_LINE.of(caller), request)).id

    async def leave_work(self, caller: Caller, url: str) -> None:
        """A payment with a refund whose events nobody has published, one that is due, and a received webhook."""
        await self.endpoint(caller, f"{url}/endpoint")
        told = await self.charge(caller, webhookUrl=f"{url}/own")
        await self.process()
        await self.psp.refunds.request(caller, RefundRequest.model_validate({"paymentId": told, "amount": 40}), None)
        await self.process()
        await self.charge(caller)
        message = IncomingWebhook(id="evt_1", event="x", data={})
        await self.psp.incoming_webhooks.store(caller, "id:evt_1", message, b"{}")

    async def charge(self, caller: Caller, **fields: Any) -> str:
        body = {"customerName": "Grace Hopper", "paymentAmount": 100, "currency": "USD", **fields}
        made = await self.psp.charging.charge(
            caller,
            ChargeRequest.model_validate(body),
            None,
            route="charge",
            idempotency_key=None,
            wait_s=0,
            base_url="http://127.0.0.1",
        )
        return str(json.loads(made.body)["id"])

    async def process(self) -> None:
        while await self.psp.processing.process_batch():
            pass

    async def work(self, name: str, point: CrashPoint | None = None) -> None:
        """Run a worker until it stops at the point or, without one, until nothing is left to do."""
        log = self.directory / f"{name}.log"
        worker = start_worker(self.settings, log, point)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while worker.poll() is None and (point is not None or not runs(log) or self.work_left()):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"{point or self.work_left()} is waited for in vain:\n{log.read_text()}")
        finally:
            worker.terminate()
            while worker.poll() is None:
                await asyncio.sleep(0.02)
        assert worker.returncode == (0 if point is None else STOPPED), log.read_text()

    def work_left(self) -> Any:
        payments, soon = self.database["payments"], datetime.now(UTC) + SOON
        return (
            payments.find_one({"due_at": {"$lte": soon}})
            or payments.find_one({"outbox.0": {"$exists": True}})
            or self.database["webhook_endpoints"].find_one({"outbox.0": {"$exists": True}})
            or self.database["deliveries"].find_one({"state": "pending"})
            or self.database["incoming_webhooks"].find_one({"state": "received"})
        )

    def let_leases_end(self) -> None:
        """As if their time had passed."""
        for name in ("payments", "deliveries", "incoming_webhooks"):
            ended = {"$set": {"lease_until": datetime.now(UTC) - SOON}}
            self.database[name].update_many({"lease_until": {"$exists": True}}, ended)

    def judge(self, owner_id: str, path: str) -> int:
        """Everything is there once, was told to both targets with the same bytes, and nothing is left to do."""
        for name in ("payments", "deliveries", "incoming_webhooks"):
            assert self.database[name].find_one({"lease_token": {"$exists": True}}) is None
        Books(self.database, owner_id).check()
        assert [row["status"] for row in self.database["refunds"].find({"owner_id": owner_id})] == ["succeeded"]

        seen: dict[tuple[str, str], list[Received]] = {}
        for request in list(self.receiver.requests):
            if request.path.startswith(f"{path}/"):
                seen.setdefault((request.path.rpartition("/")[2], request.headers["webhook-id"]), []).append(request)
        events = {row["_id"]: row for row in self.database["events"].find({"owner_id": owner_id})}
        told = self.database["payments"].find_one({"owner_id": owner_id, "webhook_url": {"$exists": True}})
        assert told is not None
        deliveries = {
            ("endpoint" if "endpoint_id" in row else "own", row["event_id"]): row
            for row in self.database["deliveries"].find({"owner_id": owner_id})
        }
        assert len(deliveries) == self.database["deliveries"].count_documents({"owner_id": owner_id})
        wanted = {("endpoint", one) for one in events}
        wanted |= {("own", one) for one, row in events.items() if row["stream_id"] == told["_id"]}
        assert deliveries.keys() == seen.keys() == wanted

        for (_, event_id), requests in seen.items():
            assert {request.body for request in requests} == {events[event_id]["body"]}
        lost = sum(unrecorded(row, len(seen[key])) for key, row in deliveries.items())
        assert lost <= len(TARGETS) * URL_LIMIT
        return lost


def runs(log: Path) -> bool:
    return log.exists() and "Worker running" in log.read_text()


def unrecorded(row: dict[str, Any], arrivals: int) -> int:
    """How many attempts arrived and were not recorded; what was recorded fits to what the receiver answered."""
    recorded = [attempt["status"] for attempt in row["attempts"]]
    assert row["state"] == "delivered", row
    # The first arrival is answered with 500.
    assert recorded in ([500, 200], [200]) and arrivals >= 2, (row, arrivals)
    assert row["failures"] == recorded.count(500), row
    return arrivals - len(recorded)


@asynccontextmanager
async def lane(
    mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], directory: Path, *, gone: bool = False
) -> AsyncIterator[Lane]:
    """With a receiver that answers 410, or one that answers 500 to each webhook's first arrival, and then 200."""
    name = f"crash_{directory.parent.name}_{directory.name}"[-60:]
    settings = {**QUICK, **SECRETS, "MONGODB_URI": mongo_uri, "MONGODB_DB": name, "PROCESSING_DELAY_SECONDS": "0"}
    directory.mkdir()
    fields: dict[str, Any] = {key.lower(): value for key, value in settings.items()}
    try:
        with Receiver() as receiver:
            receiver.answers = lambda number, _: 410 if gone else 200 if arrived_before(receiver, number) else 500
            async with open_psp(Settings(_env_file=None, **fields), is_worker=False) as psp:
                yield Lane(psp, mongo[name], receiver, settings, directory)
    finally:
        end_abandoned(mongo)
        mongo.drop_database(name)


def arrived_before(receiver: Receiver, number: int) -> bool:
    this, *earlier = receiver.requests[number::-1]
    return any((one.path, one.headers["webhook-id"]) == (this.path, this.headers["webhook-id"]) for one in earlier)
