"""Deliveries, as their owner reads them."""

from core.errors import NotFound
from domain.attempts import Attempt
from repositories.delivery_documents import DeliveryState
from repositories.delivery_log import DeliveryFilter, DeliveryLogRepository, LoggedDelivery
from repositories.pages import CursorInvalid
from repositories.webhook_endpoints import WebhookEndpointRepository
from schemas.deliveries import (
    AttemptOut,
    DeliveryOut,
    DeliveryPage,
    DeliveryQuery,
    DeliveryWithAttempts,
    EndpointDeliveryQuery,
    HeaderOut,
    PhasesOut,
)
from services.caller import Caller
from services.validation import invalid


class Deliveries:
    def __init__(self, log: DeliveryLogRepository, endpoints: WebhookEndpointRepository):
        self._log = log
        self._endpoints = endpoints

    async def get(self, caller: Caller, delivery_id: str) -> DeliveryWithAttempts:
        """One of the caller's own deliveries with its attempts. Raises NotFound."""
        found = await self._log.get(caller.account_id, delivery_id)
        if found is None:
            raise NotFound(f"Delivery '{delivery_id}' not found.")
        attempts = [_attempt_out(attempt) for attempt in found.attempts]
        return DeliveryWithAttempts(**delivery_out(found).model_dump(), attempts=attempts)

    async def page(self, caller: Caller, query: DeliveryQuery) -> DeliveryPage:
        """The caller's own deliveries, newest first."""
        return await self._page(caller, query, query.webhook_endpoint_id)

    async def page_of_endpoint(self, caller: Caller, endpoint_id: str, query: EndpointDeliveryQuery) -> DeliveryPage:
        """What goes and went to one of the caller's endpoints, newest first. Raises NotFound."""
        if await self._endpoints.get(caller.account_id, endpoint_id) is None:
            raise NotFound(f"Webhook endpoint '{endpoint_id}' not found.")
        return await self._page(caller, query, endpoint_id)

    async def _page(self, caller: Caller, query: EndpointDeliveryQuery, endpoint_id: str | None) -> DeliveryPage:
        wanted = DeliveryFilter(
            caller.account_id,
            None if query.status is None else DeliveryState(query.status),
            query.event_id,
            endpoint_id,
            query.resend_id,
            query.created_from,
            query.created_to,
        )
        try:
            page = await self._log.page(wanted, limit=query.limit, cursor=query.cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
        return DeliveryPage(
            deliveries=[delivery_out(one) for one in page.items],
            total_deliveries=page.total,
            total_is_lower_bound=page.total_is_lower_bound,
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )


def delivery_out(one: LoggedDelivery) -> DeliveryOut:
    return DeliveryOut(
        id=one.id,
        event_id=one.event_id,
        event_type=one.event_type,
        webhook_endpoint_id=one.endpoint_id,
        url=one.url,
        status=one.state.value,
        dead_reason=None if one.dead_reason is None else one.dead_reason.value,
        attempt_count=one.attempt_count,
        last_status=one.last_status,
        last_error=one.last_error,
        next_attempt_at=one.due_at if one.state is DeliveryState.PENDING else None,
        resend_id=one.resend_id,
        created_at=one.created_at,
        updated_at=one.updated_at,
    )


def _attempt_out(attempt: Attempt) -> AttemptOut:
    phases = attempt.phases
    return AttemptOut(
        at=attempt.at,
        url=attempt.url,
        duration_ms=attempt.duration_ms,
        phases=PhasesOut(
            dns_ms=phases.dns_ms,
            connect_ms=phases.connect_ms,
            wait_ms=phases.wait_ms,
            receive_ms=phases.receive_ms,
        ),
        status=attempt.status,
        error=attempt.error,
        request_headers=[HeaderOut(name=name, value=value) for name, value in attempt.request_headers],
        response_headers=[HeaderOut(name=name, value=value) for name, value in attempt.response_headers],
        response=attempt.response,
    )
