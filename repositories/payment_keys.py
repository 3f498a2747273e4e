"""Payment keys, found by their id and a keyed hash."""

from core.coalesce import Coalescer
from core.database import Database, Document, Session
from domain.payment_keys import PaymentKey
from repositories.pages import Page, Sort, read_page


class PaymentKeyRepository:
    def __init__(self, database: Database):
        self._keys = database["payment_keys"]
        self._by_id = Coalescer(self._read_batch)

    async def insert(self, key: PaymentKey, session: Session) -> None:
        await self._keys.insert_one(
            {
                "_id": key.id,
                "owner_id": key.owner_id,
                "hash": key.hash,
                "created_at": key.created_at,
                "expires_at": key.expires_at,
                "max_uses": key.max_uses,
                "amount_minor": key.amount_minor,
                "currency": key.currency,
                "revoked": False,
            },
            session=session,
        )

    async def get(self, key_id: str) -> PaymentKey | None:
        """Whoever's key, revoked or not. Shares its round trip with others."""
        return await self._by_id(key_id)

    async def page(self, owner_id: str, *, limit: int, cursor: str | None) -> Page[PaymentKey]:
        """An account's keys, newest first."""
        newest_first = Sort("created_at", descending=True)
        return await read_page(
            self._keys, {"owner_id": owner_id}, newest_first, limit=limit, cursor=cursor, build=_from_document
        )

    async def revoke(self, owner_id: str, key_id: str, session: Session) -> bool | None:
        """False where it was revoked already, None where the account has no such key."""
        result = await self._keys.update_one(
            {"_id": key_id, "owner_id": owner_id}, {"$set": {"revoked": True}}, session=session
        )
        return bool(result.modified_count) if result.matched_count else None

    async def _read_batch(self, key_ids: list[str]) -> list[PaymentKey | None]:
        rows = await self._keys.find({"_id": {"$in": list(set(key_ids))}}).to_list(None)
        found = {row["_id"]: _from_document(row) for row in rows}
        return [found.get(key_id) for key_id in key_ids]


def _from_document(row: Document) -> PaymentKey:
    return PaymentKey(
        id=row["_id"],
        owner_id=row["owner_id"],
        hash=bytes(row["hash"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        max_uses=row["max_uses"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        revoked=row["revoked"],
    )
