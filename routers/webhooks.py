"""Incoming webhooks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from core.errors import NotFound, SecretUnreadable, SignatureInvalid
from routers.conditional import conditional, documented_conditional
from routers.dependencies import CallerDep, PspDep
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.common import PageQuery
from schemas.webhooks import (
    IncomingWebhook,
    IncomingWebhookOut,
    IncomingWebhookPage,
    WebhookReceipt,
)
from services.incoming_webhooks import Signatures

router = APIRouter(prefix=API, route_class=PspRoute, tags=["Webhooks"])


async def _verified(
    psp: PspDep,
    caller: CallerDep,
    request: Request,
    x_signature: Annotated[str | None, Header(description="Hex HMAC-SHA256 of the raw body")] = None,
    webhook_id: Annotated[str | None, Header()] = None,
    webhook_timestamp: Annotated[str | None, Header(description="Seconds since 1970")] = None,
    webhook_signature: Annotated[
        str | None, Header(description="`v1,` and base64; several separated by spaces")
    ] = None,
) -> str:
    signatures = Signatures(x_signature, webhook_id, webhook_timestamp, webhook_signature)
    return await psp.incoming_webhooks.verify(caller, signatures, await request.body())


# A signature is a credential: it is checked before the body's fields are looked at.
VerifiedDep = Annotated[str, Depends(_verified)]


@router.post("/webhook-receive", responses=documented(SignatureInvalid, SecretUnreadable))
async def receive_webhook(
    psp: PspDep, caller: CallerDep, request: Request, identity: VerifiedDep, body: IncomingWebhook
) -> WebhookReceipt:
    """Receive a signed webhook: `X-Signature`, or Standard Webhooks' three headers, with the account's secret."""
    return await psp.incoming_webhooks.store(caller, identity, body, await request.body())


@router.get("/incoming-webhooks")
async def list_incoming_webhooks(
    psp: PspDep, caller: CallerDep, query: Annotated[PageQuery, Query()]
) -> IncomingWebhookPage:
    """The webhooks that one's own account received, newest first, and how many did not verify."""
    return await psp.incoming_webhooks.page(caller, query)


@router.get("/incoming-webhooks/{webhook_id}", response_model=IncomingWebhookOut, **documented_conditional(NotFound))
async def get_incoming_webhook(psp: PspDep, caller: CallerDep, webhook_id: str, request: Request) -> Response:
    """One webhook that was received, with its body."""
    webhook = await psp.incoming_webhooks.get(caller, webhook_id)
    return conditional(request, webhook.model_dump_json(by_alias=True).encode())
