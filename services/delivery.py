"""Delivering webhooks: leasing what is due, signing, sending, and writing down what became of it."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core import clock, metrics
from core.crypto import CannotDecrypt, Sealer
from core.database import DriverError
from core.logs import structured_logger
from domain import retry
from domain.attempts import Attempt
from domain.origins import is_origin
from domain.sending_slots import Result
from domain.webhook_endpoints import EndpointStatus, Ordering, WebhookEndpoint
from repositories.accounts import AccountRepository
from repositories.deliveries import DeliveryRepository
from repositories.delivery_documents import Candidate, DeadReason, DeliveryState, Outcome
from repositories.events import EventMessage, EventRepository
from repositories.webhook_endpoints import WebhookEndpointRepository
from services.endpoint_health import EndpointHealth
from services.parcels import Destination, Fresh, Parcel
from services.webhook_secrets import AccountSecrets, EndpointSecrets, Holder, WebhookSecrets
from services.webhook_sender import TIMEOUT_S, Reply, WebhookSender

LEASE_S = 30
"""Five seconds until an attempt begins, sixteen for it (aiohttp rounds its limit up), nine to write down its outcome: a
living worker never loses its lease."""
URL_LIMIT = 8
"""How many may be under way at once to the origin of payments' own URLs. An endpoint has a limit of its own."""
_LOG = structured_logger("mock_psp.worker")
_RESULTS = {DeliveryState.DELIVERED: "delivered", DeliveryState.PENDING: "again_later", DeliveryState.DEAD: "dead"}


@dataclass(frozen=True, slots=True)
class Found:
    """What a look has found, by target."""

    due: dict[str, list[Candidate]]
    endpoints: Mapping[str, WebhookEndpoint | None]
    """None for the origin of payments' own URLs. Targets that take nothing any more are in neither."""
    messages: Mapping[str, EventMessage] = field(default_factory=dict)
    """Those of the events that are at hand."""

    @classmethod
    def published(cls, fresh: Mapping[str, Sequence[Fresh]]) -> "Found":
        """What was published just now needs no look."""
        return cls(
            {target: [one.candidate for one in some] for target, some in fresh.items()},
            {target: some[-1].endpoint for target, some in fresh.items()},
            {one.candidate.event_id: one.message for some in fresh.values() for one in some},
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """An attempt that was made, and is not written down yet."""

    parcel: Parcel
    started_at: datetime
    headers: Mapping[str, str]
    reply: Reply

    @property
    def result(self) -> Result:
        """What it says of the target."""
        if self.reply.success:
            return Result.SUCCESS
        return Result.OVERLOAD if self.reply.overloaded else Result.FAILURE


class Delivery:
    def __init__(
        self,
        deliveries: DeliveryRepository,
        events: EventRepository,
        accounts: AccountRepository,
        endpoints: WebhookEndpointRepository,
        health: EndpointHealth,
        sender: WebhookSender,
        sealer: Sealer,
        schedule_s: Sequence[float],
    ):
        self._deliveries = deliveries
        self._events = events
        self._accounts = accounts
        self._endpoints = endpoints
        self._health = health
        self._sender = sender
        self._of_accounts = AccountSecrets(sealer)
        self._of_endpoints = EndpointSecrets(sealer)
        self._schedule_s = schedule_s
        self._burials: dict[str, asyncio.Task[None]] = {}

    async def first_due(self) -> dict[str, datetime]:
        """By target that anything waits for: when the first of it is due. (Somebody may be at it just now.)"""
        return await self._deliveries.first_due()

    async def look(self, room: Mapping[str, int]) -> Found:
        """What is due, at most as many for each target as it has room for, and to whom it would go.

        What waits for an endpoint that takes nothing any more becomes dead letters: it was published, or tried again,
        while the endpoint was being disabled or deleted.
        """
        now = clock.now()
        endpoints, due = await asyncio.gather(self._endpoints_of(room), self._deliveries.find_due(room, now))
        in_order = {
            target: room[target] for target, one in endpoints.items() if one and one.ordering is Ordering.OBJECT
        }
        if in_order:
            due |= await self._deliveries.find_heads(in_order, now)
        for target in room.keys() - endpoints.keys():
            self._bury_soon(target)
        return Found({target: due[target] for target in endpoints}, endpoints)

    async def lease(self, found: Found) -> list[Parcel]:
        """Lease what was found, ready to be sent."""
        candidates = [candidate for some in found.due.values() for candidate in some]
        if not candidates:
            return []
        leased, messages, destinations = await asyncio.gather(
            self._deliveries.lease(candidates, clock.now(), lease_s=LEASE_S),
            self._messages(candidates, found.messages),
            self._destinations(candidates, found.endpoints),
        )
        if forgotten := [one for one in leased if one.event_id not in messages]:
            await self._deliveries.bury(forgotten, DeadReason.EVENT_GONE)
        return [Parcel(one, messages[one.event_id], destinations[one.id]) for one in leased if one.event_id in messages]

    async def give_back(self, parcels: Sequence[Parcel]) -> None:
        """End the leases of what was not attempted to the end, so that another worker need not wait for them."""
        await self._deliveries.give_back([parcel.delivery for parcel in parcels])

    async def send(self, parcel: Parcel) -> "Sent":
        """Send once. Stopped before it is recorded, the lease ends and another worker sends the same again."""
        started_at = clock.now()
        destination = parcel.destination
        if destination.secrets:
            headers = parcel.headers(started_at)
            reply = await self._sender.post(
                destination.url, parcel.message.body, headers, timeout_s=destination.timeout_s
            )
        else:
            headers, reply = {}, Reply(error="secret_unreadable")
        return Sent(parcel, started_at, headers, reply)

    async def record(self, sent: "Sent") -> datetime | None:
        """Write down what an attempt came to, and tell the endpoint's health. When the next is due, if there is one.

        Raises DriverError where it was not written down.
        """
        endpoint, reply = sent.parcel.destination.endpoint, sent.reply
        if endpoint is not None and reply.gone:
            # Before it is written down: whoever is stopped in between must not make the only 410 disappear.
            await self._health.gone(endpoint)
        outcome = self._outcome(sent)
        await self._deliveries.record(outcome)
        result = _RESULTS[outcome.state]
        metrics.ATTEMPTS.labels(result, _why(reply)).inc()
        metrics.ATTEMPT_DURATION.labels(result).observe(reply.duration_ms / 1000)
        delivery = sent.parcel.delivery
        _LOG.info(
            "webhook attempt",
            request_id=sent.parcel.message.request_id,
            event_id=delivery.event_id,
            delivery_id=delivery.id,
            account=delivery.owner_id,
            result=result,
            status=reply.status,
            error=reply.error,
            duration_ms=reply.duration_ms,
        )
        if endpoint is not None:
            await self._tell_health(endpoint, sent)
        return outcome.due_at

    async def _tell_health(self, endpoint: WebhookEndpoint, sent: "Sent") -> None:
        try:
            if sent.reply.success:
                await self._health.succeeded(endpoint)
            else:
                await self._health.failed(endpoint, sent.started_at)
        except DriverError as error:
            # The attempt is written down all the same, and the next one tells again.
            _LOG.warning("the health of %s was not written: %s", endpoint.id, type(error).__name__)

    def _bury_soon(self, target: str) -> None:
        """Beside everything else, since there may be very many. Stopped in between, the next look goes on with it."""
        if target not in self._burials:
            burial = asyncio.create_task(self._deliveries.bury_waiting(target, DeadReason.ENDPOINT_GONE))
            self._burials[target] = burial
            burial.add_done_callback(lambda ended: self._buried(target, ended))

    def _buried(self, target: str, burial: asyncio.Task[None]) -> None:
        del self._burials[target]
        if not burial.cancelled() and (error := burial.exception()):
            _LOG.warning("what waits for %s could not be given up yet: %s", target, type(error).__name__)

    async def _endpoints_of(self, targets: Iterable[str]) -> dict[str, WebhookEndpoint | None]:
        """By target: its endpoint as it is now, None for the origin of payments' own URLs. Those that take nothing any
        more are left out."""
        found = await self._endpoints.by_id([target for target in targets if not is_origin(target)])
        enabled = {name: one for name, one in found.items() if one.status is EndpointStatus.ENABLED}
        return {target: enabled.get(target) for target in targets if is_origin(target) or target in enabled}

    async def _messages(
        self, candidates: Sequence[Candidate], at_hand: Mapping[str, EventMessage]
    ) -> Mapping[str, EventMessage]:
        missing = [one.event_id for one in candidates if one.event_id not in at_hand]
        return {**at_hand, **await self._events.messages(missing)} if missing else at_hand

    async def _destinations(
        self, candidates: Sequence[Candidate], endpoints: Mapping[str, WebhookEndpoint | None]
    ) -> dict[str, Destination]:
        """By delivery."""
        of_endpoints = {target: self._to_endpoint(one) for target, one in endpoints.items() if one is not None}
        secrets = await self._account_secrets([one.owner_id for one in candidates if one.target not in of_endpoints])
        return {
            one.id: of_endpoints.get(one.target)
            or Destination(one.url, secrets.get(one.owner_id, ()), TIMEOUT_S, self._schedule_s, URL_LIMIT)
            for one in candidates
        }

    async def _account_secrets(self, owner_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        accounts = await self._accounts.signing(list(set(owner_ids))) if owner_ids else []
        return {account.id: self._live(self._of_accounts, account) for account in accounts}

    def _live(self, secrets: WebhookSecrets[Holder], holder: Holder) -> tuple[str, ...]:
        """None where they cannot be opened: that fails the attempts, and keeps nobody else's from being made."""
        try:
            return secrets.live(holder, clock.now())
        except CannotDecrypt:
            _LOG.warning("the webhook secret of %s cannot be opened with any key of ENCRYPTION_KEY", holder.id)
            return ()

    def _to_endpoint(self, endpoint: WebhookEndpoint) -> Destination:
        schedule_s = self._schedule_s if endpoint.retry_schedule_s is None else endpoint.retry_schedule_s
        secrets = self._live(self._of_endpoints, endpoint)
        return Destination(endpoint.url, secrets, endpoint.timeout_s, schedule_s, endpoint.max_in_flight, endpoint)

    def _outcome(self, sent: "Sent") -> Outcome:
        parcel, reply = sent.parcel, sent.reply
        delivery = parcel.delivery
        attempt = Attempt(
            at=sent.started_at,
            url=parcel.destination.url,
            duration_ms=reply.duration_ms,
            phases=reply.phases,
            status=reply.status,
            error=reply.error,
            request_headers=tuple(sent.headers.items()),
            response_headers=reply.headers,
            response=reply.text,
        )
        if reply.success:
            return Outcome(delivery.id, delivery.token, attempt, DeliveryState.DELIVERED)
        if reply.permanent:
            reason = DeadReason.RECEIVER_GONE if reply.gone else DeadReason.UNSENDABLE
            return Outcome(delivery.id, delivery.token, attempt, DeliveryState.DEAD, dead_reason=reason)
        delay_s = retry.delay_s(parcel.destination.schedule_s, delivery.failures + 1)
        if delay_s is None:
            reason = DeadReason.ATTEMPTS_EXHAUSTED
            return Outcome(delivery.id, delivery.token, attempt, DeliveryState.DEAD, dead_reason=reason)
        due_at = clock.now() + timedelta(seconds=max(delay_s, reply.retry_after_s or 0.0))
        return Outcome(delivery.id, delivery.token, attempt, DeliveryState.PENDING, due_at)


def _why(reply: Reply) -> str:
    """Why an attempt failed, as one of few words."""
    return reply.error or ("" if reply.success else f"status_{(reply.status or 0) // 100}xx")
