"""Delivering webhooks: leasing what is due, signing, sending, and writing down what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core import clock
from core.crypto import Sealer
from domain import retry, signing
from domain.sending_slots import Result
from domain.webhook_endpoints import EndpointStatus, WebhookEndpoint
from repositories.accounts import AccountRepository
from repositories.deliveries import Attempt, DeliveryRepository, DeliveryState, LeasedDelivery, Outcome
from repositories.events import EventRepository
from repositories.webhook_endpoints import WebhookEndpointRepository
from services.accounts import webhook_secret_purpose
from services.endpoint_secrets import EndpointSecrets
from services.webhook_sender import TIMEOUT_S, Reply, WebhookSender

LEASE_S = 20
"""An attempt's time limit and five seconds to write down its outcome: a living worker never loses its lease."""


class Delivery:
    def __init__(
        self,
        deliveries: DeliveryRepository,
        events: EventRepository,
        accounts: AccountRepository,
        endpoints: WebhookEndpointRepository,
        sender: WebhookSender,
        sealer: Sealer,
        schedule_s: Sequence[float],
    ):
        self._deliveries = deliveries
        self._events = events
        self._accounts = accounts
        self._endpoints = endpoints
        self._sender = sender
        self._sealer = sealer
        self._endpoint_secrets = EndpointSecrets(sealer)
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
        destinations = await self._destinations(leased)
        # Published or tried again while its endpoint was being disabled or deleted.
        await self._deliveries.bury([one for one in leased if one.id not in destinations], "endpoint_gone")
        return [Parcel(one, bodies[one.event_id], destinations[one.id]) for one in leased if one.id in destinations]

    async def give_back(self, parcels: list["Parcel"]) -> None:
        """End the leases of what was not attempted to the end, so that another worker need not wait for them."""
        await self._deliveries.give_back([parcel.delivery for parcel in parcels])

    async def attempt(self, parcel: "Parcel") -> Result:
        """Send once and record it; what that says of the target. Stopped in between, the lease ends and another worker
        sends the same again."""
        started_at = clock.now()
        destination = parcel.destination
        reply = await self._sender.post(
            destination.url, parcel.body, parcel.headers(started_at), timeout_s=destination.timeout_s
        )
        await self._deliveries.record(self._outcome(parcel, started_at, reply))
        if reply.success:
            return Result.SUCCESS
        return Result.OVERLOAD if reply.overloaded else Result.FAILURE

    async def _destinations(self, leased: Sequence[LeasedDelivery]) -> dict[str, "Destination"]:
        """By delivery: where it goes and how, as it is now. Those whose endpoint takes nothing any more have none."""
        endpoints = await self._endpoints.by_id([one.endpoint_id for one in leased if one.endpoint_id is not None])
        of_endpoint = {
            endpoint_id: self._to_endpoint(endpoint)
            for endpoint_id, endpoint in endpoints.items()
            if endpoint.status is EndpointStatus.ENABLED
        }
        to_urls = [one for one in leased if one.endpoint_id is None]
        secrets = await self._account_secrets([one.owner_id for one in to_urls])
        return {
            **{one.id: Destination(one.url, (secrets[one.owner_id],), TIMEOUT_S, self._schedule_s) for one in to_urls},
            **{one.id: of_endpoint[one.endpoint_id] for one in leased if one.endpoint_id in of_endpoint},
        }

    async def _account_secrets(self, owner_ids: Sequence[str]) -> dict[str, str]:
        sealed = await self._accounts.sealed_webhook_secrets(list(set(owner_ids))) if owner_ids else {}
        return {
            owner_id: self._sealer.open(value, webhook_secret_purpose(owner_id)).decode()
            for owner_id, value in sealed.items()
        }

    def _to_endpoint(self, endpoint: WebhookEndpoint) -> "Destination":
        schedule_s = self._schedule_s if endpoint.retry_schedule_s is None else endpoint.retry_schedule_s
        secrets = self._endpoint_secrets.live(endpoint, clock.now())
        return Destination(endpoint.url, secrets, endpoint.timeout_s, schedule_s)

    def _outcome(self, parcel: "Parcel", started_at: datetime, reply: Reply) -> Outcome:
        delivery = parcel.delivery
        attempt = Attempt(started_at, reply.duration_ms, reply.status, reply.error, reply.text)
        if reply.success:
            return Outcome(delivery.id, delivery.token, attempt, DeliveryState.DELIVERED)
        delay_s = None if reply.permanent else retry.delay_s(parcel.destination.schedule_s, delivery.failures + 1)
        if delay_s is None:
            return Outcome(delivery.id, delivery.token, attempt, DeliveryState.DEAD)
        delay_s = max(delay_s, reply.retry_after_s or 0.0)
        due_at = clock.now() + timedelta(seconds=delay_s)
        return Outcome(delivery.id, delivery.token, attempt, DeliveryState.PENDING, due_at)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a delivery goes, and how."""

    url: str
    secrets: tuple[str, ...] = field(repr=False)
    """Newest first; two while a rotation overlaps."""
    timeout_s: float
    schedule_s: Sequence[float]


class Parcel:
    """A leased delivery with all that is needed to send it."""

    def __init__(self, delivery: LeasedDelivery, body: bytes, destination: Destination):
        self.delivery = delivery
        self.body = body
        self.destination = destination

    def headers(self, sent_at: datetime) -> dict[str, str]:
        return signing.webhook_headers(
            self.destination.secrets, self.delivery.event_id, int(sent_at.timestamp()), self.body
        )
