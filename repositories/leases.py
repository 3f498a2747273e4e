"""Leased work: whoever claims a row holds it until its lease ends on the server's clock, and then anybody may.

A claim is three round trips for a whole batch: find candidates, take those that are still free, read what was taken
(where nobody changes the rows but under a lease, reading them first is enough).
What is done under a lease is written on condition that the lease's token is still on the row.
"""

import secrets
from collections.abc import Iterable, Sequence

from core import metrics
from core.database import Collection, Document, UpdateOne

FREE = {"$expr": {"$lte": ["$lease_until", "$$NOW"]}}
"""No lease, or one that has ended. (A missing field sorts before every date.)"""

HELD = {"$expr": {"$gt": ["$lease_until", "$$NOW"]}}

RELEASE = {"lease_token": "", "lease_until": ""}


def count_takeovers(collection: Collection, candidates: Iterable[Document], taken_ids: Iterable[str]) -> None:
    """Count what was taken of these rows, read with their `lease_until`, although somebody had it: work that is given
    back has none."""
    ours = set(taken_ids)
    if lapsed := sum("lease_until" in row and row["_id"] in ours for row in candidates):
        metrics.TAKEOVERS.labels(collection.name).inc(lapsed)


async def end(collection: Collection, leased: Sequence[tuple[str, str]]) -> None:
    """End leases, given as (id, token), of work that goes on: anybody may take it, and until then its token stays."""
    if leased:
        ended = {"$unset": {"lease_until": ""}}
        updates = [UpdateOne({"_id": row_id, "lease_token": token}, ended) for row_id, token in leased]
        await collection.bulk_write(updates, ordered=False)


async def release(collection: Collection, leased: Sequence[tuple[str, str]]) -> None:
    """End leases, given as (id, token), without having done anything."""
    if leased:
        updates = [UpdateOne({"_id": row_id, "lease_token": token}, {"$unset": RELEASE}) for row_id, token in leased]
        await collection.bulk_write(updates, ordered=False)


async def take(
    collection: Collection, candidate_ids: list[str], still_wanted: Document, lease_s: int
) -> list[Document]:
    """Lease those of the candidates that are still free and wanted; return only what is now ours, as it is now."""
    token, ids = await take_ids(collection, candidate_ids, still_wanted, lease_s)
    if not ids:
        return []
    return await collection.find({"_id": {"$in": ids}, "lease_token": token}).to_list(None)


async def take_ids(
    collection: Collection, candidate_ids: list[str], still_wanted: Document, lease_s: int
) -> tuple[str, list[str]]:
    """The same, without reading what was leased: the lease's token, and which of the candidates are ours.

    One round trip where nobody else was after them.
    """
    token = secrets.token_hex(12)
    if not candidate_ids:
        return token, []
    until = {"$dateAdd": {"startDate": "$$NOW", "unit": "second", "amount": lease_s}}
    taken = await collection.update_many(
        {"_id": {"$in": candidate_ids}, **still_wanted, **FREE},
        [{"$set": {"lease_token": token, "lease_until": until}}],
    )
    if taken.modified_count in (0, len(candidate_ids)):
        return token, candidate_ids[: taken.modified_count]
    ours = {"_id": {"$in": candidate_ids}, "lease_token": token}
    rows = collection.find(ours, {"_id": 1}, batch_size=max(taken.modified_count, 2))
    return token, [row["_id"] for row in await rows.to_list(None)]
