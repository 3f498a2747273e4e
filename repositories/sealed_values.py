"""Everything in the database that is sealed under ENCRYPTION_KEY, wherever it stands: for exchanging that key."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from core.database import Database, Document, UpdateOne

BATCH = 500


class Place(StrEnum):
    """The collections that hold something sealed. What is copied from one to another stands before its copies."""

    KEYRING = "keyring"
    USERS = "users"
    CARD_TOKENS = "card_tokens"
    CARDS = "cards"
    PAYMENTS = "payments"
    WEBHOOK_ENDPOINTS = "webhook_endpoints"


_CARD = "card.sealed_pan"
_FIELDS: Mapping[Place, str] = {
    Place.KEYRING: "sealed",
    Place.USERS: "webhook_secret",
    Place.CARD_TOKENS: _CARD,
    Place.CARDS: _CARD,
    Place.PAYMENTS: _CARD,
    Place.WEBHOOK_ENDPOINTS: "sealed_secrets",
}
assert _FIELDS.keys() == set(Place)


@dataclass(frozen=True, slots=True)
class SealedValue:
    """One sealed value, and what its purpose is made of."""

    place: Place
    id: str
    sealed: bytes = field(repr=False)
    owner_id: str = ""
    """Of a card: whose it is."""
    token_id: str = ""
    """Of a card: the token that its number was sealed for."""


class SealedValueRepository:
    def __init__(self, database: Database):
        self._database = database

    async def count_documents(self, place: Place) -> int:
        """About how many documents `batches` reads, from the collection's own statistics."""
        return int(await self._database[place].estimated_document_count())

    async def batches(self, place: Place) -> AsyncIterator[tuple[int, list[SealedValue]]]:
        """All documents in the order of their ids, deleted ones included: how many were read, and what they hold."""
        path, last_id = _FIELDS[place], ""
        wanted = {path: 1, "owner_id": 1, "card.token_id": 1}
        while True:
            found = self._database[place].find({"_id": {"$gt": last_id}}, wanted).sort("_id", 1)
            rows = await found.limit(BATCH).to_list(BATCH)
            if not rows:
                return
            last_id = rows[-1]["_id"]
            yield len(rows), [value for row in rows if (value := _value(place, row)) is not None]

    async def replace(self, place: Place, changes: Sequence[tuple[SealedValue, bytes]]) -> int:
        """Write what was sealed anew, each only where the sealed value is still the one that was read.

        How many were written; the others were changed by somebody else meanwhile.
        """
        if not changes:
            return 0
        path = _FIELDS[place]
        updates = [
            UpdateOne({"_id": value.id, path: value.sealed}, {"$set": {path: renewed}}) for value, renewed in changes
        ]
        result = await self._database[place].bulk_write(updates, ordered=False)
        return int(result.modified_count)


def _value(place: Place, row: Document) -> SealedValue | None:
    """None where there is nothing sealed: a payment without a card, say, or a card that was deleted."""
    if _FIELDS[place] == _CARD:
        card = row.get("card") or {}
        if "sealed_pan" not in card:
            return None
        return SealedValue(place, row["_id"], bytes(card["sealed_pan"]), row["owner_id"], card["token_id"])
    sealed = row.get(_FIELDS[place])
    return None if sealed is None else SealedValue(place, row["_id"], bytes(sealed))
