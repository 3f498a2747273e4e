"""Card tokens for one payment each, and the saved cards of customers."""

from datetime import timedelta

from core import clock, ids, json_codec
from core.database import Database, DuplicateKey, Session
from core.errors import CardTokenExpired, CardTokenUsed, NotFound, PspError
from domain.cards import StoredCard
from repositories.card_tokens import CardToken, CardTokenRepository
from repositories.cards import CardRepository, SavedCard
from repositories.claims import Claim
from repositories.pages import CursorInvalid
from schemas.cards import (
    CardInput,
    SaveCardRequest,
    SavedCardOut,
    SavedCardPage,
    saved_card_view,
    token_view,
)
from schemas.common import PageQuery
from services.caller import Caller
from services.customers import Customers
from services.idempotency import Answer, fingerprint_of, replay
from services.validation import invalid
from services.vault import CardVault

TOKEN_LIFETIME = timedelta(hours=1)
_TOKEN_ROUTE = "POST /tokens"  # noqa: S105 - a route
_SAVE_ROUTE = "POST /customers/{id}/cards"


class Cards:
    def __init__(
        self,
        database: Database,
        vault: CardVault,
        tokens: CardTokenRepository,
        cards: CardRepository,
        customers: Customers,
        hash_key: bytes,
    ):
        self._database = database
        self._vault = vault
        self._tokens = tokens
        self._cards = cards
        self._customers = customers
        self._hash_key = hash_key

    async def tokenise(self, caller: Caller, typed: CardInput, key: str | None) -> Answer:
        """A token that stands for the card in one payment, within the hour."""
        token_id, asked = ids.fresh("tok"), None
        if key is not None:
            token_id = ids.derived("tok", caller.account_id, _TOKEN_ROUTE, key)
            asked = fingerprint_of(self._hash_key, typed.fingerprint_source())
        now = clock.now()
        card = self._vault.seal(caller.account_id, typed.details(), token_id)
        token = CardToken(token_id, caller.account_id, card, now, now + TOKEN_LIFETIME)
        body = json_codec.dumps(token_view(token.id, card, token.created_at, token.expires_at))
        claim = Claim(token_id, asked, 201, body) if asked is not None else None
        if await self._tokens.insert(token, claim):
            return Answer(201, body)
        assert asked is not None, "a random id exists twice"
        return replay(await self._tokens.claim_of(token_id), asked)

    async def claim(self, caller: Caller, token_id: str, used_for: str, session: Session | None = None) -> StoredCard:
        """The card of a token, which is used up by it. Raises NotFound, CardTokenUsed, CardTokenExpired."""
        token = await self._tokens.claim(caller.account_id, token_id, used_for, clock.now(), session)
        if token is None:
            raise NotFound(f"Card token '{token_id}' not found.")
        if token.claimed_by is None:
            raise CardTokenExpired
        if token.claimed_by != used_for:
            raise CardTokenUsed
        return self._vault.renewed(caller.account_id, token.card)

    async def save(self, caller: Caller, customer_id: str, request: SaveCardRequest, key: str | None) -> Answer:
        """Keep a card for a customer: in one transaction, so that a refusal uses up no token, and a customer who is
        being deleted gets no card. Raises NotFound, CardTokenUsed, CardTokenExpired."""
        card_id, asked = ids.fresh("card"), None
        if key is not None:
            card_id = ids.derived("card", caller.account_id, _SAVE_ROUTE, key)
            fields = {"customer_id": customer_id, **request.fingerprint_source()}
            asked = fingerprint_of(self._hash_key, fields)

        async def work(session: Session) -> bytes:
            await self._customers.hold(caller, customer_id, session)
            card = (
                self._vault.seal(caller.account_id, request.card.details(), card_id)
                if request.card is not None
                else await self.claim(caller, request.card_token or "", card_id, session)
            )
            saved = SavedCard(card_id, caller.account_id, customer_id, card, clock.now())
            body = json_codec.dumps(saved_card_view(card_id, customer_id, card, saved.created_at))
            claim = Claim(card_id, asked, 201, body) if asked is not None else None
            await self._cards.insert(saved, claim, session)
            return body

        try:
            return Answer(201, await self._database.in_transaction(work))
        except (PspError, DuplicateKey):
            # What the first request has used up must not refuse its repetition.
            first = await self._cards.claim_of(card_id) if asked is not None else None
            if first is None or asked is None:
                raise
            return replay(first, asked)

    async def get(self, caller: Caller, card_id: str) -> SavedCard:
        """Raises NotFound."""
        saved = await self._cards.get(caller.account_id, card_id)
        if saved is None:
            raise NotFound(f"Card '{card_id}' not found.")
        return saved

    async def page(self, caller: Caller, customer_id: str, query: PageQuery) -> SavedCardPage:
        """A customer's cards, newest first. Raises NotFound."""
        await self._customers.get(caller, customer_id)
        try:
            page = await self._cards.page(caller.account_id, customer_id, limit=query.limit, cursor=query.cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
        return SavedCardPage(
            cards=[
                SavedCardOut.model_validate(saved_card_view(saved.id, saved.customer_id, saved.card, saved.created_at))
                for saved in page.items
            ],
            total_cards=page.total,
            total_is_lower_bound=page.total_is_lower_bound,
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    async def delete(self, caller: Caller, customer_id: str, card_id: str) -> None:
        """Forget the card's number; payments made with it stay. Raises NotFound."""
        await self._customers.get(caller, customer_id)
        if not await self._cards.delete(caller.account_id, customer_id, card_id):
            raise NotFound(f"Card '{card_id}' not found.")
