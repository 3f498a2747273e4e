"""Sessions: one document each, with the hash of the one refresh token that works now."""

from dataclasses import dataclass
from datetime import datetime

from core.coalesce import Coalescer
from core.database import Database, Document, Pipeline, Session
from repositories.pages import Page, Sort, read_page

_NEWEST_FIRST = Sort("created_at", descending=True)
_OWNERS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class SessionRecord:
    id: str
    owner_id: str
    refresh_hash: bytes
    credentials_version: int
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str | None = None
    user_agent: str | None = None
    ended: bool = False


class SessionRepository:
    def __init__(self, database: Database):
        self._sessions = database["sessions"]
        self._live = Coalescer(self._read)

    async def insert(self, record: SessionRecord) -> None:
        await self._sessions.insert_one(
            {
                "_id": record.id,
                "owner_id": record.owner_id,
                "refresh_hash": record.refresh_hash,
                "credentials_version": record.credentials_version,
                "created_at": record.created_at,
                "last_used_at": record.last_used_at,
                "expires_at": record.expires_at,
                "address": record.address,
                "user_agent": record.user_agent,
                "ended": False,
            }
        )

    async def get(self, session_id: str) -> SessionRecord | None:
        """The session, ended or not. Shares its round trip with others."""
        return await self._live(session_id)

    async def page(
        self, owner_id: str, credentials_version: int, *, limit: int, cursor: str | None
    ) -> Page[SessionRecord]:
        """An account's sessions that live, newest first: what expires is gone within a minute. Raises CursorInvalid."""
        living = {"owner_id": owner_id, "ended": False, "credentials_version": credentials_version}
        return await read_page(self._sessions, living, _NEWEST_FIRST, limit=limit, cursor=cursor, build=_from_document)

    async def rotate(
        self, session_id: str, used_hash: bytes, next_hash: bytes, now: datetime, expires_at: datetime
    ) -> bool:
        """Exchange the refresh token, on condition that the used one is the one that works now."""
        result = await self._sessions.update_one(
            {"_id": session_id, "refresh_hash": used_hash, "ended": False},
            {"$set": {"refresh_hash": next_hash, "last_used_at": now, "expires_at": expires_at}},
        )
        return bool(result.matched_count)

    async def end(self, owner_id: str, session_id: str, session: Session) -> bool:
        """End one of an account's. False where it has no such session that has not ended."""
        result = await self._sessions.update_one(
            {"_id": session_id, "owner_id": owner_id, "ended": False}, {"$set": {"ended": True}}, session=session
        )
        return bool(result.matched_count)

    async def end_all(self, owner_id: str, session: Session) -> None:
        living = {"owner_id": owner_id, "ended": False}
        await self._sessions.update_many(living, {"$set": {"ended": True}}, session=session)

    async def delete_ownerless(self) -> int:
        """Delete the sessions of accounts that are there no more; how many it were. One of an account that is made
        meanwhile stays: a session comes after its account, and is looked at before it."""
        owner = {"from": "users", "localField": "_id", "foreignField": "_id", "as": "account"}
        pipeline: Pipeline = [{"$group": {"_id": "$owner_id"}}, {"$lookup": owner}, {"$match": {"account": []}}]
        rows, deleted = self._sessions.aggregate(pipeline), 0
        while some := await rows.to_list(_OWNERS_AT_ONCE):
            result = await self._sessions.delete_many({"owner_id": {"$in": [row["_id"] for row in some]}})
            deleted += int(result.deleted_count)
        return deleted

    async def _read(self, session_ids: list[str]) -> list[SessionRecord | None]:
        rows = await self._sessions.find({"_id": {"$in": list(set(session_ids))}}).to_list(None)
        found = {row["_id"]: _from_document(row) for row in rows}
        return [found.get(session_id) for session_id in session_ids]


def _from_document(row: Document) -> SessionRecord:
    return SessionRecord(
        id=row["_id"],
        owner_id=row["owner_id"],
        refresh_hash=bytes(row["refresh_hash"]),
        credentials_version=row["credentials_version"],
        created_at=row["created_at"],
        # One that an older version opened knows less of itself.
        last_used_at=row.get("last_used_at") or row["created_at"],
        expires_at=row["expires_at"],
        address=row.get("address"),
        user_agent=row.get("user_agent"),
        ended=row["ended"],
    )
