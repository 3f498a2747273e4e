"""Delivering webhooks: leasing what is due, signing, sending, and writing down what became of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from core import clock
from core.crypto import Sealer
from domain import retry, signing
from domain.sending_slots import Result
from repositories.accounts import AccountRepository
from repositories.deliveries import Attempt, DeliveryRepository, DeliveryState, LeasedDelivery, Outcome
from repositories.events import EventRepository
from services.accounts import webhook_secret_purpose
from services.webhook_sender import Reply, WebhookSender

LEASE_S = 20
"""An attempt's time limit and five seconds to write down its outcome: a living worker never loses its lease."""
USER_AGENT = "MockPSP-Webhooks/1.0"


class Delivery:
    def __init__(
        self,
        deliveries: DeliveryRepository,
        events: EventRepository,
        accounts: AccountRepository,
        sender: WebhookSender,
        sealer: Sealer,
        schedule_s: Sequence[float],
    ):
        self._deliveries = deliveries
        self._events = events
        self._accounts = accounts
        self._sender = sender
        self._sealer = sealer
        self._schedule_s = schedule_s

    async def waiting_targets(self) -> list[str]:
        return await self._deliveries.waiting_targets()

    async def next_due_at(self, targets: list[str]) -> datetime | None:
        return await self._deliveries.next_due_at(targets)

    async def lease(self, room: dict[str, int]) -> list["Parcel"]:
        """Lease due deliveries, at most as many for each target as it has room for, ready to be sent."""
        leased = await self._deliveries.lease_due(room, clock.now(), lease_s=LEASE_S)
        if not leased:
            return []
        bodies = await self._events.bodies([one.event_id for one in leased])
        sealed = await self._accounts.sealed_webhook_secrets(list({one.owner_id for one in leased}))
        secrets = {
            owner_id: self._sealer.open(value, webhook_secret_purpose(owner_id)).decode()
            for owner_id, value in sealed.items()
        }
        return [Parcel(one, bodies[one.event_id], secrets[one.owner_id]) for one in leased]

    async def give_back(self, parcels: list["Parcel"]) -> None:
        """End the leases of what was not attempted to the end, so that another worker need not wait for them."""
        await self._deliveries.give_back([parcel.delivery for parcel in parcels])

    async def attempt(self, parcel: "Parcel") -> Result:
        """Send once and record it; what that says of the target. Stopped in between, the lease ends and another worker
        sends the same again."""
        started_at = clock.now()
        reply = await self._sender.post(parcel.delivery.url, parcel.body, parcel.headers(started_at))
        await self._deliveries.record(self._outcome(parcel.delivery, started_at, reply))
        if reply.success:
            return Result.SUCCESS
        return Result.OVERLOAD if reply.overloaded else Result.FAILURE

    def _outcome(self, delivery: LeasedDelivery, started_at: datetime, reply: Reply) -> Outcome:
        attempt = Attempt(started_at, reply.duration_ms, reply.status, reply.error, reply.text)
        if reply.success:
            return Outcome(delivery.id, delivery.token, attempt, DeliveryState.DELIVERED)
        delay_s = None if reply.permanent else retry.delay_s(self._schedule_s, delivery.failures + 1)
        if delay_s is None:
            return Outcome(delivery.id, delivery.token, attempt, DeliveryState.DEAD)
        delay_s = max(delay_s, reply.retry_after_s or 0.0)
        due_at = clock.now() + timedelta(seconds=delay_s)
        return Outcome(delivery.id, delivery.token, attempt, DeliveryState.PENDING, due_at)


class Parcel:
    """A leased delivery with all that is needed to send it."""

    def __init__(self, delivery: LeasedDelivery, body: bytes, secret: str):
        self.delivery = delivery
        self.body = body
        self._secret = secret

    def headers(self, sent_at: datetime) -> dict[str, str]:
        timestamp_s = int(sent_at.timestamp())
        return {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": self.delivery.event_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": signing.standard_signature(
                self._secret, self.delivery.event_id, timestamp_s, self.body
            ),
            "X-Signature": signing.plain_signature(self._secret, self.body),
        }
