"""Card tokens, and the saved cards of customers."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core.errors import CardTokenExpired, CardTokenUsed, IdempotencyKeyReused, NotFound
from routers.answers import answered
from routers.dependencies import IDEMPOTENCY_KEY_HEADER, CallerDep, PspDep, command_of
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.cards import CardInput, CardTokenOut, SaveCardRequest, SavedCardOut, SavedCardPage
from schemas.common import Message, PageQuery

router = APIRouter(prefix=API, route_class=PspRoute, tags=["Cards"])


@router.post(
    "/tokens",
    status_code=201,
    response_model=CardTokenOut,
    responses=documented(IdempotencyKeyReused),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER]},
)
async def create_token(request: Request, body: CardInput) -> Response:
    """Exchange a card for a token that pays for one payment within an hour, or saves the card of a customer. The
    security code is checked here and kept nowhere."""
    command = command_of(request)
    return answered(await command.psp.cards.tokenise(command.caller, body, command.idempotency_key))


@router.post(
    "/customers/{customer_id}/cards",
    status_code=201,
    response_model=SavedCardOut,
    responses=documented(NotFound, CardTokenUsed, CardTokenExpired, IdempotencyKeyReused),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY_HEADER]},
)
async def save_card(request: Request, customer_id: str, body: SaveCardRequest) -> Response:
    """Save a card of a customer, to be charged later by its id."""
    command = command_of(request)
    return answered(await command.psp.cards.save(command.caller, customer_id, body, command.idempotency_key))


@router.get("/customers/{customer_id}/cards", responses=documented(NotFound))
async def list_cards(
    psp: PspDep, caller: CallerDep, customer_id: str, query: Annotated[PageQuery, Query()]
) -> SavedCardPage:
    """A customer's saved cards, newest first."""
    return await psp.cards.page(caller, customer_id, query)


@router.delete("/customers/{customer_id}/cards/{card_id}", responses=documented(NotFound))
async def delete_card(psp: PspDep, caller: CallerDep, customer_id: str, card_id: str) -> Message:
    """Forget a saved card. Payments made with it stay."""
    await psp.cards.delete(caller, customer_id, card_id)
    return Message(message=f"Card '{card_id}' deleted successfully.")
