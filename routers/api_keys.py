"""API keys."""

from typing import Annotated

from fastapi import APIRouter, Query

from core.errors import Contention, NotFound, TooManyApiKeys
from routers.dependencies import ActorDep, CallerDep, PspDep
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.api_keys import ApiKeyMade, ApiKeyPage, ApiKeyRequest, ApiKeyRotation
from schemas.common import Message, PageQuery

router = APIRouter(prefix=f"{API}/api-keys", route_class=PspRoute, tags=["API keys"])


@router.post("", status_code=201, responses=documented(Contention, TooManyApiKeys))
async def create_api_key(psp: PspDep, actor: ActorDep, body: ApiKeyRequest) -> ApiKeyMade:
    """Make a key with a name and the scopes that it needs. It is shown in this answer and never again. Of a user it may
    not be a further one."""
    return await psp.api_keys.make(actor, body)


@router.get("")
async def list_api_keys(psp: PspDep, caller: CallerDep, query: Annotated[PageQuery, Query()]) -> ApiKeyPage:
    """One's own API keys, newest first, never the keys themselves."""
    return await psp.api_keys.page(caller, query)


@router.post("/{api_key_id}/rotate", responses=documented(NotFound, Contention))
async def rotate_api_key(
    psp: PspDep, actor: ActorDep, api_key_id: str, body: ApiKeyRotation | None = None
) -> ApiKeyMade:
    """Exchange a key's text. The new one is shown in this answer and never again; the old one counts as well until the
    overlap ends."""
    chosen = body or ApiKeyRotation()
    return await psp.api_keys.rotate(actor, api_key_id, overlap_hours=chosen.overlap_hours)


@router.delete("/{api_key_id}", responses=documented(NotFound, Contention))
async def revoke_api_key(psp: PspDep, actor: ActorDep, api_key_id: str) -> Message:
    """Revoke a key at once, in every process."""
    await psp.api_keys.revoke(actor, api_key_id)
    return Message(message=f"API key '{api_key_id}' revoked successfully.")
