"""Ends endpoints that want no more: at once after a 410, and once nothing has come through for five days."""

import logging
from datetime import datetime

from core import clock, ids, json_codec
from core.errors import Contention
from domain.webhook_endpoints import (
    DISABLED_EVENT,
    DisabledReason,
    EndpointStatus,
    WebhookEndpoint,
    disable,
    failing_too_long,
)
from repositories.deliveries import DeliveryRepository
from repositories.delivery_documents import DeadReason
from repositories.outbox import OutboxEvent
from repositories.webhook_endpoints import WebhookEndpointRepository
from schemas.webhook_endpoints import webhook_endpoint_view
from services.races import until_won
from services.signals import Signals

_LOG = logging.getLogger(__name__)


class EndpointHealth:
    """Told of each attempt that was made, with the endpoint as it was read for it; writes only what changes."""

    def __init__(self, endpoints: WebhookEndpointRepository, deliveries: DeliveryRepository, signals: Signals):
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._signals = signals

    async def succeeded(self, endpoint: WebhookEndpoint) -> None:
        """An attempt came through. (Where another has failed since the endpoint was read for it, nothing is written:
        `failed` finds out.)"""
        if endpoint.failing_since is not None:
            await self._endpoints.fails_no_more(endpoint.id)

    async def gone(self, endpoint: WebhookEndpoint) -> None:
        """The answer was 410."""
        await self._disable(endpoint.id, DisabledReason.GONE)

    async def failed(self, endpoint: WebhookEndpoint, at: datetime) -> None:
        """An attempt that began then failed."""
        if endpoint.failing_since is None:
            await self._endpoints.fails_since(endpoint.id, at)
        elif failing_too_long(endpoint, at):
            if await self._deliveries.delivered_since(endpoint.id, endpoint.failing_since):
                await self._endpoints.fails_no_more(endpoint.id)
            else:
                await self._disable(endpoint.id, DisabledReason.FAILING)

    async def _disable(self, endpoint_id: str, reason: DisabledReason) -> None:
        """Once, with its event, however many attempts find the reason at the same time."""

        async def turn() -> bool | None:
            before = await self._endpoints.latest(endpoint_id)
            if before is None or before.status is EndpointStatus.DISABLED:
                return False
            now = clock.now()
            if reason is DisabledReason.FAILING and not failing_too_long(before, now):
                return False  # something has come through meanwhile
            after = disable(before, reason, now)
            data = json_codec.dumps(webhook_endpoint_view(after))
            event = OutboxEvent(ids.fresh("evt"), DISABLED_EVENT, after.sequence, now, data)
            return await self._endpoints.save(before, after, event) or None

        try:
            disabled = await until_won(turn)
        except Contention:
            _LOG.warning("%s could not be disabled; the next failure tries again", endpoint_id)
            return
        if disabled:
            self._signals.outbox_filled(self._endpoints.outbox)
            await self._deliveries.bury_waiting(endpoint_id, DeadReason.ENDPOINT_DISABLED)
            _LOG.info("%s was disabled: %s", endpoint_id, reason.value)
