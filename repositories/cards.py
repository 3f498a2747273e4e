"""Saved cards of customers."""

from dataclasses import dataclass
from datetime import datetime

from core.database import Database, Document, Session
from domain.cards import StoredCard
from repositories.claims import Claim, claim_document, claim_from
from repositories.pages import Page, Sort, read_page
from repositories.payment_documents import card_document, card_from

# What nobody may charge again nobody needs to be able to open.
_FORGET: Document = {"$set": {"deleted": True}, "$unset": {"card.sealed_pan": ""}}


@dataclass(frozen=True, slots=True)
class SavedCard:
    id: str
    owner_id: str
    customer_id: str
    card: StoredCard
    created_at: datetime


class CardRepository:
    def __init__(self, database: Database):
        self._cards = database["cards"]

    async def insert(self, saved: SavedCard, claim: Claim | None, session: Session) -> None:
        """Raises DuplicateKey where this id (and so its idempotency claim) exists already."""
        document: Document = {
            "_id": saved.id,
            "owner_id": saved.owner_id,
            "customer_id": saved.customer_id,
            "card": card_document(saved.card),
            "created_at": saved.created_at,
            "deleted": False,
        }
        if claim is not None:
            document["claim"] = claim_document(claim)
        await self._cards.insert_one(document, session=session)

    async def claim_of(self, card_id: str) -> Claim | None:
        """The idempotency claim that saved the card."""
        row = await self._cards.find_one({"_id": card_id}, {"claim": 1})
        return claim_from(row["claim"]) if row and "claim" in row else None

    async def get(self, owner_id: str, card_id: str) -> SavedCard | None:
        row = await self._cards.find_one({"_id": card_id, "owner_id": owner_id, "deleted": False})
        return _from_document(row) if row else None

    async def page(self, owner_id: str, customer_id: str, *, limit: int, cursor: str | None) -> Page[SavedCard]:
        """A customer's cards, newest first."""
        wanted: Document = {"deleted": False, "owner_id": owner_id, "customer_id": customer_id}
        newest_first = Sort("created_at", descending=True)
        return await read_page(self._cards, wanted, newest_first, limit=limit, cursor=cursor, build=_from_document)

    async def delete(self, owner_id: str, customer_id: str, card_id: str) -> bool:
        wanted = {"_id": card_id, "owner_id": owner_id, "customer_id": customer_id, "deleted": False}
        return bool((await self._cards.update_one(wanted, _FORGET)).matched_count)

    async def delete_all(self, owner_id: str, customer_id: str, session: Session) -> None:
        wanted = {"deleted": False, "owner_id": owner_id, "customer_id": customer_id}
        await self._cards.update_many(wanted, _FORGET, session=session)


def _from_document(row: Document) -> SavedCard:
    return SavedCard(
        id=row["_id"],
        owner_id=row["owner_id"],
        customer_id=row["customer_id"],
        card=card_from(row["card"]),
        created_at=row["created_at"],
    )
