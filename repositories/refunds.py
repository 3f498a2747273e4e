"""Refunds as lists show them: a projection that the publisher writes from their events, so no list unwinds payments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core import json_codec
from core.database import Database, Document, UpdateOne, insert_missing
from domain.payments import RefundStatus
from repositories.pages import Page, Sort, read_page


@dataclass(frozen=True, slots=True)
class RefundSeen:
    """A refund as one of its events shows it."""

    id: str
    owner_id: str
    sequence: int
    data: bytes


class RefundRepository:
    def __init__(self, database: Database):
        self._refunds = database["refunds"]

    async def project(self, seen: Sequence[RefundSeen]) -> None:
        """Keep the latest of what was seen. Doing it again, or in another order, changes nothing."""
        if seen:
            await self._refunds.bulk_write([_newer(one) for one in _latest(seen)], ordered=False)

    async def insert_missing(self, seen: Sequence[RefundSeen]) -> None:
        """The same for refunds of which nobody else tells: of those that are there already nothing is changed."""
        made = [{"_id": one.id, "owner_id": one.owner_id, **_fields(one)} for one in _latest(seen)]
        await insert_missing(self._refunds, made)

    async def page(
        self, owner_id: str, payment_id: str | None, status: RefundStatus | None, *, limit: int, cursor: str | None
    ) -> Page[dict[str, Any]]:
        wanted: Document = {"owner_id": owner_id}
        if payment_id is not None:
            wanted["payment_id"] = payment_id
        if status is not None:
            wanted["status"] = status.value
        newest_first = Sort("created_at", descending=True)
        return await read_page(self._refunds, wanted, newest_first, limit=limit, cursor=cursor, build=_shown)


def _latest(seen: Sequence[RefundSeen]) -> list[RefundSeen]:
    """Of each refund what its last event shows."""
    return list({one.id: one for one in sorted(seen, key=lambda one: one.sequence)}.values())


def _fields(one: RefundSeen) -> Document:
    view = json_codec.loads_own(one.data)
    return {
        "sequence": one.sequence,
        "payment_id": view["paymentId"],
        "status": view["status"],
        "created_at": datetime.fromisoformat(view["createdAt"]),
        "data": one.data,
    }


def _newer(one: RefundSeen) -> UpdateOne:
    # A pipeline, so that what is older than what is there changes nothing; values of clients stay inside $literal.
    newer = {"$gt": [one.sequence, {"$ifNull": ["$sequence", 0]}]}
    return UpdateOne(
        {"_id": one.id, "owner_id": one.owner_id},
        [{"$set": {name: {"$cond": [newer, {"$literal": value}, f"${name}"]} for name, value in _fields(one).items()}}],
        upsert=True,
    )


def _shown(row: Document) -> dict[str, Any]:
    shown: dict[str, Any] = json_codec.loads_own(bytes(row["data"]))
    return shown
