"""Card tokens: one card each, for one payment."""

from dataclasses import dataclass
from datetime import datetime

from core.database import Database, Document, DuplicateKey, ReturnDocument, Session
from domain.cards import StoredCard
from repositories.claims import Claim, claim_document, claim_from
from repositories.payment_documents import card_document, card_from


@dataclass(frozen=True, slots=True)
class CardToken:
    id: str
    owner_id: str
    card: StoredCard
    created_at: datetime
    expires_at: datetime
    claimed_by: str | None = None
    """The saved card that it became, or `payments`, one of which it pays for."""


class CardTokenRepository:
    def __init__(self, database: Database):
        self._tokens = database["card_tokens"]

    async def insert(self, token: CardToken, claim: Claim | None) -> bool:
        """False where this id (and so its idempotency claim) exists already."""
        document: Document = {
            "_id": token.id,
            "owner_id": token.owner_id,
            "card": card_document(token.card),
            "created_at": token.created_at,
            "expires_at": token.expires_at,
        }
        if claim is not None:
            document["claim"] = claim_document(claim)
        try:
            await self._tokens.insert_one(document)
        except DuplicateKey:
            return False
        return True

    async def claim_of(self, token_id: str) -> Claim | None:
        """The idempotency claim that made the token."""
        row = await self._tokens.find_one({"_id": token_id}, {"claim": 1})
        return claim_from(row["claim"]) if row and "claim" in row else None

    async def claim(
        self, owner_id: str, token_id: str, used_for: str, now: datetime, session: Session | None = None
    ) -> CardToken | None:
        """Use the token for this, as often as wished, and for nothing else.

        The token as it is then: claimed by this one, by another, or by none where it had expired before. None: there
        is no such token.
        """
        mine: Document = {"_id": token_id, "owner_id": owner_id}
        usable = {"$or": [{"claimed_by": None, "expires_at": {"$gt": now}}, {"claimed_by": used_for}]}
        row: Document | None = await self._tokens.find_one_and_update(
            {**mine, **usable},
            {"$set": {"claimed_by": used_for}},
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        row = row or await self._tokens.find_one(mine, session=session)
        return _from_document(row) if row else None


def _from_document(row: Document) -> CardToken:
    return CardToken(
        id=row["_id"],
        owner_id=row["owner_id"],
        card=card_from(row["card"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        claimed_by=row.get("claimed_by"),
    )
