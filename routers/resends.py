"""Sending events again."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core.errors import IdempotencyKeyReused, InvalidState, NotFound, TooManyResendJobs
from routers.answers import answered
from routers.conditional import conditional, documented_conditional
from routers.dependencies import IDEMPOTENCY_KEY_HEADER, CallerDep, PspDep, command_of
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.common import EmptyBody, PageQuery
from schemas.deliveries import DeliveryOut
from schemas.resends import (
    ResendEventRequest,
    ResendJobOut,
    ResendJobPage,
    ResendJobRequest,
    ResentEvent,
)

router = APIRouter(prefix=API, route_class=PspRoute, tags=["Deliveries"])


@router.post(
    "/deliveries/{delivery_id}/resend",
    status_code=202,
    response_model=DeliveryOut,
    responses=documented(NotFound, InvalidState, IdempotencyKeyReused),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER]},
)
async def resend_delivery(request: Request, delivery_id: str, body: EmptyBody | None = None) -> Response:
    """Send a delivery's event to its target again, as a new delivery: the same bytes under the same `webhook-id`."""
    command = command_of(request)
    return answered(await command.psp.resends.of_delivery(command.caller, delivery_id, command.idempotency_key))


@router.post(
    "/events/{event_id}/resend",
    status_code=202,
    response_model=ResentEvent,
    responses=documented(NotFound, InvalidState, IdempotencyKeyReused),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER]},
)
async def resend_event(request: Request, event_id: str, body: ResendEventRequest | None = None) -> Response:
    """Send an event again: to every enabled endpoint that subscribes to it now, and to the payment's own `webhookUrl`;
    or to one endpoint alone."""
    command, endpoint_id = command_of(request), body.webhook_endpoint_id if body else None
    return answered(await command.psp.resends.of_event(command.caller, event_id, endpoint_id, command.idempotency_key))


@router.post(
    "/resend-jobs",
    status_code=202,
    response_model=ResendJobOut,
    responses=documented(NotFound, InvalidState, TooManyResendJobs, IdempotencyKeyReused),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER]},
)
async def create_resend_job(request: Request, body: ResendJobRequest) -> Response:
    """Have the events of a range of time sent again, in their order."""
    command = command_of(request)
    return answered(await command.psp.resend_jobs.create(command.caller, body, command.idempotency_key))


@router.get("/resend-jobs")
async def list_resend_jobs(psp: PspDep, caller: CallerDep, query: Annotated[PageQuery, Query()]) -> ResendJobPage:
    """One's own resend jobs, newest first."""
    return await psp.resend_jobs.page(caller, query)


@router.get("/resend-jobs/{job_id}", response_model=ResendJobOut, **documented_conditional(NotFound))
async def get_resend_job(psp: PspDep, caller: CallerDep, job_id: str, request: Request) -> Response:
    """One resend job: how far it has come."""
    job = await psp.resend_jobs.get(caller, job_id)
    return conditional(request, job.model_dump_json(by_alias=True).encode())


@router.post("/resend-jobs/{job_id}/cancel", responses=documented(NotFound))
async def cancel_resend_job(psp: PspDep, caller: CallerDep, job_id: str, body: EmptyBody | None = None) -> ResendJobOut:
    """Stop a resend job. What it has made and still waits becomes dead letters, also where it was completed."""
    return await psp.resend_jobs.cancel(caller, job_id)
