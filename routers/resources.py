"""The generic DELETE."""

from fastapi import APIRouter

from core.errors import BadRequest, Contention, Forbidden, LastSystemAdmin, NotFound
from routers.dependencies import ActorDep, PspDep
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.common import Message

router = APIRouter(prefix=API, route_class=PspRoute, tags=["Deletion"])


@router.delete(
    "/{resource}/{resource_id}", responses=documented(BadRequest, Forbidden, NotFound, Contention, LastSystemAdmin)
)
async def delete_resource(psp: PspDep, actor: ActorDep, resource: str, resource_id: str) -> Message:
    """Delete a transaction (`transactions` or `payments`) or a user (`users`).

    Deleting hides: lists and reads stop showing it, and what was still to be told about it is. A payment that can
    still be called off is cancelled first; a user's keys and tokens stop at once.
    """
    if resource in ("transactions", "payments"):
        await psp.payments.delete(actor, resource_id)
        return Message(message=f"Transaction '{resource_id}' deleted successfully.")
    if resource == "users":
        await psp.accounts.delete(actor, resource_id)
        return Message(message=f"User '{resource_id}' deleted successfully.")
    raise BadRequest("Invalid resource type. Must be 'transactions' or 'users'.")
