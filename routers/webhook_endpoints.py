"""Webhook endpoints."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core.errors import Contention, InvalidState, NotFound, SecretUnreadable, TooManyEndpoints
from routers.conditional import conditional, documented_conditional
from routers.dependencies import ActorDep, CallerDep, PspDep
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.common import EmptyBody, Message, PageQuery
from schemas.webhook_endpoints import (
    RotateRequest,
    WebhookEndpointMade,
    WebhookEndpointOut,
    WebhookEndpointPage,
    WebhookEndpointPatch,
    WebhookEndpointRequest,
    WebhookSecretOut,
    WebhookTestOut,
)

router = APIRouter(prefix=f"{API}/webhook-endpoints", route_class=PspRoute, tags=["Webhook endpoints"])


@router.post("", status_code=201, responses=documented(TooManyEndpoints))
async def create_webhook_endpoint(psp: PspDep, actor: ActorDep, body: WebhookEndpointRequest) -> WebhookEndpointMade:
    """Have events sent to a URL, signed with the secret of this answer."""
    return await psp.webhook_endpoints.create(actor, body)


@router.get("")
async def list_webhook_endpoints(
    psp: PspDep, caller: CallerDep, query: Annotated[PageQuery, Query()]
) -> WebhookEndpointPage:
    """One's own endpoints, newest first."""
    return await psp.webhook_endpoints.page(caller, query)


@router.get("/{endpoint_id}", response_model=WebhookEndpointOut, **documented_conditional(NotFound))
async def get_webhook_endpoint(psp: PspDep, caller: CallerDep, endpoint_id: str, request: Request) -> Response:
    """One endpoint, without its secret."""
    endpoint = await psp.webhook_endpoints.get(caller, endpoint_id)
    return conditional(request, endpoint.model_dump_json(by_alias=True).encode())


@router.patch("/{endpoint_id}", responses=documented(NotFound, Contention))
async def amend_webhook_endpoint(
    psp: PspDep, actor: ActorDep, endpoint_id: str, body: WebhookEndpointPatch
) -> WebhookEndpointOut:
    """Change an endpoint: what is sent replaces what is there, and null clears it. It applies to what waits already.
    Disabling turns what waits into dead letters."""
    return await psp.webhook_endpoints.amend(actor, endpoint_id, body)


@router.delete("/{endpoint_id}", responses=documented(NotFound))
async def delete_webhook_endpoint(psp: PspDep, actor: ActorDep, endpoint_id: str) -> Message:
    """Delete an endpoint with its secret. What waits for it becomes dead letters."""
    await psp.webhook_endpoints.delete(actor, endpoint_id)
    return Message(message=f"Webhook endpoint '{endpoint_id}' deleted successfully.")


@router.get("/{endpoint_id}/secret", responses=documented(NotFound, SecretUnreadable))
async def get_webhook_endpoint_secret(psp: PspDep, actor: ActorDep, endpoint_id: str) -> WebhookSecretOut:
    """What the endpoint is signed with. Each look is written to the audit log."""
    return await psp.webhook_endpoints.secret(actor, endpoint_id)


@router.post("/{endpoint_id}/rotate", responses=documented(NotFound, Contention, SecretUnreadable))
async def rotate_webhook_endpoint_secret(
    psp: PspDep, actor: ActorDep, endpoint_id: str, body: RotateRequest | None = None
) -> WebhookSecretOut:
    """Exchange the secret. While the overlap lasts `webhook-signature` carries a signature of each, and `X-Signature`
    is made with the old one."""
    chosen = body or RotateRequest()
    return await psp.webhook_endpoints.rotate(actor, endpoint_id, overlap_days=chosen.overlap_days)


@router.post("/{endpoint_id}/test", status_code=202, responses=documented(NotFound, InvalidState, Contention))
async def send_test_webhook(
    psp: PspDep, caller: CallerDep, endpoint_id: str, body: EmptyBody | None = None
) -> WebhookTestOut:
    """Send a `webhook.test` event to this endpoint, whatever it subscribes to."""
    return await psp.webhook_endpoints.send_test(caller, endpoint_id)
