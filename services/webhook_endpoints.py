"""Webhook endpoints: making, reading, changing, deleting, their secrets, and a test event."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from core import clock, ids, json_codec
from core.database import Database, Session
from core.errors import Contention, InvalidState, NotFound, TooManyEndpoints
from core.security import new_webhook_secret
from domain.audit import Action, State
from domain.origins import origin
from domain.webhook_endpoints import TEST_EVENT, EndpointStatus, WebhookEndpoint
from repositories.deliveries import DeliveryRepository
from repositories.delivery_documents import DeadReason
from repositories.outbox import OutboxEvent
from repositories.pages import CursorInvalid
from repositories.places import NoPlaceLeft
from repositories.webhook_endpoints import WebhookEndpointRepository
from schemas.common import PageQuery
from schemas.webhook_endpoints import (
    WebhookEndpointMade,
    WebhookEndpointOut,
    WebhookEndpointPage,
    WebhookEndpointPatch,
    WebhookEndpointRequest,
    WebhookSecretOut,
    WebhookTestOut,
    webhook_endpoint_out,
    webhook_endpoint_view,
)
from services.audit import Actor, Audit
from services.caller import Caller
from services.event_targets import Target
from services.races import until_won
from services.signals import Signals
from services.validation import invalid
from services.webhook_secrets import EndpointSecrets

MAX_ENDPOINTS = 50
"""Of an account: one event makes a delivery for each."""
_STORED_AS = {"retry_schedule": "retry_schedule_s", "timeout": "timeout_s"}


class WebhookEndpoints:
    def __init__(
        self,
        database: Database,
        endpoints: WebhookEndpointRepository,
        deliveries: DeliveryRepository,
        secrets: EndpointSecrets,
        audit: Audit,
        signals: Signals,
    ):
        self._database = database
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._secrets = secrets
        self._audit = audit
        self._signals = signals

    async def create(self, actor: Actor, request: WebhookEndpointRequest) -> WebhookEndpointMade:
        """A new endpoint with a secret of its own. Raises TooManyEndpoints."""
        fields = _fields(request.model_dump())
        endpoint_id, secret, now = ids.fresh("we"), new_webhook_secret(), clock.now()
        endpoint = WebhookEndpoint(
            id=endpoint_id,
            owner_id=actor.caller.account_id,
            sealed_secrets=self._secrets.seal(endpoint_id, secret),
            created_at=now,
            updated_at=now,
            **fields,
        )

        async def insert(session: Session) -> None:
            await self._endpoints.insert(endpoint, session, most=MAX_ENDPOINTS)
            await self._audit.record(actor, Action.ENDPOINT_MADE, endpoint_id, after=_state(endpoint), session=session)

        try:
            await self._database.in_transaction(insert)
        except NoPlaceLeft:
            raise TooManyEndpoints from None
        return WebhookEndpointMade(**webhook_endpoint_out(endpoint).model_dump(), secret=secret)

    async def get(self, caller: Caller, endpoint_id: str) -> WebhookEndpointOut:
        """Raises NotFound."""
        return webhook_endpoint_out(await self._find(caller, endpoint_id))

    async def page(self, caller: Caller, query: PageQuery) -> WebhookEndpointPage:
        """The caller's own endpoints, newest first."""
        try:
            page = await self._endpoints.page(caller.account_id, limit=query.limit, cursor=query.cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
        return WebhookEndpointPage(
            webhook_endpoints=[webhook_endpoint_out(endpoint) for endpoint in page.items],
            total_webhook_endpoints=page.total,
            total_is_lower_bound=page.total_is_lower_bound,
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    async def amend(self, actor: Actor, endpoint_id: str, patch: WebhookEndpointPatch) -> WebhookEndpointOut:
        """Change what was sent; it applies to what waits already. Disabling turns that into dead letters.

        Raises NotFound, Contention.
        """
        fields = _fields(patch.changes())
        if "status" in fields:
            # Who sets it says nothing of why the service might have, and begins with a clean slate.
            fields |= {"disabled_reason": None, "failing_since": None}
        endpoint = await self._change(actor, endpoint_id, lambda endpoint, now: _changed(endpoint, now, **fields))
        if endpoint.status is EndpointStatus.DISABLED:
            await self._deliveries.bury_waiting(endpoint_id, DeadReason.ENDPOINT_DISABLED)
        return webhook_endpoint_out(endpoint)

    async def delete(self, actor: Actor, endpoint_id: str) -> None:
        """Hide an endpoint; what waits for it becomes dead letters. Raises NotFound."""

        async def delete(session: Session) -> None:
            before = await self._find(actor.caller, endpoint_id, session)
            if not await self._endpoints.delete(before.owner_id, endpoint_id, clock.now(), session):
                raise _missing(endpoint_id)
            await self._audit.record(
                actor, Action.ENDPOINT_DELETED, endpoint_id, before=_state(before), session=session
            )

        await self._database.in_transaction(delete)
        await self._deliveries.bury_waiting(endpoint_id, DeadReason.ENDPOINT_DELETED)

    async def secret(self, actor: Actor, endpoint_id: str) -> WebhookSecretOut:
        """The secrets that sign now. That they were read is in the audit log. Raises NotFound, CannotDecrypt."""
        shown = self._shown(await self._find(actor.caller, endpoint_id))
        await self._audit.record(actor, Action.ENDPOINT_SECRET_READ, endpoint_id)
        return shown

    async def rotate(self, actor: Actor, endpoint_id: str, *, overlap_days: int) -> WebhookSecretOut:
        """A new secret. The one so far signs as well until the overlap ends, and one before that no longer.

        Raises NotFound, Contention where the endpoint is being deleted, and CannotDecrypt with an overlap only.
        """
        new_secret = new_webhook_secret()

        async def exchange(session: Session) -> WebhookEndpoint:
            now = clock.now()
            before = await self._find(actor.caller, endpoint_id, session)
            rotated = self._secrets.rotated(before, new_secret, now, overlap_days=overlap_days)
            after = replace(rotated, updated_at=now, version=before.version + 1)
            if not await self._endpoints.save(before, after, session=session):
                raise Contention
            await self._audit.record(
                actor,
                Action.ENDPOINT_SECRET_ROTATED,
                endpoint_id,
                before={"previous_secret_ends_at": before.previous_secret_ends_at},
                after={"previous_secret_ends_at": after.previous_secret_ends_at},
                session=session,
            )
            return after

        return self._shown(await self._database.in_transaction(exchange))

    async def send_test(self, caller: Caller, endpoint_id: str) -> WebhookTestOut:
        """Send the endpoint a `webhook.test` event. Raises NotFound, Contention, InvalidState for a disabled one."""
        event_id = ids.fresh("evt")

        async def turn() -> WebhookTestOut | None:
            before = await self._find(caller, endpoint_id)
            if before.status is EndpointStatus.DISABLED:
                raise InvalidState(f"Webhook endpoint '{endpoint_id}' is disabled.")
            after = replace(before, sequence=before.sequence + 1, version=before.version + 1)
            data = json_codec.dumps(webhook_endpoint_view(after))
            event = OutboxEvent(event_id, TEST_EVENT, after.sequence, clock.now(), data, request_id=caller.request_id)
            if not await self._endpoints.save(before, after, event):
                return None
            self._signals.outbox_filled(self._endpoints.outbox)
            delivery_id = Target(before.url, endpoint_id).delivery_id(event_id)
            return WebhookTestOut(event_id=event_id, delivery_id=delivery_id)

        return await until_won(turn)

    async def _change(
        self, actor: Actor, endpoint_id: str, decide: Callable[[WebhookEndpoint, datetime], WebhookEndpoint]
    ) -> WebhookEndpoint:
        async def change(session: Session) -> WebhookEndpoint:
            before = await self._find(actor.caller, endpoint_id, session)
            after = decide(before, clock.now())
            if after == before:
                return after
            if not await self._endpoints.save(before, after, session=session):
                raise Contention
            await self._audit.record(
                actor,
                Action.ENDPOINT_CHANGED,
                endpoint_id,
                before=_state(before),
                after=_state(after),
                session=session,
            )
            return after

        return await self._database.in_transaction(change)

    async def _find(self, caller: Caller, endpoint_id: str, session: Session | None = None) -> WebhookEndpoint:
        endpoint = await self._endpoints.get(caller.account_id, endpoint_id, session)
        if endpoint is None:
            raise _missing(endpoint_id)
        return endpoint

    def _shown(self, endpoint: WebhookEndpoint) -> WebhookSecretOut:
        secret, *previous = self._secrets.live(endpoint, clock.now())
        return WebhookSecretOut(
            secret=secret,
            previous_secret=previous[0] if previous else None,
            previous_secret_expires_at=endpoint.previous_secret_ends_at if previous else None,
        )


def _missing(endpoint_id: str) -> NotFound:
    return NotFound(f"Webhook endpoint '{endpoint_id}' not found.")


def _state(endpoint: WebhookEndpoint) -> State:
    """What the audit log keeps. Of the URL its origin: the rest of it may be a secret, and so may free texts."""
    return {"origin": origin(endpoint.url), "events": " ".join(endpoint.events), "status": endpoint.status.value}


def _fields(sent: dict[str, Any]) -> dict[str, Any]:
    """What an endpoint keeps of what was sent, under its own names."""
    fields = {_STORED_AS.get(name, name): value for name, value in sent.items()}
    if "events" in sent:
        fields["events"] = tuple(dict.fromkeys(sent["events"]))
    if sent.get("retry_schedule") is not None:
        fields["retry_schedule_s"] = tuple(sent["retry_schedule"])
    if "metadata" in sent:
        fields["metadata"] = sent["metadata"] or None
    return fields


def _changed(endpoint: WebhookEndpoint, now: datetime, **fields: Any) -> WebhookEndpoint:
    """The endpoint with these fields; itself where it has them already."""
    changed = replace(endpoint, **fields)
    return endpoint if changed == endpoint else replace(changed, updated_at=now, version=endpoint.version + 1)
